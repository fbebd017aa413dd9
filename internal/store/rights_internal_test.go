//go:build unix

package store

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rights are those that docs/shared-store.md tells operators to give.
const rights = "resetkeys ~sfm:* resetchannels &sfm:* -@all +evalsha +eval +get +set +getrange +del +pexpire +pttl +time " +
	"+zadd +zrem +zscore +zrange +zrangebyscore +publish +subscribe +unsubscribe +ping +wait +scan"

// clusterRights are those that a cluster needs besides.
const clusterRights = "+spublish +ssubscribe +sunsubscribe +cluster|slots +cluster|shards"

// The user of the documentation can do everything, and each right that it lacks is
// told by Check, with what to do.
func TestRedisRights(t *testing.T) {
	checkLeaks(t)
	s, ctx := startRedis(t), t.Context()
	words := strings.Fields(rights)
	s.cli(t, append([]string{"ACL", "SETUSER", "sidecar", "on", ">secret"}, words...)...)
	at := strings.Replace(s.url(), "unix://", "unix://sidecar:secret@", 1)
	r := openTest(t, at, func(o *RedisOptions) { o.URL += "?wait_replicas=1" })
	must(t, r.Check(ctx))
	must(t, r.Put(ctx, one, []byte("v"), time.Hour))
	h := lockNow(t, r, one)
	must(t, r.PutFenced(ctx, one, []byte("w"), time.Hour, h.Fence()))
	_, err := h.(*redisHold).renew()
	must(t, err)
	h.Release()
	n, err := r.Count(ctx, "session")
	if n != 1 || err != nil {
		t.Errorf("%d counted, %v", n, err)
	}
	_, err = r.Due(ctx, one, 0)
	must(t, err)
	keys, _, err := r.Claim(ctx, one.Kind, time.Minute)
	if len(keys) != 1 || err != nil {
		t.Errorf("%d claimed, %v", len(keys), err)
	}
	_, err = r.Take(ctx, one)
	must(t, err)
	must(t, r.Delete(ctx, one))
	var told listener
	stop := r.Hear(one.Kind, told.take)
	wantTold(t, r, &told, one.ID)
	stop()
	if said := s.cli(t, "ACL", "LOG"); said != "" {
		t.Errorf("the server refused something: %s", said)
	}
	for _, word := range words {
		if word[0] != '+' || word == "+wait" || word == "+scan" || word == "+unsubscribe" || word == "+ping" {
			continue // of these one can do without, but for a while
		}
		s.cli(t, "ACL", "SETUSER", "sidecar", "-"+word[1:])
		s.cli(t, "SCRIPT", "FLUSH")
		err := openTest(t, at).Check(ctx)
		if f := new(Failure); !errors.As(err, &f) || f.Reason != Credentials || !strings.Contains(err.Error(), "the rights of") {
			t.Errorf("without %s: %v", word, err)
		}
		s.cli(t, "ACL", "SETUSER", "sidecar", word)
	}
	s.cli(t, "ACL", "SETUSER", "sidecar", "resetchannels")
	if err := openTest(t, at).Check(ctx); refusal(err) != Credentials {
		t.Errorf("without channels: %v", err)
	}
	s.cli(t, "ACL", "SETUSER", "sidecar", "resetkeys")
	if err := openTest(t, at).Check(ctx); refusal(err) != Credentials {
		t.Errorf("without names: %v", err)
	}
}

var scriptCommand = regexp.MustCompile(`redis\.p?call\('([A-Z]+)'`)

// The documentation names the very rights that the tests use, and what the scripts need
// is among them and is tried at the start.
func TestRightsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/shared-store.md")
	must(t, err)
	for _, words := range []string{" " + rights + "\n", "`" + clusterRights + "`"} {
		if strings.Count(string(text), words) != 1 {
			t.Errorf("docs/shared-store.md does not say %q, once", words)
		}
	}
	pages, err := filepath.Glob("../../docs/*.md")
	must(t, err)
	for _, page := range append(pages, "../../helm/README.md", "../../README.md") {
		text, err := os.ReadFile(page)
		must(t, err)
		if strings.Contains(string(text), "+evalsha") && filepath.Base(page) != "shared-store.md" {
			t.Errorf("%s says the rights a second time; link to docs/shared-store.md", page)
		}
	}
	files, err := filepath.Glob("*.go")
	must(t, err)
	for _, file := range files {
		source, err := os.ReadFile(file)
		must(t, err)
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, found := range scriptCommand.FindAllStringSubmatch(string(source), -1) {
			if !strings.Contains(rights+" ", "+"+strings.ToLower(found[1])+" ") || !strings.Contains(rightsScript.source, "redis.call('"+found[1]+"'") {
				t.Errorf("%s: %s is not among the rights, or not tried by Check", file, found[1])
			}
		}
	}
}

// checkClusterRights uses a cluster as the user of the documentation.
func checkClusterRights(t *testing.T, nodes []*redisServer) {
	t.Helper()
	for _, n := range nodes {
		n.cli(t, "ACL", "LOG", "RESET")
		n.cli(t, append([]string{"ACL", "SETUSER", "sidecar", "on", ">secret"}, strings.Fields(rights+" "+clusterRights)...)...)
	}
	r := openTest(t, "redis://sidecar:secret@"+nodes[0].address+"?cluster=true")
	must(t, r.Check(t.Context()))
	for i := range 10 { // at several nodes
		key := Key{"session", strconv.Itoa(i)}
		must(t, r.Put(t.Context(), key, []byte("v"), time.Hour))
		_, stop, err := r.Watch(t.Context(), key)
		must(t, err)
		stop()
		lockNow(t, r, key).Release()
		must(t, r.Delete(t.Context(), key))
	}
	must(t, r.Close())
	for _, n := range nodes {
		if said := n.cli(t, "ACL", "LOG"); said != "" {
			t.Errorf("a node refused something: %s", said)
		}
	}
}

type said string

func (s said) Error() string { return string(s) }
func (said) RedisError()     {}

// What servers say is understood, with and without a word in front.
func TestRedisRefusals(t *testing.T) {
	for text, want := range map[string]Reason{
		"WRONGPASS invalid username-password pair or user is disabled.": Credentials,
		"ERR invalid password": Credentials,
		"ERR AUTH <password> called without any password configured for the default user.":                      Credentials,
		"ERR The user executing the script can't run this command or subcommand script: 1f, on @user_script:1.": Credentials,
		"ERR ACL failure in script: User x has no permissions to run the 'set' command script: 1f":              Credentials,
		"ERR max number of clients reached":                       Unreachable,
		"OOM command not allowed when used memory > 'maxmemory'.": Full,
		"ERR unknown command 'EVALSHA'":                           Refused,
	} {
		f := failure(t.Context(), "get", said(text))
		if f.Reason != want || !strings.Contains(f.Error(), f.Reason.Mend()) {
			t.Errorf("%s: %v, want %q", text, f, want)
		}
	}
}

// What somebody else wrote under the name of a fence neither stops a lock nor makes
// its fences useless.
func TestRedisFenceOfSomebody(t *testing.T) {
	s := startRedis(t)
	r := openTest(t, s.url())
	first := lockNow(t, r, one)
	first.Release()
	name := s.names(t, "sfm:fence-*")[0]
	for what, write := range map[string][]string{
		"no number":    {"SET", name, "garbage"},
		"enormous":     {"SET", name, "1e300"},
		"not a number": {"SET", name, "nan"},
		"of this kind": {"SET", name, "99999999999999999999999"},
		"a list":       {"LPUSH", name, "x"},
		"below zero":   {"SET", name, "-1e300"},
	} {
		s.cli(t, "DEL", name)
		s.cli(t, write...)
		h := lockNow(t, r, one)
		if fence := h.Fence(); fence <= first.Fence() || fence > uint64(time.Now().Add(time.Hour).UnixMicro()) {
			t.Errorf("%s: fence %d", what, fence)
		}
		h.Release()
	}
}

// Nor does what stands under the name of a lock, and what stands under the name of an
// entry is a miss.
func TestRedisGarbage(t *testing.T) {
	s, ctx := startRedis(t), t.Context()
	r := openTest(t, s.url())
	lock, entry := "sfm:lock-session"+r.seal.tag(one.ID), r.seal.name(one)
	for what, write := range map[string][]string{
		"text":           {"SET", "NAME", "garbage"},
		"text with time": {"SET", "NAME", "garbage", "EX", "100000"},
		"enormous":       {"SETRANGE", "NAME", "10000000", "x"},
		"a list":         {"LPUSH", "NAME", "x"},
		"nothing":        {"SET", "NAME", ""},
	} {
		garbage := func(name string) {
			s.cli(t, "DEL", name)
			args := slices.Clone(write)
			args[1] = name
			s.cli(t, args...)
		}
		garbage(lock)
		lockNow(t, r, one).Release()

		garbage(entry)
		if _, err := r.Get(ctx, one); !errors.Is(err, ErrMissing) {
			t.Errorf("%s: %v", what, err)
		}
		if n := len(s.names(t, entry)); n != 0 {
			t.Errorf("%s: it is left", what)
		}
		garbage(entry)
		if _, err := r.Take(ctx, one); !errors.Is(err, ErrMissing) {
			t.Errorf("%s: %v", what, err)
		}
		garbage(entry)
		must(t, r.Put(ctx, one, []byte("v"), time.Hour))
		garbage(entry)
		must(t, r.Delete(ctx, one))
		must(t, r.PutIf(ctx, one, []byte("v"), time.Hour, 0))
	}
}
