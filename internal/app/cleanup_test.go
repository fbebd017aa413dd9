//go:build unix

package app_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

// kindOf is the kind of an entry by its name in the store.
func kindOf(name string) string { return strings.Split(name, ":")[1] }

// longest is how long each kind of entry may stay, and what docs/shared-store.md says.
var longest = map[string]time.Duration{
	"session": 8*time.Hour + 24*time.Hour, "used": 12 * time.Hour, "token": time.Hour, "tokens": time.Hour + time.Second,
	"spent": 24 * time.Hour, "state": 20 * time.Minute, "link": 10 * time.Minute, "logout": 10 * time.Minute,
	"lock-refresh": 10 * time.Second, "lock-token": 10 * time.Second,
	"fence-refresh": 10 * time.Minute, "fence-token": 10 * time.Minute,
	"turn-sfm-sessions": time.Minute, "keys": 24 * time.Hour, "dpop": 366 * 24 * time.Hour,
}

// wantBounded wants an end for everything in the database, and counts it by kind.
func (v *vandal) wantBounded() map[string]int {
	v.t.Helper()
	counted := map[string]int{}
	for _, name := range v.Keys(v.t.Context(), "*").Val() {
		left, err := v.PTTL(v.t.Context(), name).Result()
		if err != nil {
			v.t.Fatal(err)
		}
		if left == -2 {
			continue // it ended just now
		}
		kind := kindOf(name)
		if left <= 0 || left > longest[kind] {
			v.t.Errorf("%s stays for %v, want at most %v", kind, left, longest[kind])
		}
		counted[kind]++
	}
	return counted
}

// What log-ins leave in the store, however they end, is what the documentation says,
// for as long as it says.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	v, a, b := cleanupWorld(t)
	doctor := simulator.Persons()[0]
	ctx := context.Background()

	out, over := a.logIn(doctor.ID), a.logIn(doctor.ID) // one logs out, the other's time runs out
	for tenant := range 4 {
		a.wantRight(out, doctor, tenant)
		b.wantRight(out, doctor, tenant+2) // of the last two a knows nothing
		b.wantRight(over, doctor, tenant)
	}
	if n := v.wantBounded(); n["token"] != 10 || n["tokens"] != 2 || n["used"] != 2 {
		t.Errorf("%v, want 10 tokens of 2 sessions", n)
	}
	a.begin("{}")                                                                   // one that nobody begins
	_, opened := a.begin(`{"expect":{"pid":"24868224009"},"login_hint":"anybody"}`) // one that nobody finishes
	a.newBrowser().toCallback(opened, "vikar")
	_, denied := a.begin(`{"expect":{"pid":"24868224009"}}`) // one that fails
	if page := a.browse(denied, doctor.ID); page.header.Get("Sidecar-Error") != "person-mismatch" {
		t.Errorf("another person: %d %s", page.status, page.header.Get("Sidecar-Error"))
	}
	if end := a.send(a.request(http.MethodDelete, "/_sidecar/session", "", "Sfm-Session", out)); end.status != http.StatusOK {
		t.Fatalf("ending: %d", end.status)
	}
	eventually(t, "all tokens of the session that was ended are gone, and no others", func() bool {
		return len(v.of("token")) == 4
	})
	eventually(t, "what ran out is gone", func() bool { return len(v.of("token")) == 0 && len(v.of("used")) == 0 })
	for _, handle := range []string{out, over} {
		a.wantEnded(a.call(handle, 0))
		b.wantEnded(b.call(handle, 2))
	}
	left := v.wantBounded()
	t.Logf("left are %v", left)
	for _, gone := range []string{"token", "used", "spent", "lock-refresh", "lock-token"} {
		if left[gone] != 0 {
			t.Errorf("%d entries of the kind %s are left", left[gone], gone)
		}
	}
	if left["session"] != 5 {
		t.Errorf("%d sessions are remembered, want 5", left["session"])
	}
	// Of a person an ended session holds nothing: it is small.
	ended := 0
	for name, value := range v.of("session") {
		ttl := v.PTTL(ctx, name).Val()
		if ttl < time.Hour {
			continue // a log-in that may still be finished
		}
		ended++
		if ttl > 24*time.Hour || len(value) > 350 {
			t.Errorf("an ended session of %d bytes stays for %v", len(value), ttl)
		}
	}
	if ended != 3 {
		t.Errorf("%d sessions are known to have ended, want 3", ended)
	}
}

// cleanupWorld is two replicas with a database of their own; log-ins end after 12 s.
func cleanupWorld(t *testing.T) (*vandal, *world, *world) {
	t.Helper()
	server := startShared(t)
	v := server.vandal(t)
	knobs := simulator.DefaultKnobs()
	knobs.HelseID.RefreshTokenSeconds = 12
	a := newWorld(t, setup{env: v.env(server), sim: simulator.Options{Knobs: &knobs}})
	return v, a, a.replica()
}

// TestStoreMemory measures what the server needs of its memory, and holds it to what
// docs/shared-store.md says.
func TestStoreMemory(t *testing.T) {
	t.Parallel()
	const tenants = 6
	server := startShared(t)
	v := server.vandal(t)
	a := newWorld(t, setup{env: v.env(server)})
	doctor := simulator.Persons()[0]
	handle := a.logIn(doctor.ID)
	for tenant := range tenants {
		a.wantRight(handle, doctor, tenant)
	}
	eventually(t, "all locks are free", func() bool { return len(v.of("lock-refresh"))+len(v.of("lock-token")) == 0 })
	ctx, used, number := context.Background(), map[string]int64{}, map[string]int64{}
	for _, name := range v.Keys(ctx, "*").Val() {
		n, err := v.MemoryUsage(ctx, name, 0).Result()
		if err != nil {
			t.Fatal(err)
		}
		used[kindOf(name)] += n
		number[kindOf(name)]++
	}
	most := map[string]int64{
		"session": 2500, "used": 250, "token": 3200, "tokens": 700, "spent": 360, "state": 320, "link": 300,
		"fence-refresh": 150, "fence-token": 150, "keys": 150, "dpop": 400,
		"turn-sfm-sessions": 150,
	}
	all := int64(0)
	for kind, n := range used {
		each := n / number[kind]
		t.Logf("%-14s %2d × %4d bytes", kind, number[kind], each)
		if each > most[kind] {
			t.Errorf("%s takes %d bytes, want at most %d", kind, each, most[kind])
		}
		if kind != "keys" && kind != "dpop" && kind != "turn-sfm-sessions" {
			all += n
		}
	}
	perTenant := (used["token"] + used["tokens"] + used["fence-token"]) / tenants
	t.Logf("a tenant of a session takes %d bytes, a session with %d tenants %d", perTenant, tenants, all)
	bare := all - tenants*perTenant + used["tokens"] - 60*tenants // 60 is a tenant's line in the list
	t.Logf("without tenants it takes %d bytes", bare)
	if documented := int64(2800); perTenant > documented*11/10 {
		t.Errorf("a tenant of a session takes %d bytes, documented are %d", perTenant, documented)
	}
	if documented := int64(3300); bare > documented*11/10 {
		t.Errorf("a session takes %d bytes, documented are %d", bare, documented)
	}
}
