package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/helseid"
)

// Each step by itself: what is found, and what is left out for it.
func TestSteps(t *testing.T) {
	t.Parallel()
	invalid := &said{code: "client-not-approved", oauth: "invalid_client", detail: "HelseID answered 400, invalid_client"}
	down := &said{code: "helseid-unavailable", reason: "unreachable", detail: "HelseID can't be reached"}
	for name, test := range map[string]struct {
		prepare func(*fake, *Options)
		step    string
		status  Status
		says    string
		skipped []string
	}{
		"all well":          {step: stepToken, status: OK, says: "DPoP token, good for 1h"},
		"warnings":          {prepare: func(_ *fake, o *Options) { o.Warnings = []string{"X: odd"} }, step: stepConfiguration, status: Warning, says: "X: odd"},
		"exposed key":       {prepare: func(_ *fake, o *Options) { o.Key.Exposed = "others may read it" }, step: stepKey, status: Warning, says: "others may read it"},
		"key ends":          {prepare: func(_ *fake, o *Options) { o.Key.NotAfter = time.Now().Add(time.Hour) }, step: stepKey, status: Warning, says: "within a month"},
		"key ended":         {prepare: func(_ *fake, o *Options) { o.Key.NotAfter = time.Now().Add(-time.Hour) }, step: stepKey, status: Failed, says: "sidecar keygen"},
		"key ends, no file": {prepare: func(_ *fake, o *Options) { o.Key.NotAfter, o.Key.File = time.Now().Add(time.Hour), "" }, step: stepKey, status: Warning, says: "sidecar keygen"},
		"key ends, file":    {prepare: func(_ *fake, o *Options) { o.Key.NotAfter = time.Now().Add(time.Hour) }, step: stepKey, status: Warning, says: "sidecar keys rotate"},
		"key lasts":         {prepare: func(_ *fake, o *Options) { o.Key.NotAfter = time.Now().Add(keyWarn + time.Hour) }, step: stepKey, status: OK, says: "good until"},
		"no metadata":       {prepare: func(f *fake, _ *Options) { f.metadata = down }, step: stepDiscovery, status: Failed, says: "HTTPS_PROXY", skipped: []string{stepClock, stepPAR, stepNonce, stepLogin, stepToken}},
		"no Date":           {prepare: func(f *fake, _ *Options) { f.noDate = true }, step: stepClock, status: Warning, says: "could not be compared"},
		"a second off":      {prepare: func(f *fake, _ *Options) { f.skew = time.Second }, step: stepClock, status: OK},
		"3 s off":           {prepare: func(f *fake, _ *Options) { f.skew = -3 * time.Second }, step: stepClock, status: Warning, says: "-3"},
		"5 min off":         {prepare: func(f *fake, _ *Options) { f.skew = skewLimit }, step: stepClock, status: Warning},
		"6 min off":         {prepare: func(f *fake, _ *Options) { f.skew = -6 * time.Minute }, step: stepClock, status: Failed, says: "clock-skew", skipped: []string{stepPAR, stepNonce, stepLogin, stepToken}},
		"3 s off, system":   {prepare: func(f *fake, o *Options) { f.skew, o.SystemClock = 3*time.Second, true }, step: stepClock, status: Warning, says: "nothing corrects it"},
		"6 s off, system":   {prepare: func(f *fake, o *Options) { f.skew, o.SystemClock = 6*time.Second, true }, step: stepClock, status: Failed, says: "SIDECAR_CLOCK"},
		"PAR refused":       {prepare: func(f *fake, _ *Options) { f.push = invalid }, step: stepPAR, status: Failed, says: "public half", skipped: []string{stepLogin, stepToken}},
		"redirect": {prepare: func(f *fake, _ *Options) {
			f.push = &said{code: "helseid-refused", oauth: "invalid_request", detail: "HelseID answered 400, invalid_request: Invalid redirect_uri"}
		}, step: stepPAR, status: Failed, says: "register http://localhost:8080/_sidecar/callback"},
		"machines only":    {prepare: func(_ *fake, o *Options) { o.Person, o.Login, o.Machine = false, false, true }, step: stepPAR, status: Skipped, says: "nobody logs in"},
		"named, no tenant": {prepare: func(_ *fake, o *Options) { o.Authorization.NamesTenant, o.Tenants = true, nil }, step: stepPAR, status: Skipped, says: "name a tenant", skipped: []string{stepLogin, stepToken}},
		"no DPoP":          {prepare: func(_ *fake, o *Options) { o.DPoP, o.Login, o.Machine, o.Person = false, false, true, false }, step: stepToken, status: OK},
		"no nonce": {prepare: func(f *fake, _ *Options) {
			f.probe = func(string) (helseid.NonceProbe, error) { return helseid.NonceProbe{}, fruitless }
		}, step: stepNonce, status: Warning, says: "without a nonce"},
		"granted": {prepare: func(f *fake, _ *Options) {
			f.probe = func(string) (helseid.NonceProbe, error) { return helseid.NonceProbe{}, nil }
		}, step: stepNonce, status: Failed, says: "not HelseID", skipped: []string{stepLogin}},
		"nonce refused": {prepare: func(f *fake, _ *Options) {
			f.probe = func(string) (helseid.NonceProbe, error) { return helseid.NonceProbe{}, invalid }
		}, step: stepNonce, status: Failed, says: "public half", skipped: []string{stepLogin}},
		"nonce unreachable": {prepare: func(f *fake, _ *Options) {
			f.probe = func(string) (helseid.NonceProbe, error) { return helseid.NonceProbe{}, down }
		}, step: stepNonce, status: Failed},
		"no doorway":     {prepare: func(_ *fake, o *Options) { o.NoDoorway = errors.New("port 8080 is taken") }, step: stepLogin, status: Failed, says: "stop the sidecar", skipped: []string{stepToken}},
		"elsewhere":      {prepare: func(_ *fake, o *Options) { o.Doorway = nil }, step: stepLogin, status: Skipped, says: "no address on this machine", skipped: []string{stepToken}},
		"denied":         {prepare: func(_ *fake, o *Options) { o.Doorway = back{Return: Return{Error: "access_denied", Issuer: "iss"}} }, step: stepLogin, status: Failed, says: "cancelled"},
		"odd error":      {prepare: func(_ *fake, o *Options) { o.Doorway = back{Return: Return{Error: "13827015061 <b>", Issuer: "iss"}} }, step: stepLogin, status: Failed, says: "no known form"},
		"another issuer": {prepare: func(_ *fake, o *Options) { o.Doorway = back{Return: Return{Code: "c", Issuer: "x"}} }, step: stepLogin, status: Failed, says: "somebody else"},
		"code refused": {prepare: func(f *fake, _ *Options) {
			f.exchange = &said{code: "login-failed", reason: "expired", oauth: "invalid_grant", detail: "d"}
		}, step: stepLogin, status: Failed, says: "login-failed"},
		"level 3": {prepare: func(f *fake, _ *Options) {
			f.verify = &said{code: "login-failed", reason: "level-too-low", detail: "d"}
		}, step: stepLogin, status: Failed, says: "BankID", skipped: []string{stepToken}},
		"no HPR number": {prepare: func(f *fake, _ *Options) { f.person = helseid.Person{PID: "x", SecurityLevel: "4"} }, step: stepLogin, status: Warning, says: "HPR"},
		"not delegated": {prepare: func(f *fake, _ *Options) {
			f.refresh = &said{code: "tenant-not-delegated", hid: "HID-1001", oauth: "invalid_request", detail: "d"}
		}, step: stepToken, status: Failed, says: "Altinn"},
		"mismatch":       {prepare: func(f *fake, _ *Options) { f.refresh = &said{code: "token-mismatch", reason: "aud", detail: "d"} }, step: stepToken, status: Failed, says: "claim"},
		"no tenant":      {prepare: func(_ *fake, o *Options) { o.Tenants = nil }, step: stepToken, status: Skipped, says: "PARENT"},
		"no log-in":      {prepare: func(_ *fake, o *Options) { o.Login = false }, step: stepToken, status: Skipped, says: "--login"},
		"exchange alone": {prepare: func(_ *fake, o *Options) { o.Login, o.Person = false, false }, step: stepToken, status: Skipped, says: "token-exchange"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{}
			o := options(f)
			if test.prepare != nil {
				test.prepare(f, &o)
				if f.person.PID == "" {
					f.person.PID = "x"
				}
			}
			r := Run(t.Context(), o)
			s := r.step(test.step, "")
			text := fmt.Sprint(s.Finding)
			if s.Status != test.status || !strings.Contains(text, test.says) {
				t.Errorf("%s is %s: %s", test.step, s.Status, text)
			}
			for _, name := range test.skipped {
				if got := r.step(name, "").Status; got != Skipped {
					t.Errorf("%s is %s", name, got)
				}
			}
			if r.Failed() != (test.status == Failed) {
				t.Errorf("failed: %v", r.Failed())
			}
			var out bytes.Buffer
			if err := errors.Join(r.WriteText(&out, true), r.WriteJSON(&out)); err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{aToken, "refresh-0", "13827015061"} {
				if strings.Contains(out.String(), secret) {
					t.Errorf("the report shows %s", secret)
				}
			}
		})
	}
}

// Only a tenant that is not in the registry is told of there.
func TestUnlisted(t *testing.T) {
	for _, unlisted := range []bool{false, true} {
		o := options(&fake{})
		o.Tenants[0].Unlisted = unlisted
		r := Run(t.Context(), o)
		at := slices.IndexFunc(r.Steps, func(s Step) bool { return s.Name == stepRegistry })
		if (at >= 0) != unlisted || unlisted && r.Steps[at].Status != Warning || r.Failed() {
			t.Errorf("unlisted %t: step %d of %+v", unlisted, at, r.Steps)
		}
	}
}

// A client of one organization sends neither a parent nor a journal, so a granted token shows nothing about either.
func TestLearnOfOneOrganization(t *testing.T) {
	t.Parallel()
	for _, single := range []bool{false, true} {
		o := options(&fake{})
		o.Learn, o.SingleTenant = true, single
		for _, a := range Run(t.Context(), o).Answers {
			if a.Question == askForm || a.Question == askJournal {
				if (a.Sure == Open) != single || single && !strings.Contains(a.How, "HELSEID_TENANCY=single") {
					t.Errorf("single %t: %+v", single, a)
				}
			}
		}
	}
}

// Every person's token is asked for in the person's name, and the log-in ends with
// the newest refresh token.
func TestLogInEnds(t *testing.T) {
	t.Parallel()
	f := &fake{rotate: true}
	o := options(f)
	Run(t.Context(), o)
	if len(f.asked) != 1 || f.asked[0].PID != "13827015061" {
		t.Errorf("asked for %d tokens", len(f.asked))
	}
	if diff := cmp.Diff([]string{"refresh-0+"}, f.revoked); diff != "" {
		t.Error(diff)
	}
}

// What the refreshes brought, counted.
func TestRotationIsCounted(t *testing.T) {
	t.Parallel()
	for want, l := range map[string]login{"no": {renewed: 2}, "sometimes": {renewed: 2, rotated: 1}, "yes": {renewed: 2, rotated: 2}} {
		e := &examination{login: &l}
		if got := e.learnRotation(t.Context()); got.Answer != want || got.Sure != Certain {
			t.Errorf("%d of %d: %+v", l.rotated, l.renewed, got)
		}
	}
}

// Nobody comes: the check ends by itself, in the time that it said.
func TestNobodyLogsIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		o := options(f)
		o.Doorway = back{nobody: true}
		var told time.Duration
		o.Invite = func(_ string, wait time.Duration) { told = wait }
		began := time.Now()
		r := Run(t.Context(), o)
		if s := r.step(stepLogin, ""); s.Status != Failed || !strings.Contains(s.Found, "within 5m0s") {
			t.Errorf("%+v", s)
		}
		if took := time.Since(began); took != told || told != LoginLimit {
			t.Errorf("took %s, told %s", took, told)
		}
	})
}

// A step that hangs is given up, and the rest goes on.
func TestStepsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		e := &examination{report: &Report{}, broken: map[string]bool{}}
		f := e.run(t.Context(), step{name: "x", look: func(ctx context.Context) Finding {
			<-ctx.Done()
			return explain(ctx.Err())
		}})
		if f.Status != Failed || time.Since(began) != shortLimit {
			t.Errorf("%+v after %s", f, time.Since(began))
		}
	})
}

// Whoever ends the check early gets what there is.
func TestEndedEarly(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := Run(ctx, options(&fake{}))
	if s := r.step(stepToken, ""); s.Status != Skipped || s.Means == "" {
		t.Errorf("%+v", s)
	}
}

// Every entry of the tables says both what it means and what to do.
func TestMeaningsAreWhole(t *testing.T) {
	t.Parallel()
	for _, table := range []map[string]meaning{numbers, oauthErrors, codes, reasons} {
		for name, m := range table {
			if m.means == "" || m.do == "" || strings.HasSuffix(m.means, ".") || strings.HasSuffix(m.do, ".") {
				t.Errorf("%s: %+v", name, m)
			}
		}
	}
	for n := 1001; n <= 1010; n++ {
		if _, known := numbers[fmt.Sprintf("HID-%d", n)]; !known {
			t.Errorf("HID-%d has no meaning", n)
		}
	}
	unknown := explain(&said{code: "helseid-refused", detail: "d", hid: "HID-9999", oauth: "what"})
	if unknown.Status != Failed || unknown.HID != "HID-9999" || !strings.Contains(unknown.Do, "NHN") {
		t.Errorf("%+v", unknown)
	}
}

// The number is more exact than the OAuth error, and the clock explains an
// invalid_client.
func TestWhichMeaningWins(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		said said
		want meaning
	}{
		"number":     {said{hid: "HID-1001", oauth: "invalid_request"}, numbers["HID-1001"]},
		"clock":      {said{code: "clock-skew", oauth: "invalid_client"}, codes["clock-skew"]},
		"oauth":      {said{code: "client-not-approved", oauth: "invalid_client"}, oauthErrors["invalid_client"]},
		"reason":     {said{code: "helseid-unavailable", reason: "timeout"}, reasons["timeout"]},
		"own before": {said{code: "tenant-terms-unsigned", reason: "timeout"}, codes["tenant-terms-unsigned"]},
	} {
		if got := meaningOf(&test.said); got != test.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	r := &Report{
		Steps: []Step{
			{Name: "clock", Tried: "looking", Finding: careful("3s off", "bad \x1b[2J terminal", "set it")},
			{Name: "token", Subject: "here", Tried: strings.Repeat("word ", 25), Finding: Finding{
				Status: OK, Found: "a token", Details: Details{{Name: "scope", Value: "a b"}, {Name: "orgnr_parent", Value: "1"}, {Name: "list", Value: strings.TrimSpace(strings.Repeat("word ", 17))}},
			}},
			{Name: "log-in", Finding: skipped("no need")},
		},
		Answers: []Answer{
			{Asks: "Why?", Answer: "so", Sure: Certain, How: "seen", Set: []string{"A=b"}},
			{Asks: "When?", Sure: Open, How: "unseen"},
		},
	}
	const want = `warning  clock
         tried  looking
         found  3s off
         means  bad  [2J terminal
         do     set it

ok       token here
         tried  word word word word word word word word word word word word word word word word word word
                word word word word word word word
         found  a token
                scope         a b
                orgnr_parent  1
                list          word word word word word word word word word word word word word word word
                              word word

skipped  log-in
         means  no need

What was learned

certain  Why?
         answer so
         seen   seen
         set    A=b

open     When?
         seen   unseen

To set:
  A=b

3 steps: 1 ok, 1 with warnings, 0 failed, 1 skipped
`
	var out strings.Builder
	if err := r.WriteText(&out, false); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	out.Reset()
	if err := r.WriteText(&out, true); err != nil || !strings.HasPrefix(out.String(), "\x1b[33mwarning\x1b[0m  clock\n") {
		t.Errorf("%v %q", err, out.String()[:30])
	}
	if err := r.WriteText(full{}, false); err == nil {
		t.Error("a full disk went unnoticed")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestJSON(t *testing.T) {
	t.Parallel()
	f := wrong("a", "b", "c")
	f.Code, f.HID, f.Details = "tenant-refused", "HID-1002", Details{{Name: "x", Value: "<y>"}}
	r := &Report{
		Steps:   []Step{{Name: "token", Subject: "here", Tried: "d", Finding: f}},
		Answers: []Answer{{Question: "q", Asks: "Q?", Answer: "yes", Sure: Likely, How: "h"}},
	}
	var out bytes.Buffer
	if err := r.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"result": "failed",
		"counts": map[string]any{"ok": 0.0, "warning": 0.0, "failed": 1.0, "skipped": 0.0},
		"steps": []any{map[string]any{
			"name": "token", "subject": "here", "tried": "d", "status": "failed", "found": "a", "means": "b", "do": "c",
			"code": "tenant-refused", "hid": "HID-1002", "details": map[string]any{"x": "<y>"},
		}},
		"answers": []any{map[string]any{"question": "q", "asks": "Q?", "answer": "yes", "sure": "likely", "how": "h", "set": []any{}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		59*time.Minute + 59*time.Second: "1h", 8 * time.Hour: "8h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m", 65 * time.Second: "1m5s", time.Minute: "1m", 20 * time.Hour: "20h",
	} {
		if got := span(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
