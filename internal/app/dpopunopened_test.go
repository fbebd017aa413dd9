//go:build unix

package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"sfm-sidecar/internal/simulator"
)

const ownKey = prefix + "own_dpop_key"

// checkedKey is the status of the step "store dpop", and all that it says.
func (w *world) checkedKey() (status, said string) {
	w.t.Helper()
	_, stdout, _ := w.run(w.t.(*testing.T), nil, "check", "-o", "json")
	var report struct {
		Steps []struct{ Name, Subject, Status, Found, Do string }
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		w.t.Fatal(err)
	}
	for _, s := range report.Steps {
		if s.Name == "store" && s.Subject == "dpop" {
			return s.Status, s.Found + " " + s.Do
		}
	}
	w.t.Fatal("no step about the DPoP key")
	return "", ""
}

func (w *world) statusSays(words string) bool {
	return strings.Contains(string(w.admin(http.MethodGet, "/", "Accept-Language", "en").body), words)
}

// The fleet's key was sealed with one that the sidecars have not: it is told everywhere,
// nobody makes another in its place, and one command has them all share again.
func TestDPoPKeyUnopened(t *testing.T) {
	t.Parallel()
	server := startShared(t)
	v := server.vandal(t)
	a := newWorld(t, setup{env: append(v.env(server, "a"), bothGrants, "SIDECAR_UNSAFE_NO_CALLER_KEY=true")})
	a.wantCode(a.send(a.machine(0)), "")
	handle := a.logIn("lege")
	a.wantCode(a.call(handle, 0), "")
	a.sfmSession(handle, simulator.Tenants()[0])
	first := a.provenBy()
	if status, said := a.checkedKey(); status != "ok" || !strings.Contains(said, first+", in use since 2") {
		t.Errorf("at first: %s, %s", status, said)
	}
	if a.metric(ownKey) != 0 || a.statusSays("DPoP") {
		t.Error("the fleet's own key is told of")
	}

	code, _, stderr := a.run(t, []string{"SIDECAR_STORE_KEY=" + storeKeys("b", "a")}, "keys", "dpop", "rotate", "--now")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	eventually(t, "the page tells", func() bool { return a.statusSays("The shared DPoP key can&#39;t be opened") })
	lost := v.of("dpop")
	b := a.replica()
	b.wantCode(b.send(b.machine(1)), "")
	own := b.provenBy()
	eventually(t, "the page tells", func() bool { return b.statusSays("own and shares no tokens") && b.statusSays("rotate --now") })
	if own == first || a.metric(ownKey) != 0 || b.metric(ownKey) != 1 {
		t.Errorf("own_dpop_key is %v and %v", a.metric(ownKey), b.metric(ownKey))
	}
	if status, said := a.checkedKey(); status != "failed" || !strings.Contains(said, "unknown key") || !strings.Contains(said, "rotate --now") {
		t.Errorf("the check: %s, %s", status, said)
	}
	code, _, stderr = a.run(t, nil, "keys", "dpop", "rotate")
	if code != 1 || !strings.Contains(stderr, "hint: put the key") || !strings.Contains(stderr, "--now") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	begun := time.Now()
	if code, _, stderr = a.operate("", "list"); code != 0 || stderr != "" || time.Since(begun) > time.Second {
		t.Errorf("exit %d after %v: %s", code, time.Since(begun), stderr)
	}
	fetched := a.grants()
	code, stdout, stderr := a.operate("", "end", "--all", "--yes")
	if code != 1 || !strings.Contains(stdout, "1 session ended") || !strings.Contains(stdout, "journal "+simulator.Tenants()[0].Journal+"): the store gives no DPoP key") || strings.Contains(stderr, "its own") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if n := a.requestsTo("revocation"); n != 1 || a.grants() != fetched {
		t.Errorf("%d refresh tokens were revoked, %d tokens fetched", n, a.grants()-fetched)
	}
	if now := v.of("dpop"); len(now) != 1 || len(lost) != 1 {
		t.Errorf("%d entries, %d before", len(now), len(lost))
	} else {
		for name := range lost {
			if now[name] != lost[name] {
				t.Error("the key was replaced by somebody who was not told to")
			}
		}
	}

	code, stdout, stderr = a.run(t, nil, "keys", "dpop", "rotate", "--now")
	if code != 0 || !strings.Contains(stdout, "could not be opened") {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	current := strings.Fields(stdout)[0]
	for _, w := range []*world{a, b} {
		eventually(t, "the new key is taken up", func() bool { return w.metric(ownKey) == 0 && !w.statusSays("DPoP") })
		w.wantCode(w.send(w.machine(2)), "")
		if w.provenBy() != current {
			t.Error("not proven with the new key")
		}
	}
	a.wantCode(a.send(a.machine(0)), "")
	if a.provenBy() != current {
		t.Error("a token of the key that was dropped is still used")
	}
	if status, said := a.checkedKey(); status != "ok" || !strings.Contains(said, current) {
		t.Errorf("at last: %s, %s", status, said)
	}
}
