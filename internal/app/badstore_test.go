//go:build unix

package app_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sfm-sidecar/internal/simulator"
)

// vandal is somebody who can write to a server's database.
type vandal struct {
	*redis.Client
	t  testing.TB
	db int
}

// vandal has a database of the server for itself, but for the sidecars that env lets in.
func (s *sharedServer) vandal(t testing.TB) *vandal {
	db := int(s.databases.Add(1)) % 16
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: s.socket, DB: db, Protocol: 2})
	t.Cleanup(func() { _ = c.Close() })
	return &vandal{c, t, db}
}

// env is what lets a sidecar use the database, with these keys, one if none is given.
func (v *vandal) env(s *sharedServer, keys ...string) []string {
	env := append(s.env(), fmt.Sprintf("SIDECAR_STORE=unix://%s?db=%d", s.socket, v.db))
	if len(keys) > 0 {
		env = append(env, "SIDECAR_STORE_KEY="+storeKeys(keys...))
	}
	return env
}

// storeKeys are keys of one letter each.
func storeKeys(letters ...string) string {
	var keys []string
	for _, letter := range letters {
		keys = append(keys, base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32))))
	}
	return strings.Join(keys, ",")
}

// of are all entries of a kind, by name.
func (v *vandal) of(kind string) map[string]string {
	v.t.Helper()
	found := map[string]string{}
	names, err := v.Keys(v.t.Context(), "sfm:"+kind+":*").Result()
	if err != nil {
		v.t.Fatal(err)
	}
	for _, name := range names {
		found[name] = v.Get(v.t.Context(), name).Val()
	}
	return found
}

// only is the one entry of a kind.
func (v *vandal) only(kind string) (name, value string) {
	v.t.Helper()
	found := v.of(kind)
	if len(found) != 1 {
		v.t.Fatalf("%d entries of the kind %s, want one", len(found), kind)
	}
	for name, value = range found {
	}
	return name, value
}

func (v *vandal) write(name, value string) {
	v.t.Helper()
	if err := v.Set(v.t.Context(), name, value, time.Hour).Err(); err != nil {
		v.t.Fatal(err)
	}
}

// wantRight calls, and fails the test unless SFM saw that person and tenant and
// nobody else.
func (w *world) wantRight(handle string, person simulator.Person, tenant int) {
	w.t.Helper()
	t := simulator.Tenants()[tenant]
	id := fmt.Sprintf("right-%d", rightCalls.Add(1))
	w.wantCode(w.send(w.request(http.MethodGet, "/basis/Task", "", append(headers(handle, t), "X-Request-Id", id)...)), "")
	seen := w.operations(id)
	if len(seen) != 1 || !seen[0].Accepted || seen[0].Subject != person.Subject || seen[0].Tenant != t {
		w.t.Errorf("SFM saw %d calls, or another person or tenant", len(seen))
	}
}

var rightCalls atomic.Int64

// logged is what the sidecars of this world have logged so far, and others beside it.
func (w *world) wantLogged(words ...string) {
	w.t.Helper()
	text := seen.logged()[w.logFrom:]
	for _, word := range words {
		if !strings.Contains(text, word) {
			w.t.Errorf("the log does not say %q", word)
		}
	}
}

// What somebody with write access does to entries is a refusal or a miss, never
// another's token.
func TestVandals(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	doctor, locum := simulator.Persons()[0], simulator.Persons()[1]
	for what, try := range map[string]func(t *testing.T, a *world, v *vandal, handles [2]string){
		"tokens of two tenants swapped": func(t *testing.T, a *world, v *vandal, handles [2]string) {
			tokens := v.of("token")
			names := slices.Sorted(maps.Keys(tokens))
			for i, name := range names {
				v.write(name, tokens[names[(i+1)%len(names)]])
			}
			b := a.replica()
			for tenant := range 2 {
				b.wantRight(handles[0], doctor, tenant)
				b.wantRight(handles[1], locum, tenant)
			}
			if n := b.cache("shared"); n != 0 {
				t.Errorf("%v tokens were taken from under others' names", n)
			}
			a.wantLogged("an entry of the shared store was removed")
		},
		"sessions of two persons swapped": func(_ *testing.T, a *world, v *vandal, handles [2]string) {
			records := v.of("session")
			names := slices.Sorted(maps.Keys(records))
			v.write(names[0], records[names[1]])
			v.write(names[1], records[names[0]])
			b := a.replica()
			for _, handle := range handles {
				b.wantCode(b.call(handle, 0), "session-unknown")
			}
		},
		"everything cut off": func(_ *testing.T, a *world, v *vandal, handles [2]string) {
			for _, kind := range []string{"token", "dpop", "spent", "tokens"} {
				for name, value := range v.of(kind) {
					v.write(name, value[:len(value)-1])
				}
			}
			b := a.replica()
			b.wantRight(handles[0], doctor, 0)
			for name, value := range v.of("session") {
				v.write(name, value[:len(value)/2])
			}
			c := b.replica()
			c.wantCode(c.call(handles[0], 0), "session-unknown")
		},
		"notes of use removed": func(_ *testing.T, a *world, v *vandal, handles [2]string) {
			for name := range v.of("used") {
				v.Del(v.t.Context(), name)
			}
			b := a.replica()
			b.wantCode(b.call(handles[0], 0), "session-expired")
		},
		"an old session put back": func(_ *testing.T, a *world, v *vandal, handles [2]string) {
			old := v.of("session")
			a.wantRight(handles[0], doctor, 2)
			for name, value := range old {
				v.write(name, value)
			}
			b := a.replica()
			// The refresh token in it was sent: it is not sent again while that is known.
			b.wantCode(b.call(handles[0], 3), "store-unavailable")
			b.wantRight(handles[1], locum, 3)
		},
		"an old session put back after the log-out": func(t *testing.T, a *world, v *vandal, handles [2]string) {
			old := v.of("session")
			if end := a.send(a.request(http.MethodDelete, "/_sidecar/session", "", "Sfm-Session", handles[0])); end.status != http.StatusOK {
				t.Fatalf("ending: %d", end.status)
			}
			for name, value := range old {
				v.write(name, value)
			}
			b := a.replica()
			b.wantCode(b.call(handles[0], 0), "session-expired")
		},
		"a session and its tokens put back after the log-out": func(t *testing.T, a *world, v *vandal, handles [2]string) {
			tokens, others := v.of("token"), v.of("session")
			maps.Copy(others, v.of("used"))
			if end := a.send(a.request(http.MethodDelete, "/_sidecar/session", "", "Sfm-Session", handles[0])); end.status != http.StatusOK {
				t.Fatalf("ending: %d", end.status)
			}
			eventually(t, "the tokens are removed", func() bool { return len(v.of("token")) < len(tokens) })
			for name, value := range tokens {
				v.write(name, value)
			}
			b := a.replica()
			b.wantCode(b.call(handles[0], 0), "session-expired")
			for name, value := range others {
				v.write(name, value)
			}
			// It has its last tokens again, for as long as they live, and no others.
			c := a.replica()
			c.wantRight(handles[0], doctor, 0)
			c.wantRight(handles[1], locum, 0)
			c.wantCode(c.call(handles[0], 3), "session-expired")
			c.wantCode(c.call(handles[0], 0), "session-expired")
		},
		"an old key put back": func(t *testing.T, a *world, v *vandal, handles [2]string) {
			name, old := v.only("dpop")
			v.Del(v.t.Context(), name)
			b := a.replica()
			v.write(name, old)
			c := a.replica()
			for tenant := range 2 {
				b.wantRight(handles[0], doctor, tenant)
				c.wantRight(handles[0], doctor, tenant)
			}
			if n := c.cache("shared"); n != 2 {
				t.Errorf("%v tokens were taken from the store, want 2", n)
			}
		},
		"locks and fences that nobody holds": func(_ *testing.T, a *world, v *vandal, handles [2]string) {
			ctx := v.t.Context()
			for i, name := range v.Keys(ctx, "sfm:fence-*").Val() {
				v.Del(ctx, name)
				switch lock := strings.Replace(name, "fence-", "lock-", 1); i % 3 {
				case 0:
					v.Set(ctx, name, "garbage", 0)
					v.Set(ctx, lock, "garbage", 0)
				case 1:
					v.LPush(ctx, name, "x")
					v.LPush(ctx, lock, "x")
				default:
					v.Set(ctx, name, "1e300", 0)
					v.Set(ctx, lock, strings.Repeat("x", 1<<20), 24*time.Hour)
				}
			}
			b := a.replica()
			for tenant := range 4 {
				b.wantRight(handles[0], doctor, tenant)
				a.wantRight(handles[1], locum, tenant)
			}
		},
		"entries of other types": func(_ *testing.T, a *world, v *vandal, handles [2]string) {
			ctx := v.t.Context()
			for name := range v.of("token") {
				v.Del(ctx, name)
				v.LPush(ctx, name, "x")
			}
			for name := range v.of("spent") {
				v.write(name, "garbage")
			}
			b := a.replica()
			b.wantRight(handles[0], doctor, 0)
			for name := range v.of("session") {
				v.Del(ctx, name)
				v.SAdd(ctx, name, "x")
			}
			c := b.replica()
			c.wantCode(c.call(handles[0], 0), "session-unknown")
		},
		"entries of a newer version": func(t *testing.T, a *world, v *vandal, handles [2]string) {
			newer := map[string]string{}
			for _, kind := range []string{"session", "token", "dpop", "used", "spent", "tokens"} {
				for name, value := range v.of(kind) {
					newer[name] = "\x02" + value[1:]
					v.write(name, newer[name])
				}
			}
			b := a.replica()
			for _, handle := range handles {
				b.wantCode(b.call(handle, 0), "store-unavailable")
			}
			a.wantLogged("newer format")
			for name, value := range newer {
				if v.Get(v.t.Context(), name).Val() != value {
					t.Errorf("%.12s was changed", name)
				}
				v.write(name, "\x01"+value[1:])
			}
			b.wantRight(handles[0], doctor, 0)
			b.wantRight(handles[1], locum, 3)
		},
		"everything removed": func(_ *testing.T, a *world, v *vandal, handles [2]string) {
			v.FlushDB(v.t.Context())
			b := a.replica()
			b.wantCode(b.call(handles[0], 0), "session-unknown")
			a.wantCode(a.call(handles[0], 3), "session-unknown")
			handle := b.logIn("lege")
			b.wantRight(handle, doctor, 0)
			a.wantRight(handle, doctor, 0)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			v := server.vandal(t)
			a := newWorld(t, setup{env: v.env(server)})
			handles := [2]string{a.logIn(doctor.ID), a.logIn(locum.ID)}
			for tenant := range 2 {
				a.wantRight(handles[0], doctor, tenant)
				a.wantRight(handles[1], locum, tenant)
			}
			try(t, a, v, handles)
			if n := a.sim.Reuses(); n != 0 {
				t.Errorf("%d refresh tokens were used twice", n)
			}
		})
	}
}

// What is sealed by a key that was removed from the list waits for that key, and is
// neither lost nor made anew.
func TestSealKeyRemoved(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	v, doctor := server.vandal(t), simulator.Persons()[0]
	a := newWorld(t, setup{env: v.env(server, "b", "a")})
	handle := a.logIn(doctor.ID)
	a.wantRight(handle, doctor, 0)
	before := v.of("session")
	without := a.replica("SIDECAR_STORE_KEY=" + storeKeys("c", "a"))
	refused := without.call(handle, 0)
	without.wantCode(refused, "store-unavailable")
	if refused.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	a.wantLogged("unknown key")
	if !maps.Equal(before, v.of("session")) {
		t.Error("the session was changed")
	}
	with := a.replica("SIDECAR_STORE_KEY=" + storeKeys("c", "b", "a"))
	with.wantRight(handle, doctor, 0)
	with.wantRight(handle, doctor, 1)
	if n := with.cache("shared"); n != 1 || a.sim.Reuses() != 0 {
		t.Errorf("%v tokens were taken from the store", n)
	}
}
