//go:build unix

package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// What can be told of a server before it is depended on; nothing is left behind.
func TestExamine(t *testing.T) {
	checkLeaks(t)
	server := startRedis(t, "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes")
	r := openTest(t, server.url())
	f := r.Examine(t.Context())
	if f.Down != nil || len(f.Servers) != 1 || len(f.Denied) != 0 || f.Keys != 1 || !errors.Is(f.Names, ErrMissing) {
		t.Fatalf("%+v", f)
	}
	s := f.Servers[0]
	for name, want := range map[string]string{
		"maxmemory_policy": "allkeys-lru", "maxmemory": "52428800", "aof_enabled": "1", "role": "master", "save": "", "min-replicas-to-write": "0",
	} {
		if got, ok := s.Settings[name]; !ok || got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if s.Settings["redis_version"] == "" || s.Settings["used_memory"] == "" || len(s.Settings) > len(settings) {
		t.Errorf("settings %v", s.Settings)
	}
	if !s.ClockKnown || s.Ahead.Abs() > time.Second || f.RoundTrip <= 0 || f.RoundTrip > time.Second {
		t.Errorf("the clock is %v ahead, the way takes %v", s.Ahead, f.RoundTrip)
	}
	within(t, 2*time.Second, "nothing is left", func() bool { return len(server.names(t, "*")) == 0 })

	if err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f := r.Examine(t.Context()); f.Names != nil {
		t.Errorf("our own names: %v", f.Names)
	}
	other := openTest(t, server.url(), func(o *RedisOptions) { o.Keys = [][]byte{keyTwo, keyTwo} })
	if f := other.Examine(t.Context()); !errors.Is(f.Names, ErrOtherKeys) || f.Keys != 2 {
		t.Errorf("others' names: %v, %d keys", f.Names, f.Keys)
	}
}

// A user that may do what the rooms need, and no more, can be examined: what it may
// not ask is not known. One that lacks something is told what.
func TestExamineRights(t *testing.T) {
	server := startRedisTCP(t)
	server.cli(t, append([]string{"ACL", "SETUSER", "sidecar"}, strings.Fields(aclOfDocs)...)...)
	at := strings.Replace(server.url(), "redis://", "redis://sidecar:PASSWORD@", 1)
	f := openTest(t, at).Examine(t.Context())
	if f.Down != nil || len(f.Denied) != 0 || len(f.Servers[0].Settings) != 0 {
		t.Errorf("%+v", f)
	}
	for _, c := range []struct{ rules, denied string }{
		{"resetchannels", "write"}, {"&sfm:* -set", "write"}, {"+set -zadd", "run scripts"}, {"+zadd -subscribe", "hear of changes"}, {"+subscribe -scan", "list"}, {"+scan -get", "read"},
	} {
		server.cli(t, append([]string{"ACL", "SETUSER", "sidecar"}, strings.Fields(c.rules)...)...)
		f = openTest(t, at).Examine(t.Context())
		if len(f.Denied) == 0 || f.Denied[0].Operation != c.denied {
			t.Errorf("%s: denied %+v", c.rules, f.Denied)
			continue
		}
		if failed, ok := errors.AsType[*Failure](f.Denied[0].Err); !ok || failed.Reason != Credentials {
			t.Errorf("%s: %v", c.rules, f.Denied[0].Err)
		}
	}
	f = openTest(t, strings.Replace(at, "PASSWORD", "wrong", 1)).Examine(t.Context())
	if failed, ok := errors.AsType[*Failure](f.Down); !ok || failed.Reason != Credentials || f.Denied != nil {
		t.Errorf("with a wrong password: %+v", f)
	}
	if f := openTest(t, "redis://127.0.0.1:"+freePort(t)).Examine(t.Context()); f.Down == nil {
		t.Error("where no server is, one was reached")
	}
}

// aclOfDocs makes the sidecars' user of docs/shared-store.md.
const aclOfDocs = "on >PASSWORD " + rights

// examineCluster is TestExamine in a cluster whose user has the rights of the docs.
func examineCluster(t *testing.T, nodes []*redisServer) {
	t.Helper()
	for _, n := range nodes {
		n.cli(t, append([]string{"ACL", "SETUSER", "sidecar"}, strings.Fields(aclOfDocs+" "+clusterRights+" +info")...)...)
	}
	r := openTest(t, strings.Replace(nodes[0].url(), "redis://", "redis://sidecar:PASSWORD@", 1)+"?cluster=true")
	f := r.Examine(t.Context())
	if f.Down != nil || len(f.Denied) != 0 || len(f.Servers) != 3 {
		t.Errorf("%+v", f)
	}
	for _, s := range f.Servers {
		if _, told := s.Settings["save"]; told || s.Settings["redis_version"] == "" || s.Settings["role"] != "master" {
			t.Errorf("a node tells %v", s.Settings)
		}
	}
	if s := r.State(); s.Kind != "cluster" || s.Answered.IsZero() {
		t.Errorf("state %+v", s)
	}
}

func TestState(t *testing.T) {
	server := startRedis(t)
	r := openTest(t, server.url(), func(o *RedisOptions) { o.Timeout = 100 * time.Millisecond })
	if s := r.State(); s != (State{Kind: "server"}) {
		t.Errorf("at first: %+v", s)
	}
	key := Key{"k", "a"}
	if err := r.Put(t.Context(), key, []byte("v"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if s := r.State(); s.Answered.IsZero() || !s.Failed.IsZero() || !s.Resting.IsZero() {
		t.Errorf("after a good call: %+v", s)
	}
	server.kill()
	for range restAfter + 1 {
		_, _ = r.Get(t.Context(), key)
	}
	s := r.State()
	if s.Reason != Unreachable || s.Failed.IsZero() || s.Resting.IsZero() || s.Resting.After(s.Failed.Add(time.Second)) {
		t.Errorf("when it is down: %+v", s)
	}
	first := s.Resting
	server.run(t)
	within(t, 5*time.Second, "it is asked again", func() bool {
		_, err := r.Get(t.Context(), key)
		if err != nil && !errors.Is(err, ErrMissing) && !r.State().Resting.Equal(first) {
			t.Fatalf("the beginning moves: %+v", r.State())
		}
		return r.State().Resting.IsZero()
	})
}

// What does not open is told of, once each.
func TestUnopenedIsObserved(t *testing.T) {
	server := startRedis(t)
	var opened []Reason
	r := openTest(t, server.url(), func(o *RedisOptions) {
		o.Observe = func(op string, why Reason, _ time.Duration) {
			if op == "open" {
				opened = append(opened, why)
			}
		}
	})
	key := Key{"k", "a"}
	if err := r.Put(t.Context(), key, []byte("v"), time.Minute); err != nil {
		t.Fatal(err)
	}
	server.cli(t, "SETRANGE", r.seal.name(key), "30", "xx")
	if _, err := r.Get(t.Context(), key); !errors.Is(err, ErrMissing) {
		t.Errorf("damaged: %v", err)
	}
	other := openTest(t, server.url(), func(o *RedisOptions) { o.Keys, o.Names = [][]byte{keyTwo}, keyOne })
	if err := other.Put(t.Context(), key, []byte("v"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Take(t.Context(), key); !errors.Is(err, ErrUnreadable) {
		t.Errorf("another's: %v", err)
	}
	if len(opened) != 2 || opened[0] != Sealed || opened[1] != Sealed || r.State().Reason != Sealed {
		t.Errorf("told: %v, state %+v", opened, r.State())
	}
}

// answered is a server's refusal, as the client has it.
type answered string

func (a answered) Error() string { return string(a) }
func (answered) RedisError()     {}

func TestDescribe(t *testing.T) {
	for want, err := range map[string]error{
		"the session store did not answer":                             errors.New("no bus"),
		"the shared store did not answer":                              &Failure{Op: "get", Reason: Slow},
		"the shared store is full":                                     fmt.Errorf("writing: %w", &Failure{Op: "put", Reason: Full}),
		"the shared store holds an entry that this sidecar can't open": fmt.Errorf("reading: %w (format 2)", ErrUnreadable),
		"the shared store lacks replicas, and takes no writes":         &Failure{Op: "put", Reason: Replicas},
	} {
		if got := Describe(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

func TestReasonsOfRefusals(t *testing.T) {
	for text, want := range map[answered]Reason{
		"ERR max number of clients reached": Unreachable,
		"ERR invalid password":              Credentials,
		"ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?": Credentials,
		"ERR The user executing the script can't run this command or subcommand":                                                       Credentials,
		"NOREPLICAS Not enough good replicas to write.":                                                                                Replicas,
		"OOM command not allowed when used memory > 'maxmemory'.":                                                                      Full,
		"READONLY You can't write against a read only replica.":                                                                        ReadOnly,
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.":                             ReadOnly,
		"ERR unknown command": Refused,
	} {
		if got := reasonOf(t.Context(), text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
