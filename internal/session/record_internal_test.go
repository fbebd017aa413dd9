package session

import (
	"encoding/json"
	"testing"
	"time"
)

// What is kept beyond the process is a session that can still be used.
func TestLives(t *testing.T) {
	now := time.Now()
	tests := map[string]struct {
		entry any
		lives bool
	}{
		"active":            {record{State: Active, Expires: now.Add(time.Hour)}, true},
		"of unknown length": {record{State: Active}, true},
		"run out":           {record{State: Active, Expires: now.Add(-time.Second)}, false},
		"pending":           {record{State: Pending, Begun: now}, false},
		"failed":            {record{State: Failed, Problem: errPending}, false},
		"ended":             {record{State: Expired, Problem: expiredError("x")}, false},
		"nothing":           {struct{}{}, false},
		"no record":         {"text", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			entry, err := json.Marshal(tt.entry)
			if err != nil {
				t.Fatal(err)
			}
			if got := Lives(entry); got != tt.lives {
				t.Errorf("%v", got)
			}
		})
	}
}

// Replicas of two versions read what the other wrote while one is rolled out, and a
// log-in outlives many versions: what stands in the store keeps the names of its parts.
func TestStoredFormsStay(t *testing.T) {
	for written, into := range map[string]any{
		`{"state":"active","begun":"2026-01-02T03:04:05Z","owner":"uid:1","tenants":[{"parent":"100100126","child":"999944582","journal":"j"}],` +
			`"expect":{"pid":"1","sub":"s","hpr_number":"2"},"options":{"prompt":"login","acr_values":"a","login_hint":"h","max_auth_age":3,` +
			`"redirect_uri":"u","tenant":{"parent":"100100126","journal":"j"}},"browser":"b",` +
			`"person":{"Subject":"s","PID":"1","Name":"n","HPRNumber":"2","SecurityLevel":"4","AssuranceLevel":"high","SID":"i","AuthTime":"2026-01-02T03:04:05Z"},` +
			`"refresh_token":"r","replaced":"p","id_token":"t","key":"k","expires":"2026-01-02T11:04:05Z",` +
			`"problem":{"code":"session-expired","reason":"w","detail":"d","hid":"HID-1001","helseid_error":"e"}}`: new(record),
		`{"session":"s","verifier":"v","nonce":"n","redirect_uri":"u","browser":"b","pushed":"2026-01-02T03:04:05Z",` +
			`"login":{"IDToken":"t","RefreshToken":"r","RefreshLifetime":1,"Thumbprint":"k"},"used_at":"2026-01-02T03:04:05Z","used_by":"f"}`: new(attempt),
		`{"token":"t","by":"b","from":"f","sent":"2026-01-02T03:04:05Z","asked":"2026-01-02T03:04:05Z","gone":true}`: new(spentNote),
	} {
		wantForm(t, written, into)
	}
}

// wantForm fails unless all that was written is read, and written again alike.
func wantForm(t *testing.T, written string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(written), into); err != nil {
		t.Fatalf("%T: %v", into, err)
	}
	again, err := json.Marshal(into)
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != written {
		t.Errorf("%T was\n%s\nand is now\n%s", into, written, again)
	}
}
