package helseid

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		oauth, description string
		code, hid          string
		permanent          bool
	}{
		"HID-1001":                      {"invalid_request", "HID-1001: parent not allowed", codeNotDelegated, "HID-1001", true},
		"HID-1002":                      {"invalid_request", "(HID-1002) child", codeTenantRefused, "HID-1002", true},
		"HID-1003":                      {"invalid_request", "HID-1003", codeTenantRefused, "HID-1003", true},
		"HID-1004":                      {"invalid_request", "see HID-1004.", codeTenantRefused, "HID-1004", true},
		"HID-1005":                      {"invalid_request", "HID-1005", codeNotApproved, "HID-1005", true},
		"HID-1006":                      {"invalid_request", "HID-1006", codeNotApproved, "HID-1006", true},
		"HID-1007":                      {"invalid_request", "HID-1007", codeRefused, "HID-1007", true},
		"HID-1008":                      {"invalid_request", "HID-1008", codeNotApproved, "HID-1008", true},
		"HID-1009":                      {"invalid_request", "HID-1009", codeRefused, "HID-1009", true},
		"HID-1010":                      {"invalid_request", "HID-1010", codeNotApproved, "HID-1010", true},
		"unknown HID":                   {"invalid_request", "HID-4711", codeRefused, "HID-4711", true},
		"unknown HID, then known":       {"invalid_request", "HID-4711 HID-1001", codeNotDelegated, "HID-1001", true},
		"HID beside invalid_client":     {"invalid_client", "HID-1001", codeNotDelegated, "HID-1001", false},
		"HID glued":                     {"invalid_request", "xHID-1001x", codeNotDelegated, "HID-1001", true},
		"HID too short":                 {"invalid_request", "HID-100", codeRefused, "", true},
		"invalid_client":                {"invalid_client", "", codeNotApproved, "", false},
		"unauthorized_client":           {"unauthorized_client", "", codeNotApproved, "", true},
		"invalid_grant":                 {"invalid_grant", "", codeRefused, "", false},
		"invalid_request":               {"invalid_request", "", codeRefused, "", true},
		"invalid_scope":                 {"invalid_scope", "", codeRefused, "", true},
		"invalid_target":                {"invalid_target", "", codeRefused, "", true},
		"unsupported_grant_type":        {"unsupported_grant_type", "", codeRefused, "", true},
		"unsupported_response_type":     {"unsupported_response_type", "", codeRefused, "", true},
		"invalid_dpop_proof":            {"invalid_dpop_proof", "", codeRefused, "", false},
		"use_dpop_nonce without header": {"use_dpop_nonce", "", codeRefused, "", false},
		"access_denied":                 {"access_denied", "", codeRefused, "", true},
		"server_error":                  {"server_error", "", codeUnavailable, "", false},
		"temporarily_unavailable":       {"temporarily_unavailable", "", codeUnavailable, "", false},
		"something new":                 {"brand_new", "text", codeRefused, "", true},
	} {
		for _, status := range []int{200, 400, 401, 403} { // 200 with an error member is an error too
			t.Run(name, func(t *testing.T) {
				f := newFake(t)
				f.post = func(_ int, w http.ResponseWriter, _ *http.Request) { writeError(w, status, tc.oauth, tc.description) }
				_, err := refresh(t.Context(), f.client(nil))
				e := wantError(t, err, tc.code)
				if e.HID() != tc.hid || e.OAuthError() != tc.oauth || e.Permanent() != tc.permanent {
					t.Errorf("hid %q, oauth %q, permanent %v", e.HID(), e.OAuthError(), e.Permanent())
				}
				if e.InvalidGrant() != (tc.oauth == "invalid_grant") || e.NoAnswer() || e.Garbled() {
					t.Error("invalid grant, silent or garbled is wrong")
				}
				if (e.RetryAfter() > 0) != (tc.code == codeUnavailable) {
					t.Errorf("retry after %v", e.RetryAfter())
				}
				if !strings.Contains(e.Detail(), tc.oauth) || !strings.Contains(e.Detail(), tc.description) {
					t.Errorf("detail %q does not name error and description", e.Detail())
				}
				if len(f.requests) != 1 || f.requests[0] != "refresh_token "+tc.code {
					t.Errorf("events: %v", f.requests)
				}
			})
		}
	}
}

func TestRefusalWithoutErrorCode(t *testing.T) {
	for name, body := range map[string]map[string]any{
		"none": {}, "a number": {"error": 5}, "null": {"error": nil}, "not a name": {"error": "bad <b>thing</b>"},
	} {
		f := newFake(t)
		f.post = func(_ int, w http.ResponseWriter, _ *http.Request) { writeJSON(w, 400, body) }
		_, err := refresh(t.Context(), f.client(nil))
		if e := wantError(t, err, codeRefused); e.OAuthError() != "" || strings.Contains(e.Detail(), "<b>") {
			t.Errorf("%s: oauth %q, detail %q", name, e.OAuthError(), e.Detail())
		}
	}
}

func TestScrub(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"plain":           {"HID-1001: parent 100100126 may not", "HID-1001: parent 100100126 may not"},
		"identity number": {"user 01017012345 x", "user [removed] x"},
		"with space":      {"user 010170 12345 x", "user [removed] x"},
		"with spaces":     {"user 01 01 70 123 45 x", "user [removed] x"},
		"other digits":    {"user ０１０１７０１２３４５ x", "user [removed] x"},
		"longer":          {"n 123456789012345", "n [removed]"},
		"jwt":             {"token eyJhbGciOi.eyJzdWIi.c2ln bad", "token [removed] bad"},
		"short jwt":       {"eyJ bad", "[removed] bad"},
		"opaque":          {"t " + strings.Repeat("Ab9_", 12) + "-1 bad", "t [removed] bad"},
		"uuid stays":      {"journal 7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35", "journal 7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"},
		"control":         {"a\r\nb\x00c\x1b[31md\u202ee", "a b c [31md e"},
		"bad UTF-8":       {"a\xff\xfeb", "a b"},
		"cut":             {strings.Repeat("å ", 400), strings.TrimSpace(strings.Repeat("å ", 150)) + " "},
		"html":            {"<script>", "<script>"},
	} {
		if got := scrub(tc.in); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	if got := scrub(strings.Repeat("x ", 1<<20)); len([]rune(got)) > maxDescription {
		t.Error("a megabyte is not bounded")
	}
}

// Our own key is named as everywhere else, another that looks like a token is not.
func TestOwnKeyIsNamed(t *testing.T) {
	kid, other := strings.Repeat("Ab9_", 11), strings.Repeat("Xy8_", 11)
	const want = "HelseID answered 400, invalid_client: kid "
	for _, test := range [][3]string{{kid, kid, want + kid}, {kid, other, want + "[removed]"}, {"", kid, want + "[removed]"}} {
		if got := describe(400, "invalid_client", "kid "+test[1], test[0]); got != test[2] {
			t.Errorf("%s of %s: %s", test[1], test[0], got)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": defaultRetryAfter, "7": 7 * time.Second, "0": time.Second, "-4": time.Second, "86400": maxRetryAfter,
		"99999999999999999": maxRetryAfter, "soon": defaultRetryAfter,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute,
		now.Add(-time.Hour).Format(http.TimeFormat):  time.Second,
		now.Add(time.Hour).Format(http.TimeFormat):   maxRetryAfter,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func TestSkewMakesARefusalAClockFault(t *testing.T) {
	for _, tc := range []struct {
		offset time.Duration
		oauth  string
		code   string
	}{
		{6 * time.Minute, errInvalidClient, codeClockSkew},
		{-6 * time.Minute, errInvalidClient, codeClockSkew},
		{6 * time.Minute, errInvalidProof, codeClockSkew},
		{6 * time.Minute, errInvalidGrant, codeRefused},
		{4 * time.Minute, errInvalidClient, codeNotApproved},
	} {
		f := newFake(t)
		f.post = func(_ int, w http.ResponseWriter, _ *http.Request) { writeError(w, 400, tc.oauth, "") }
		c := f.client(func(o *Options) { o.Wall = func() time.Time { return time.Now().Add(-tc.offset) } })
		_, err := refresh(t.Context(), c)
		if e := wantError(t, err, tc.code); e.Permanent() {
			t.Error("a passing fault is called permanent")
		}
		if len(f.warnings) != 1 {
			t.Errorf("%d warnings about the clock, want 1", len(f.warnings))
		}
	}
}
