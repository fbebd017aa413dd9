//go:build unix

package store

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// refusal is the reason of a failure, "" when it is none.
func refusal(err error) Reason {
	f, _ := errors.AsType[*Failure](err)
	if f == nil {
		return ""
	}
	return f.Reason
}

func TestSuiteRedis(t *testing.T) {
	t.Run("redis", func(t *testing.T) {
		checkLeaks(t)
		server := startRedis(t)
		suite(t, replicas(server.url()))
		agenda(t, server.url(), server)
		nothingLeft(t, server)
	})
	t.Run("valkey", func(t *testing.T) {
		program, err := exec.LookPath("valkey-server")
		if err != nil {
			t.Skip("no valkey-server to test with: not every system has a package of it")
		}
		checkLeaks(t)
		server := startServer(t, program)
		suite(t, replicas(server.url()))
		agenda(t, server.url(), server)
		nothingLeft(t, server)
	})
	t.Run("cluster", func(t *testing.T) {
		checkLeaks(t)
		nodes := startCluster(t)
		url := fmt.Sprintf("redis://%s?cluster=true&addr=%s", nodes[0].address, nodes[1].address)
		suite(t, replicas(url))
		agenda(t, url, nodes...)
	})
}

// replicas opens two stores on one server, as two sidecars would.
func replicas(url string) func(*testing.T) (Store, Store) {
	return func(t *testing.T) (Store, Store) {
		space := func(o *RedisOptions) { o.Space = t.Name() }
		return openTest(t, url, space), openTest(t, url, space)
	}
}

// nothingLeft sees that the server was told of an end of everything.
func nothingLeft(t *testing.T, s *redisServer) {
	t.Helper()
	for _, name := range s.names(t, "*") {
		if ttl := s.cli(t, "PTTL", name); ttl == "-1" {
			t.Errorf("%s has no end", name)
		}
	}
}

func TestRedisCredentials(t *testing.T) {
	checkLeaks(t)
	s := startRedisTCP(t, "--requirepass", "swordfish",
		"--user", "sidecar", "on", ">opensesame", "~sfm:*", "&sfm:*", "+@all", "-@admin", "-@dangerous",
		"--user", "reader", "on", ">opensesame", "~sfm:*", "+get")
	tests := map[string]struct {
		user string
		want Reason
	}{
		"password":        {":swordfish@", ""},
		"a user":          {"sidecar:opensesame@", ""},
		"wrong password":  {":carp-marked@", Credentials},
		"no password":     {"", Credentials},
		"may only read":   {"reader:opensesame@", Credentials},
		"a user's, wrong": {"sidecar:carp-marked@", Credentials},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := openTest(t, "redis://"+tt.user+s.address)
			checked, put := r.Check(t.Context()), r.Put(t.Context(), one, nil, time.Hour)
			if refusal(checked) != tt.want || refusal(put) != tt.want {
				t.Errorf("%v and %v, want %q", checked, put, tt.want)
			}
			if tt.want == "" {
				must(t, errors.Join(checked, put))
				lockNow(t, r, one).Release()
			} else if text := fmt.Sprint(checked, put); strings.Contains(text, "marked") || strings.Contains(text, "opensesame") {
				t.Errorf("a password in %s", text)
			}
		})
	}
}

func TestRedisKeys(t *testing.T) {
	checkLeaks(t)
	s, ctx := startRedis(t), t.Context()
	keys := func(names []byte, keys ...[]byte) func(*RedisOptions) {
		return func(o *RedisOptions) { o.Keys, o.Names = keys, names }
	}
	old := openTest(t, s.url(), keys(nil, keyOne))
	must(t, old.Check(ctx))
	must(t, old.Put(ctx, one, []byte("by one"), time.Hour))

	// Step by step, two neighbours at a time share everything.
	rolling := openTest(t, s.url(), keys(nil, keyOne, keyTwo, keyOne)) // opens both, seals and names with one
	newer := openTest(t, s.url(), keys(nil, keyTwo, keyOne))
	for _, r := range []*Redis{rolling, newer} {
		must(t, r.Check(ctx))
		if e, err := r.Get(ctx, one); err != nil || string(e.Value) != "by one" {
			t.Errorf("%q, %v", e.Value, err)
		}
	}
	must(t, newer.Put(ctx, one, []byte("by two"), time.Hour))
	if e, err := rolling.Get(ctx, one); err != nil || string(e.Value) != "by two" {
		t.Errorf("%q, %v", e.Value, err)
	}
	held := lockNow(t, newer, one)
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := rolling.Lock(short, one); err == nil {
		t.Error("both have the lock")
	}
	held.Release()
	if _, err := old.Get(ctx, one); !errors.Is(err, ErrUnreadable) || errors.Is(err, ErrMissing) {
		t.Errorf("without the new key: %v, want ErrUnreadable", err)
	}
	last := openTest(t, s.url(), keys(keyOne, keyTwo)) // one only names
	must(t, last.Check(ctx))
	if e, err := last.Get(ctx, one); err != nil || string(e.Value) != "by two" {
		t.Errorf("%q, %v", e.Value, err)
	}

	wrong := openTest(t, s.url(), keys(nil, keyTwo))
	if err := wrong.Check(ctx); !errors.Is(err, ErrOtherKeys) {
		t.Errorf("other names: %v, want ErrOtherKeys", err)
	}
	if _, err := wrong.Get(ctx, one); !errors.Is(err, ErrMissing) {
		t.Errorf("other names: %v, want ErrMissing", err)
	}
	apart := openTest(t, s.url(), keys(nil, keyTwo), func(o *RedisOptions) { o.Space = "another" })
	must(t, apart.Check(ctx))
}

// Somebody with write access plays with what is stored.
func TestRedisTampering(t *testing.T) {
	checkLeaks(t)
	s, ctx := startRedis(t), t.Context()
	two, used := Key{"session", "two"}, Key{"used", "one"}
	raw := func(r *Redis, name string) string {
		v, err := r.engine.single.Get(ctx, name).Result()
		must(t, err)
		return v
	}
	tests := map[string]struct {
		change func(r *Redis, mine string) string
		want   error
	}{
		"untouched":     {func(_ *Redis, v string) string { return v }, nil},
		"fence changed": {func(_ *Redis, v string) string { return v[:5] + "\x00\x00\x00\x00\x00\x00\x00\x09" + v[13:] }, nil},
		"cut":           {func(_ *Redis, v string) string { return v[:len(v)-1] }, ErrMissing},
		"cut short":     {func(_ *Redis, v string) string { return v[:9] }, ErrMissing},
		"empty":         {func(_ *Redis, _ string) string { return "" }, ErrMissing},
		"longer":        {func(_ *Redis, v string) string { return v + "\x00" }, ErrMissing},
		"a bit":         {func(_ *Redis, v string) string { return v[:40] + string(v[40]^1) + v[41:] }, ErrMissing},
		"its version":   {func(_ *Redis, v string) string { return v[:13] + string(v[13]^1) + v[14:] }, ErrMissing},
		"older format":  {func(_ *Redis, v string) string { return "\x00" + v[1:] }, ErrMissing},
		"newer format":  {func(_ *Redis, v string) string { return "\x02" + v[1:] }, ErrUnreadable},
		"unknown key":   {func(_ *Redis, v string) string { return v[:1] + "abcd" + v[5:] }, ErrUnreadable},
		"another's":     {func(r *Redis, _ string) string { return raw(r, r.seal.name(two)) }, ErrMissing},
		"another kind":  {func(r *Redis, _ string) string { return raw(r, r.seal.name(used)) }, ErrMissing},
		"another space": {func(r *Redis, _ string) string {
			other := openTest(t, s.url(), func(o *RedisOptions) { o.Space = "another" })
			must(t, other.Put(ctx, one, []byte("mine"), time.Hour))
			return raw(r, other.seal.name(one))
		}, ErrMissing},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var warned []string
			r := openTest(t, s.url(), func(o *RedisOptions) {
				o.Warn = func(what string, _ error) { warned = append(warned, what) }
			})
			for _, k := range []Key{one, two, used} {
				must(t, r.Delete(ctx, k))
				must(t, r.Put(ctx, k, []byte("mine"), time.Hour))
			}
			at := r.seal.name(one)
			must(t, r.engine.single.Set(ctx, at, tt.change(r, raw(r, at)), time.Hour).Err())
			e, err := r.Get(ctx, one)
			if !errors.Is(err, tt.want) || tt.want == nil && string(e.Value) != "mine" {
				t.Fatalf("%q, %v, want %v", e.Value, err, tt.want)
			}
			if errors.Is(err, ErrMissing) {
				if len(warned) != 1 {
					t.Errorf("warned %d times", len(warned))
				}
				must(t, r.PutIf(ctx, one, nil, time.Hour, 0))
			}
			if name == "newer format" {
				for _, err := range []error{
					r.Put(ctx, one, nil, time.Hour), r.PutIf(ctx, one, nil, time.Hour, e.Version), r.PutIf(ctx, one, nil, time.Hour, 0),
					r.PutFenced(ctx, one, nil, time.Hour, 1<<60),
				} {
					if !errors.Is(err, ErrUnreadable) {
						t.Errorf("a write over it: %v, want ErrUnreadable", err)
					}
				}
				if _, err := r.Take(ctx, one); !errors.Is(err, ErrUnreadable) || raw(r, at)[0] != 2 {
					t.Errorf("taking it: %v, want ErrUnreadable", err)
				}
				must(t, r.Delete(ctx, one))
			}
		})
	}
}

// What was put back is what was once there, and its version says so: whoever read
// the newer one finds it changed.
func TestRedisReplay(t *testing.T) {
	s, ctx := startRedis(t), t.Context()
	r := openTest(t, s.url())
	must(t, r.Put(ctx, one, []byte("old"), time.Hour))
	name := r.seal.name(one)
	before, err := r.engine.single.Get(ctx, name).Result()
	must(t, err)
	must(t, r.Put(ctx, one, []byte("new"), time.Hour))
	newer, err := r.Get(ctx, one)
	must(t, err)
	must(t, r.engine.single.Set(ctx, name, before, time.Hour).Err())
	if e, err := r.Get(ctx, one); string(e.Value) != "old" || e.Version == newer.Version {
		t.Errorf("%q, version %d, %v", e.Value, e.Version, err)
	}
	if err := r.PutIf(ctx, one, nil, time.Hour, newer.Version); !errors.Is(err, ErrChanged) {
		t.Errorf("a write over it: %v, want ErrChanged", err)
	}
}

// Nothing of a marked value, name or number stands in the store.
func TestRedisShowsNothing(t *testing.T) {
	s, ctx := startRedis(t), t.Context()
	r := openTest(t, s.url(), func(o *RedisOptions) { o.Space = "https://helseid.marked/client-marked" })
	must(t, r.Check(ctx))
	marks := []string{"marked", "999999999", "0e3aa0e1-6a1b-4d2b-8c1e-1f1f8a0f0001", "eyJhbGciOi"}
	for _, mark := range marks[1:] {
		key := Key{"token", "tenant " + mark}
		must(t, r.Put(ctx, key, []byte(strings.Repeat(mark+" marked ", 50)), time.Hour))
		h := lockNow(t, r, key)
		must(t, r.PutFenced(ctx, key, []byte(mark), time.Hour, h.Fence()))
	}
	names := s.names(t, "*")
	if len(names) < 3*len(marks[1:]) {
		t.Fatalf("%d names", len(names))
	}
	for _, name := range names {
		dump, err := r.engine.single.Dump(ctx, name).Result()
		must(t, err)
		for _, mark := range marks {
			if strings.Contains(name, mark) || strings.Contains(dump, mark) {
				t.Errorf("%q stands in %s", mark, name)
			}
		}
	}
}

func TestRedisFull(t *testing.T) {
	s, ctx := startRedis(t), t.Context()
	r := openTest(t, s.url())
	must(t, r.Put(ctx, one, []byte("v"), time.Hour))
	held := lockNow(t, r, one)
	s.cli(t, "CONFIG", "SET", "maxmemory", "1")
	for range 2 * restAfter {
		if err := r.Put(ctx, one, nil, time.Hour); refusal(err) != Full {
			t.Fatalf("%v, want %q", err, Full)
		}
	}
	if _, err := r.Lock(ctx, Key{"refresh", "two"}); refusal(err) != Full {
		t.Errorf("a lock: %v, want %q", err, Full)
	}
	if e, err := r.Get(ctx, one); err != nil || string(e.Value) != "v" {
		t.Errorf("reading: %q, %v", e.Value, err)
	}
	held.Release() // this frees memory, and must work
	within(t, 5*time.Second, "the lock is free", func() bool { return len(s.names(t, "sfm:lock-*")) == 0 })
	must(t, r.Delete(ctx, one))
}

func TestRedisReplica(t *testing.T) {
	master, ctx := startRedisTCP(t, "--repl-diskless-sync-delay", "0"), t.Context()
	host, port, _ := net.SplitHostPort(master.address)
	replica := startRedisTCP(t, "--replicaof", host+" "+port)
	must(t, openTest(t, master.url()).Put(ctx, one, []byte("v"), time.Hour))
	r := openTest(t, replica.url())
	within(t, 20*time.Second, "the replica has the entry", func() bool {
		_, err := r.Get(ctx, one)
		return err == nil
	})
	_, locked := r.Lock(ctx, one)
	for _, err := range []error{r.Check(ctx), r.Put(ctx, one, nil, time.Hour), r.Delete(ctx, one), locked} {
		if refusal(err) != ReadOnly {
			t.Errorf("%v, want %q", err, ReadOnly)
		}
	}
}

func TestRedisNodeAlone(t *testing.T) {
	s := startRedisTCP(t, "--cluster-enabled", "yes", "--cluster-port", freePort(t))
	slots := []string{"CLUSTER", "ADDSLOTSRANGE", "0", "1"}
	s.cli(t, slots...)
	s.cli(t, "CONFIG", "SET", "cluster-require-full-coverage", "no")
	r := openTest(t, s.url())
	if err := r.Put(t.Context(), one, nil, time.Hour); err == nil || errors.Is(err, ErrMissing) {
		t.Errorf("a slot that is elsewhere: %v", err)
	}
}

// A node of a cluster that is asked for what has moved says so, and the entry is
// found, and so is the channel.
func TestRedisMoved(t *testing.T) {
	checkLeaks(t)
	nodes, ctx := startCluster(t), t.Context()
	examineCluster(t, nodes)
	url := "redis://" + nodes[0].address + "?cluster=true"
	r, late, told := openTest(t, url), keepMap(openTest(t, url)), keepMap(openTest(t, url))
	must(t, r.Check(ctx))
	must(t, late.Check(ctx))
	for _, n := range nodes {
		if err := openTest(t, "redis://"+n.address).Check(ctx); refusal(err) != Moved {
			t.Errorf("a node given as a single server: %v", err)
		}
	}
	checkClusterRights(t, nodes)
	examineTold(t, nodes)
	must(t, r.Put(ctx, one, []byte("v"), time.Hour))
	name := r.seal.name(one)
	changed, stop, err := r.Watch(ctx, one)
	must(t, err)
	defer stop()
	moved, stop, err := told.Watch(ctx, one)
	must(t, err)
	defer stop()
	slot := nodes[0].cli(t, "CLUSTER", "KEYSLOT", name)
	ids := make([]string, len(nodes))
	from, to := -1, 0
	for i, n := range nodes {
		ids[i] = n.cli(t, "CLUSTER", "MYID")
		if n.tryCommand("GET " + name)[0] == '$' {
			from = i
		}
	}
	if from == 0 {
		to = 1
	}
	nodes[to].cli(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[from])
	nodes[from].cli(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to])
	host, port, _ := net.SplitHostPort(nodes[to].address)
	nodes[from].cli(t, "MIGRATE", host, port, name, "0", "5000")
	if e, err := r.Get(ctx, one); err != nil || string(e.Value) != "v" { // ASK
		t.Errorf("while it moves: %q, %v", e.Value, err)
	}
	for _, i := range []int{to, 3 - to - from, from} { // the one that tells its listeners is the last
		nodes[i].cli(t, "CLUSTER", "SETSLOT", slot, "NODE", ids[to])
	}
	if e, err := r.Get(ctx, one); err != nil || string(e.Value) != "v" { // MOVED
		t.Errorf("after it moved: %q, %v", e.Value, err)
	}
	must(t, r.Put(ctx, one, []byte("w"), time.Hour))
	select {
	case <-changed:
	case <-time.After(5 * time.Second):
		t.Error("the watcher of a channel that moved was not woken")
	}
	wantWatched(t, r, r, one)
	wantWatched(t, late, r, one) // who has asked for nothing since
	wantClosed(t, moved, "who was told that it moved")
	within(t, 5*time.Second, "who was told looks where it is", func() bool { return place(t, told, name) == nodes[to].address })
}

func TestRedisTLS(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	must(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	port := freePort(t)
	startRedis(t, "--tls-port", port, "--bind", "127.0.0.1", "--tls-auth-clients", "no",
		"--tls-cert-file", certFile, "--tls-key-file", keyFile, "--tls-ca-cert-file", certFile)
	roots := x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	roots.AddCert(cert)
	r := openTest(t, "rediss://127.0.0.1:"+port, func(o *RedisOptions) { o.Roots = roots; o.Timeout = 5 * time.Second })
	must(t, r.Check(t.Context()))
	lockNow(t, r, one).Release()
	stranger := openTest(t, "rediss://127.0.0.1:"+port)
	var unknown x509.UnknownAuthorityError
	if err := stranger.Check(t.Context()); !errors.As(err, &unknown) {
		t.Errorf("an unknown certificate: %v", err)
	}
}

func TestRedisAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"redis://h:1":                       "",
		"redis://u:p@h/":                    "",
		"rediss://:p@h:1/2?pool_size=3":     "",
		"unix:///run/redis.sock?db=1":       "",
		"redis://h:1?cluster=true&addr=i:2": "",
		"redis://h:1/0?master_name=m&addr=i:2&username=u&password=p": "",
		"http://h":                            "must begin with",
		"":                                    "must begin with",
		"redis://u:marked%zz@h":               "can't be read",
		"redis://u:marked@h:port":             "can't be read",
		"redis://u:marked@h/x":                "can't be read",
		"redis://h?max_retries=3":             "max_retries",
		"redis://h?read_only=true":            "read_only",
		"redis://h?wait_replicas=2":           "",
		"redis://h?wait_replicas=-1":          "wait_replicas",
		"redis://h?addr=i:2":                  "cluster=true",
		"redis://h?cluster=yes":               "neither true nor false",
		"redis://h?cluster=true&master_name=": "both",
		"redis://h/3?cluster=true":            "a database",
		"redis://u:marked@h?pool_size=many":   "can't be read",
	} {
		r, err := OpenRedis(RedisOptions{URL: address, Keys: [][]byte{keyOne}})
		if err == nil {
			r.Close()
		}
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "marked")) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
	for _, keys := range [][][]byte{nil, {keyOne, bytes.Repeat([]byte{1}, 16)}} {
		if _, err := OpenRedis(RedisOptions{URL: "redis://h", Keys: keys}); err == nil {
			t.Errorf("%d keys were taken", len(keys))
		}
	}
}

func TestRedisObserves(t *testing.T) {
	s, ctx := startRedis(t), t.Context()
	var mu sync.Mutex
	var seen []string
	r := openTest(t, s.url(), func(o *RedisOptions) {
		o.Observe = func(op string, failed Reason, took time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, op+string(failed))
			if took <= 0 {
				t.Errorf("%s took %v", op, took)
			}
		}
	})
	must(t, r.Put(ctx, one, nil, time.Hour))
	_, err := r.Get(ctx, one)
	must(t, err)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := r.Get(gone, one); refusal(err) != Cancelled || !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that left: %v", err)
	}
	if err := r.Put(ctx, one, nil, 0); err == nil {
		t.Error("an entry without life was taken")
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"put", "get", "getcancelled"}; !slices.Equal(slices.DeleteFunc(seen, func(s string) bool { return s == "check" }), want) {
		t.Errorf("saw %q, want %q", seen, want)
	}
}

// The refusal of a call that was not made says so in one sentence.
func TestRestingIsSaidOnce(t *testing.T) {
	r := openTest(t, "redis://127.0.0.1:1")
	var err error
	for range restAfter + 1 {
		_, err = r.Get(t.Context(), Key{"k", "a"})
	}
	if refusal(err) != Resting || strings.Count(err.Error(), "shared store") != 1 {
		t.Errorf("%v", err)
	}
}
