//go:build unix

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSmallFleet is what "make fleet" does, so small that it can always be done. With
// TEST_RACE the sidecars look for data races.
func TestSmallFleet(t *testing.T) {
	t.Parallel()
	needServers(t)
	small := run{
		root: "../..", build: raced(), name: "small",
		sidecars: 4, persons: 4, tenants: 5, lasts: 7 * time.Second, rate: 60, life: 5 * time.Second,
		plan: []step{
			{1500 * time.Millisecond, "kill", 700 * time.Millisecond},
			{4 * time.Second, "pause", 1200 * time.Millisecond},
		},
	}
	report, err := small.do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	report.print(&text)
	t.Log("\n" + text.String())
	if len(report.broken) > 0 {
		t.Error("a promise was broken")
	}
}

// clean is evidence of a run in which all went well, with one outage.
func clean() *evidence {
	begun := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	at := func(ms int) time.Time { return begun.Add(time.Duration(ms) * time.Millisecond) }
	first, second := tenant{"100100126", "999944582", "one"}, tenant{"313325016", "", "two"}
	good := func(id string, sidecar, tenant, ms int) call {
		return call{ID: id, Sidecar: sidecar, Tenant: tenant, Begun: at(ms), Took: 10 * time.Millisecond, Status: http.StatusOK}
	}
	saw := func(id string, of tenant, hash string, margin int64, ms int) operation {
		return operation{At: at(ms), Accepted: true, Tenant: of, Subject: "sub", TokenHash: hash, Margin: margin, RequestID: id}
	}
	refresh := func(of tenant, ms int) tokenRequest {
		return tokenRequest{Time: at(ms), Endpoint: "token", Grant: "refresh_token", Tenant: of, Outcome: "granted", Login: 1, InFlight: 1}
	}
	return &evidence{
		run: run{life: 5 * time.Second, lasts: time.Minute}, persons: []person{{Subject: "sub"}}, tenants: []tenant{first, second},
		Outages: []outage{{"kill", at(5000), at(7000)}},
		Stood:   []still{{at(20_000), time.Second}},
		Calls: []call{
			good("a", 0, 0, 0), good("b", 0, 1, 100), good("c", 1, 0, 4000),
			{ID: "d", Sidecar: 1, Tenant: 1, Begun: at(6000), Took: time.Millisecond, Status: 503, Code: "store-unavailable"},
			{ID: "e", Sidecar: 2, Tenant: 1, Begun: at(21_500), Took: time.Millisecond, Status: 503, Code: "store-unavailable"},
		},
		Last:     []call{good("f", 0, 0, 8000)},
		Ledger:   []operation{saw("a", first, "h1", 4, 5), saw("b", second, "h2", 4, 105), saw("c", first, "h3", 4, 4005), saw("f", first, "h3", 0, 8005)},
		Requests: []tokenRequest{refresh(first, 2), refresh(second, 102), refresh(first, 3500)},
	}
}

func TestJudge(t *testing.T) {
	if broken := clean().judge().broken; len(broken) > 0 {
		t.Fatalf("nothing was wrong: %q", broken)
	}
	tests := map[string]struct {
		change func(*evidence)
		want   string
	}{
		"another code":              {func(e *evidence) { e.Calls[3].Code = "session-unknown" }, "503 session-unknown"},
		"no answer":                 {func(e *evidence) { e.Calls[0].Wrong = "no answer" }, "no answer"},
		"refused before the outage": {func(e *evidence) { e.Calls[3].Begun = e.Outages[0].Begun.Add(-time.Second) }, "while the store served"},
		"refused long after it":     {func(e *evidence) { e.Calls[3].Begun = e.Outages[0].Over.Add(5 * time.Second) }, "while the store served"},
		"refused with a token":      {func(e *evidence) { e.Calls[3].Tenant = 0 }, "had a token"},
		"the machine was not still": {func(e *evidence) { e.Stood = nil }, "while the store served"},
		"at the end":                {func(e *evidence) { e.Last[0].Status, e.Last[0].Code = 401, "session-unknown" }, "session-unknown"},
		"another person's token":    {func(e *evidence) { e.Ledger[0].Subject = "other" }, "wrong token"},
		"another tenant's token":    {func(e *evidence) { e.Ledger[1].Tenant = e.tenants[0] }, "wrong token"},
		"a token of two":            {func(e *evidence) { e.Ledger[1].TokenHash = "h1" }, "token of two"},
		"a call twice":              {func(e *evidence) { e.Ledger = append(e.Ledger, e.Ledger[0]) }, "twice"},
		"a call of nobody":          {func(e *evidence) { e.Ledger[0].RequestID = "x" }, "unasked"},
		"SFM refuses":               {func(e *evidence) { e.Ledger[0].Accepted, e.Ledger[0].Refusal = false, "invalid_token" }, "refused it"},
		"a refresh token twice":     {func(e *evidence) { e.Requests[1].Reuse = true }, "used twice"},
		"two at once":               {func(e *evidence) { e.Requests[1].InFlight = 2 }, "at once"},
		"HelseID refuses":           {func(e *evidence) { e.Requests[1].Outcome, e.Requests[1].Error = "refused", "invalid_grant" }, "invalid_grant"},
		"a refresh before its time": {func(e *evidence) {
			e.Requests[2].Time, e.Outages, e.Calls = e.Requests[0].Time.Add(2*time.Second), nil, e.Calls[:3]
		}, "token was good"},
		"early, long after the outage": {func(e *evidence) {
			later := e.Requests[2]
			e.Requests[2].Time = e.Outages[0].Over.Add(10 * time.Second)
			later.Time = e.Outages[0].Over.Add(12 * time.Second)
			e.Requests = append(e.Requests, later)
		}, "token was good"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := clean()
			test.change(e)
			if broken := e.judge().broken; len(broken) == 0 || !strings.Contains(strings.Join(broken, "\n"), test.want) {
				t.Errorf("found %q, want %q", broken, test.want)
			}
		})
	}
}

func TestFindSecrets(t *testing.T) {
	const pid, journal = "13827015061", "5f3a0001-0000-4000-8000-00000a11ce00"
	secrets := map[string]string{pid: "number", journal: "journal"}
	raw, err := hex.DecodeString(strings.ReplaceAll(journal, "-", ""))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"clear": "x" + pid, "hex": hex.EncodeToString([]byte("ab" + pid)), "letters": strings.ToUpper(journal), "bare": "x" + strings.ReplaceAll(journal, "-", "") + "x",
		"raw": "x" + string(raw), "base64": base64.StdEncoding.EncodeToString([]byte(`{"a":"` + pid + `"}`)),
		"base64 later": base64.StdEncoding.EncodeToString([]byte(`{"ab":"` + pid + `"}`)), "base64 latest": base64.URLEncoding.EncodeToString([]byte(`{"abc":"` + pid + `"}`)),
		"token": "x eyJhbGciOiJSUzI1NiIsInR5cCI", // a header
	} {
		if found := find([]byte(content), secrets); len(found) == 0 || name != "token" && !slices.Contains(found, "number") && !slices.Contains(found, "journal") {
			t.Errorf("%s: found %q", name, found)
		}
	}
	if found := find([]byte("eyJ, 1382701506 and 5f3a0001-0000"), secrets); len(found) != 0 {
		t.Errorf("found %q where there is nothing", found)
	}
}

// Nothing that a run starts is left behind.
func TestProcessesEnd(t *testing.T) {
	all, err := newProcesses(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	one, err := all.start("sleeper", os.Environ(), "sleep", "60")
	if err != nil {
		t.Fatal(err)
	}
	if err := all.tell.Close(); err != nil { // as when this process dies
		t.Fatal(err)
	}
	select {
	case <-one.ended:
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
	all.end()
	if _, err := os.Stat(all.files); err == nil {
		t.Error("the store's files are left")
	}
}
