package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/proxy"
	"sfm-sidecar/internal/simulator"
)

// judge verifies tokens for tests: each is good for an hour, but for the text "bad".
type judge struct{ asked atomic.Int64 }

func (j *judge) verify(_ context.Context, raw string) (helseid.Subject, error) {
	j.asked.Add(1)
	if raw == "bad" {
		return helseid.Subject{}, errors.New("refused")
	}
	return helseid.Subject{PID: "synthetic-" + raw, Expires: time.Now().Add(time.Hour)}, nil
}

func presenting(authorization ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/basis/Task", nil)
	for _, value := range authorization {
		r.Header.Add("Authorization", value)
	}
	return r
}

func TestFindSubject(t *testing.T) {
	sessions := newSessions(t, new(fakeHelseID))
	handle := logIn(t, sessions, "")
	exchange, both := []string{config.GrantTokenExchange}, []string{config.GrantUser, config.GrantTokenExchange}
	tests := map[string]struct {
		grants []string
		header []string
		grant  string
		code   string
	}{
		"Bearer":                {exchange, []string{"Authorization", "Bearer one"}, "token-exchange", ""},
		"DPoP":                  {exchange, []string{"Authorization", "DPoP one"}, "token-exchange", ""},
		"another letter case":   {exchange, []string{"Authorization", "bearer one"}, "token-exchange", ""},
		"chosen":                {both, []string{"Authorization", "Bearer one", "Sfm-Grant", "token-exchange"}, "token-exchange", ""},
		"the other one":         {both, []string{"Sfm-Session", handle}, "user", ""},
		"no token":              {exchange, nil, "", "subject-token-required"},
		"a scheme alone":        {exchange, []string{"Authorization", "Bearer"}, "", "subject-token-required"},
		"a scheme and blanks":   {exchange, []string{"Authorization", "Bearer  "}, "", "subject-token-required"},
		"another scheme":        {exchange, []string{"Authorization", "Basic eDp5"}, "", "subject-token-required"},
		"two tokens":            {exchange, []string{"Authorization", "Bearer one", "Authorization", "Bearer two"}, "", "request-invalid"},
		"a session":             {exchange, []string{"Authorization", "Bearer one", "Sfm-Session", handle}, "", "grant-mismatch"},
		"a session alone":       {exchange, []string{"Sfm-Session", handle}, "", "grant-mismatch"},
		"an empty session":      {exchange, []string{"Authorization", "Bearer one", "Sfm-Session", ""}, "", "grant-mismatch"},
		"not guessed: token":    {both, []string{"Authorization", "Bearer one"}, "", "grant-mismatch"},
		"not guessed: nothing":  {both, []string{"Sfm-Grant", "token-exchange"}, "", "subject-token-required"},
		"both, session's grant": {both, []string{"Authorization", "Bearer one", "Sfm-Session", handle}, "", "grant-mismatch"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			j := new(judge)
			p := &persons{
				grants: tt.grants, sessions: sessions, owner: func(*http.Request) string { return "" },
				subjects: newSubjects(j.verify, time.Now),
			}
			r := presenting()
			for i := 0; i+1 < len(tt.header); i += 2 {
				r.Header.Add(tt.header[i], tt.header[i+1])
			}
			person, err := p.find(r)
			if tt.code != "" {
				wantRefusal(t, err, tt.code)
				if person.ID != "" || person.Held != nil || j.asked.Load() != 0 {
					t.Error("a person beside the refusal, or a token was looked at")
				}
				return
			}
			if err != nil || person.Grant != tt.grant || person.ID == "" {
				t.Fatalf("grant %q, %v", person.Grant, err)
			}
			if subject, ok := person.Held.(helseid.Subject); ok != (tt.grant == "token-exchange") || ok && subject.PID != "synthetic-one" {
				t.Error("the subject does not come along")
			}
		})
	}
}

// Another token is another caller, also for the same person; and the hash is
// another one in another process.
func TestSubjectsAreToldApartByTheirTokens(t *testing.T) {
	j := new(judge)
	s := newSubjects(j.verify, time.Now)
	id := func(s *subjects, token string) string {
		person, err := s.find(presenting("Bearer " + token))
		if err != nil {
			t.Fatal(err)
		}
		return person.ID
	}
	one := id(s, "one")
	if id(s, "one") != one || j.asked.Load() != 1 {
		t.Errorf("the same token is another person, or was verified %d times", j.asked.Load())
	}
	if id(s, "two") == one || id(newSubjects(j.verify, time.Now), "one") == one || len(one) != 43 {
		t.Error("two callers have one name")
	}
	for range 2 { // what was refused is not remembered
		if _, err := s.find(presenting("Bearer bad")); err == nil {
			t.Error("accepted")
		}
	}
	if j.asked.Load() != 5 || s.known.Len() != 2 {
		t.Errorf("asked %d times, %d remembered", j.asked.Load(), s.known.Len())
	}
}

// What was verified is good until the token's own end and no longer, and is
// forgotten then.
func TestSubjectIsVerifiedAgainAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := new(judge)
		s := newSubjects(j.verify, time.Now)
		for i, want := range []int64{1, 1, 2} {
			if _, err := s.find(presenting("Bearer one")); err != nil {
				t.Fatal(err)
			}
			if got := j.asked.Load(); got != want {
				t.Errorf("call %d: verified %d times, want %d", i, got, want)
			}
			time.Sleep(30*time.Minute + time.Duration(i)*10*time.Minute)
		}
		time.Sleep(time.Hour)
		for i := range 3 {
			if _, err := s.find(presenting(fmt.Sprint("Bearer new-", i))); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.known.Len(); n != 3 {
			t.Errorf("%d are remembered, want the three that are good", n)
		}
	})
}

func TestRememberedSubjectsAreBounded(t *testing.T) {
	j := new(judge)
	s := newSubjects(j.verify, time.Now)
	for i := range knownSubjects + 10 {
		if _, err := s.find(presenting(fmt.Sprint("Bearer ", i))); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.known.Len(); n != knownSubjects {
		t.Errorf("%d are remembered", n)
	}
}

func TestSubjectsInParallel(t *testing.T) {
	j := new(judge)
	s := newSubjects(j.verify, time.Now)
	var all sync.WaitGroup
	for caller := range 8 {
		all.Go(func() {
			for range 200 {
				person, err := s.find(presenting(fmt.Sprint("Bearer ", caller)))
				if err != nil || person.Held.(helseid.Subject).PID != fmt.Sprint("synthetic-", caller) {
					t.Error("another caller's person", err)
					return
				}
			}
		})
	}
	all.Wait()
}

// A call whose subject was lost on the way exchanges nothing.
func TestMintWithoutSubject(t *testing.T) {
	client, err := helseid.New(helseid.Options{Issuer: "http://127.0.0.1", ClientID: "c", Keys: helseid.NewKeyRing(someClientKey(t))})
	if err != nil {
		t.Fatal(err)
	}
	maker := &tokens{helseID: client}
	for name, held := range map[string]any{"nothing": nil, "something else": 1, "nobody": helseid.Subject{}} {
		a := ask()
		a.Person = proxy.Person{ID: "hash", Grant: config.GrantTokenExchange, Held: held}
		if token, err := maker.mint(a)(t.Context()); err == nil || token != nil {
			t.Errorf("%s: a token", name)
		}
	}
}

func someClientKey(t *testing.T) *helseid.ClientKey {
	t.Helper()
	_, private, err := simulator.NewClient("c")
	if err != nil {
		t.Fatal(err)
	}
	key, err := helseid.ParseKeys(private)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func BenchmarkKnownSubject(b *testing.B) {
	s := newSubjects(new(judge).verify, time.Now)
	r := presenting("Bearer " + string(make([]byte, 2048)))
	for b.Loop() {
		if _, err := s.find(r); err != nil {
			b.Fatal(err)
		}
	}
}
