package keepalive

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStep(t *testing.T) {
	tests := map[string]struct{ session, step string }{
		"/api/v2/Session/create":     {"/api/v2/Session", "create"},
		"/api/Session/refresh":       {"/api/Session", "refresh"},
		"/Session/end":               {"/Session", "end"},
		"/api/v2/session/CREATE":     {"/api/v2/session", "create"},
		"/a%20b/Session/end":         {"/a%20b/Session", "end"},
		"/Session/Session/end":       {"/Session/Session", "end"},
		"/Session/ended":             {},
		"/Session/end/":              {},
		"/Session":                   {},
		"/end":                       {},
		"end":                        {},
		"":                           {},
		"/":                          {},
		"/MySession/end":             {},
		"/Session/create/end":        {},
		"/api/v2/PatientTicket":      {},
		"/Patient/$getMedication":    {},
		"/api/v2/Session%2Fcreate":   {},
		"/api/v2/Session/create;a=b": {},
	}
	for path, want := range tests {
		if session, step := step(path); session != want.session || step != want.step {
			t.Errorf("%q: %q, %q", path, session, step)
		}
	}
}

func TestNewNeedsItsFunctions(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("a Keeper without tokens was made")
	}
}

// A session survives many tokens, and each goes to SFM once, as soon as it is there.
func TestEachNewTokenGoesToSFMOnce(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		w.create(keyA)
		w.wantSent()
		for i := range 10 {
			time.Sleep(55 * time.Minute)
			w.wantSent()
			w.renew(keyA)
			w.wantSent(fmt.Sprintf("%s /api/v2/Session/refresh token-%d", time.Duration(i+1)*55*time.Minute, i+2))
			w.Look(keyA)
		}
		w.wantSent()
		w.wantStates(Open)
		if since := w.Of(t.Context(), "person-1")[0].Since; !since.Equal(w.begun) {
			t.Errorf("open since %v after the create", since.Sub(w.begun))
		}
	})
}

// It looks by itself, too: the news may never come.
func TestTokenThatNobodyTellsOf(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		w.create(keyA)
		time.Sleep(50 * time.Minute)
		w.mint(keyA)
		time.Sleep(10*time.Minute - 1)
		if posts := w.sent(); len(posts) != 1 || !strings.HasSuffix(posts[0], "token-2") {
			t.Errorf("sent %q", posts)
		}
		if w.asked > 10 {
			t.Errorf("the token source was asked %d times for one token", w.asked)
		}
		time.Sleep(time.Minute)
		w.wantStates(Open)
	})
}

// A token that was renewed while the create was under way is not the one SFM holds.
func TestTokenRenewedDuringCreate(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		first := w.mint(keyA)
		w.mint(keyA)
		w.Answered(keyA, "/Session/create", first)
		w.wantSent("0s /Session/refresh token-2")
	})
}

// What the EPJ does itself is not done again, and keeps the session as well. It makes
// one known that was opened before a restart.
func TestRefreshOfTheEPJCounts(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		w.create(keyA)
		for range 3 {
			time.Sleep(50 * time.Minute)
			w.Answered(keyA, "/api/v2/Session/refresh", w.mint(keyA))
			w.Look(keyA)
			w.wantSent()
		}
		w.Answered(keyB, "/api/v2/Session/refresh", w.mint(keyB))
		w.wantStates(Open, Open)
		w.wantEvents()
	})
}

// The EPJ may refresh with the very token that is being fetched for the same purpose.
func TestRefreshOfTheEPJDuringOurs(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		w.create(keyA)
		inner, answered := w.o.Token, false
		w.o.Token = func(ctx context.Context, k Key) (Token, error) {
			token, err := inner(ctx, k)
			if !answered {
				answered = true
				w.Answered(k, "/api/v2/Session/refresh", token)
			}
			return token, err
		}
		w.renew(keyA)
		w.wantSent()
	})
}

// Failures are tried again with pauses while the old token lives.
func TestFailuresAreTriedAgain(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		w.create(keyA)
		time.Sleep(55 * time.Minute)
		w.always(503, nil)
		w.renew(keyA)
		time.Sleep(10 * time.Second)
		w.always(0, errors.New("refused"))
		time.Sleep(20 * time.Second)
		w.always(204, nil)
		time.Sleep(time.Minute)
		const path = " /api/v2/Session/refresh token-2"
		w.wantSent("55m0s"+path, "55m1s"+path, "55m3s"+path, "55m7s"+path, "55m15s"+path, "55m31s"+path)
		w.wantEvents("failed: SFM answered 503", "failed: SFM answered 503", "failed: SFM answered 503", "failed: SFM answered 503",
			"failed: calling SFM: refused", "refreshed")
		w.wantStates(Open)

		// The pauses begin anew with the next token.
		w.always(500, nil)
		time.Sleep(50 * time.Minute)
		w.renew(keyA)
		time.Sleep(time.Second)
		if n := len(w.sent()); n != 2 {
			t.Errorf("%d tries in the first second", n)
		}
	})
}

// When the old token's life is over, the session is lost: told once, and not tried again.
func TestLost(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		w.create(keyA)
		time.Sleep(55 * time.Minute)
		w.always(409, nil)
		w.renew(keyA)
		time.Sleep(5*time.Minute - 1)
		w.wantStates(Open)
		if n := len(w.sent()); n < 10 || n > 25 {
			t.Errorf("%d tries in the last five minutes", n)
		}
		w.set(func() { w.events = nil })
		time.Sleep(1)
		w.wantStates(Lost)
		w.wantEvents("lost: SFM answered 409")
		if keys := w.Open("person-1"); len(keys) != 0 {
			t.Errorf("tokens are wanted for %d lost sessions", len(keys))
		}
		w.create(keyB)
		if open, lost := w.Count(); open != 1 || lost != 1 {
			t.Errorf("counted %d open, %d lost", open, lost)
		}
		w.Forget("person-1")
		w.wantStates()
	})
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		w.create(keyA)
		w.always(409, nil)
		time.Sleep(time.Hour)
		w.wantStates(Lost)
		status := w.Of(t.Context(), "person-1")[0]
		if diff := cmp.Diff(Status{tenantA, Lost, w.begun.Add(time.Hour)}, status); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		w.renew(keyA)
		time.Sleep(time.Hour)
		w.wantSent()

		// The EPJ opens another.
		w.always(204, nil)
		w.create(keyA)
		w.wantStates(Open)
		if since := w.Of(t.Context(), "person-1")[0].Since; !since.Equal(time.Now()) {
			t.Errorf("open since %v ago", time.Since(since))
		}
		time.Sleep(50 * time.Minute)
		w.renew(keyA)
		if n := len(w.sent()); n != 1 {
			t.Errorf("%d refreshes of the new session", n)
		}
	})
}

// The EPJ's own refresh may come just when the old token has run out: it counts.
func TestRefreshedAtTheLastMoment(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		w.create(keyA)
		w.lose(w.find(keyA), new(tries))
		w.wantStates(Open)
		w.wantEvents()
	})
}

// No token comes: HelseID is down, or refuses.
func TestLostForWantOfAToken(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"the old one stays": {nil, "lost"},
		"an error":          {errors.New("down"), "lost: obtaining a token: down"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Options{}, func(t *testing.T, w *world) {
				w.create(keyA)
				w.set(func() { w.tokenErr = tt.err })
				time.Sleep(time.Hour)
				synctest.Wait()
				w.set(func() { w.events = w.events[len(w.events)-1:] })
				w.wantEvents(tt.want)
				w.wantStates(Lost)
				w.wantSent()
			})
		})
	}
}

// A lost session is told of for a day, and then no longer kept in memory.
func TestLostIsForgottenInTheEnd(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		w.create(keyA)
		time.Sleep(life + remembered - 1)
		w.Look(keyA) // does not begin the day anew
		w.wantStates(Lost)
		time.Sleep(2)
		w.wantStates()
		if len(w.persons) != 0 {
			t.Error("something is left of it")
		}
	})
}

// A person's session that has ended takes its SFM sessions along, in silence.
func TestEndedPerson(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		w.create(keyA)
		w.set(func() { w.tokenErr = fmt.Errorf("no: %w", ErrEnded) })
		w.Look(keyA)
		w.wantStates()
		time.Sleep(2 * life)
		w.wantEvents()
		w.wantSent()
	})
}

// The EPJ's own end stops it, however the journal is written; so does Forget. Other
// tenants, services and persons are none of that.
func TestEndStops(t *testing.T) {
	lower := keyA
	lower.Tenant.Journal = strings.ToLower(lower.Tenant.Journal)
	other := keyA
	other.Session = "person-2"
	elsewhere := keyA
	elsewhere.Upstream = "session2"
	for name, stop := range map[string]func(*world){
		"end":    func(w *world) { w.Answered(lower, "/api/v2/Session/end", Token{}) },
		"forget": func(w *world) { w.Forget("person-1") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Options{}, func(t *testing.T, w *world) {
				for _, k := range []Key{other, keyA} {
					w.create(k)
				}
				w.Answered(elsewhere, "/api/v2/Session/end", Token{}) // of a session that nobody knows
				w.wantStates(Open)
				stop(w)
				w.wantStates()
				time.Sleep(50 * time.Minute)
				w.renew(keyA)
				w.renew(other)
				w.wantSent("50m0s /api/v2/Session/refresh token-4")
				w.wantEvents("refreshed")
			})
		})
	}
}

// What is under way when a session is forgotten is given up, and says nothing.
func TestForgottenUnderWay(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		w.create(keyA)
		w.set(func() {
			w.answer = func(ctx context.Context, _ string) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
		})
		w.renew(keyA)
		w.Forget("person-1")
		w.wantEvents()
		w.wantStates()
	})
}

// A try that hangs is given up in time for another.
func TestHangingTry(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		w.create(keyA)
		time.Sleep(55 * time.Minute)
		w.set(func() {
			w.answer = func(ctx context.Context, _ string) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
		})
		w.renew(keyA)
		time.Sleep(refreshTimeout)
		w.always(204, nil)
		time.Sleep(firstPause)
		w.wantEvents("failed: calling SFM: context deadline exceeded", "refreshed")
	})
}

// After Close nothing is sent, and nothing is taken on.
func TestClose(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		w.create(keyA)
		w.Close()
		w.renew(keyA)
		w.create(keyB)
		w.wantStates()
		w.wantSent()
	})
}

// Switched off, sessions are known, and lost unless the EPJ refreshes them.
func TestOff(t *testing.T) {
	inBubble(t, Options{Off: true}, func(t *testing.T, w *world) {
		w.create(keyA)
		if keys := w.Open("person-1"); len(keys) != 0 {
			t.Error("tokens are renewed for it")
		}
		time.Sleep(50 * time.Minute)
		w.Answered(keyA, "/api/v2/Session/refresh", w.mint(keyA))
		time.Sleep(20 * time.Minute)
		w.renew(keyA)
		w.wantStates(Open)
		time.Sleep(40 * time.Minute)
		w.wantStates(Lost)
		w.wantEvents("lost")
		w.wantSent()
	})
}

// A computer that slept shows at once what its sleep has cost.
func TestSleptThrough(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		w.create(keyA)
		w.set(func() { w.slept = 2 * time.Hour })
		w.wantStates(Lost)
		w.wantEvents()
		time.Sleep(45 * time.Minute)
		w.wantEvents("lost")
		w.wantSent()
	})
}

// Tokens never show themselves.
func TestTokenPrintsWithoutItsValue(t *testing.T) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, Token{AccessToken: "secret"}); strings.Contains(text, "secret") {
			t.Errorf("%s shows it", verb)
		}
	}
}
