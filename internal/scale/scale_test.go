package scale

import (
	"math"
	"strings"
	"testing"
	"time"
)

// near compares what was played with what is predicted: within a part of the
// prediction, or so little that it does not matter beside the calls.
func near(t *testing.T, what string, played, predicted, within, little float64) {
	t.Helper()
	if math.Abs(played-predicted) > max(within*predicted, little) {
		t.Errorf("%s: %.3f played, %.3f predicted", what, played, predicted)
	}
}

// TestModelsAgree plays fleets of many kinds and holds the formulas to what happened:
// docs/scale.md says how well they agree.
func TestModelsAgree(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Fleet){
		"ten pods":             func(*Fleet) {},
		"a hundred pods":       func(f *Fleet) { f.Pods = 100 },
		"a thousand pods":      func(f *Fleet) { f.Pods = 1000 },
		"one pod":              func(f *Fleet) { f.Pods = 1 },
		"one tenant":           func(f *Fleet) { f.Tenants = 1 },
		"five tenants":         func(f *Fleet) { f.Tenants = 5 },
		"one pod a person":     func(f *Fleet) { f.Sticky = true },
		"machines":             func(f *Fleet) { f.Machines = true },
		"alone":                func(f *Fleet) { f.Machines, f.Alone = true, true },
		"alone, many pods":     func(f *Fleet) { f.Machines, f.Alone, f.Pods = true, true, 100 },
		"persons alone":        func(f *Fleet) { f.Sticky, f.Alone = true, true },
		"few calls":            func(f *Fleet) { f.Calls = 0.2 },
		"many calls":           func(f *Fleet) { f.Calls, f.Pairs = 10, 60 },
		"tokens of an hour":    func(f *Fleet) { f.Lifetime, f.Pairs = time.Hour, 200 },
		"a slow HelseID":       func(f *Fleet) { f.HelseID = time.Second },
		"small memory":         func(f *Fleet) { f.Sessions, f.Entries = 60, 90 },
		"small memory, sticky": func(f *Fleet) { f.Sessions, f.Entries, f.Sticky = 6, 9, true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := Usual(10, 300)
			change(&f)
			if err := f.Check(); err != nil {
				t.Fatal(err)
			}
			s := Simulate(f, Play{Warm: 2 * f.Lifetime, Lasts: max(30*time.Minute, 2*f.Lifetime), Seed: 1})
			played, said := s.Load(), Predict(f)
			said.Store.Claims = 0 // is not played
			little := 0.02 * said.Calls
			near(t, "calls", played.Calls, said.Calls, 0.05, 0)
			near(t, "token requests", played.HelseID, said.HelseID, 0.08, 0)
			near(t, "commands", played.Store.Commands(), said.Store.Commands(), 0.08, 0)
			near(t, "GET", played.Store.Gets, said.Store.Gets, 0.1, little)
			near(t, "writes", played.Store.Puts, said.Store.Puts, 0.15, little)
			near(t, "locks", played.Store.Obtains+played.Store.Releases, said.Store.Obtains+said.Store.Releases, 0.12, little)
			near(t, "subscribing", played.Store.Subscribes, said.Store.Subscribes, 0.12, 0.09*said.Calls)
			near(t, "messages", played.Store.Messages, said.Store.Messages, 0.12, 0.09*said.Calls)
			near(t, "subscriptions", played.Subscriptions, said.Subscriptions, 0.2, 20)
		})
	}
}

// TestLooks plays a day that is as long as ten minutes: pods look after sessions that
// nobody uses any more, until those have ended.
func TestLooks(t *testing.T) {
	t.Parallel()
	f := Usual(20, 400)
	f.Shift, f.Idle = 10*time.Minute, 15*time.Minute
	s := Simulate(f, Play{Within: time.Minute, Stop: f.Shift, Lasts: time.Hour, Seed: 1})
	near(t, "looks", s.Looks, Predict(f).Looks, 0.1, 0)
}

// TestDeployment restarts all pods: with a store HelseID does not notice.
func TestDeployment(t *testing.T) {
	t.Parallel()
	f := Usual(20, 400)
	p := Play{Warm: 20 * time.Minute, Lasts: 20 * time.Minute, Seed: 1}
	still := Simulate(f, p)
	p.Deploy = true
	deployed := Simulate(f, p)
	near(t, "token requests", deployed.HelseID, still.HelseID, 0.1, 0)
	if deployed.Subscriptions >= still.Subscriptions {
		t.Error("who was restarted listens to less")
	}
}

// TestPlayIsRepeated has the same numbers come of the same seed, and others of another.
func TestPlayIsRepeated(t *testing.T) {
	t.Parallel()
	play := func(seed uint64) Ops {
		return Simulate(Usual(5, 50), Play{Lasts: 10 * time.Minute, Seed: seed}).Store
	}
	if play(1) != play(1) || play(1) == play(2) {
		t.Error("a seed does not choose what happens")
	}
}

// TestCheck refuses what has no answer.
func TestCheck(t *testing.T) {
	for name, change := range map[string]func(*Fleet){
		"no pods":         func(f *Fleet) { f.Pods = 0 },
		"no pairs":        func(f *Fleet) { f.Pairs = -1 },
		"no tenants":      func(f *Fleet) { f.Tenants = 0 },
		"no calls":        func(f *Fleet) { f.Calls = 0 },
		"calls unknown":   func(f *Fleet) { f.Calls = math.NaN() },
		"no lifetime":     func(f *Fleet) { f.Lifetime = 0 },
		"no memory":       func(f *Fleet) { f.Entries = 0 },
		"no sessions":     func(f *Fleet) { f.Sessions = 0 },
		"no idle time":    func(f *Fleet) { f.Idle = 0 },
		"HelseID at once": func(f *Fleet) { f.HelseID = 0 },
		"persons lost":    func(f *Fleet) { f.Alone = true },
	} {
		f := Usual(10, 100)
		if f.Check() != nil {
			t.Fatal("the usual fleet is refused")
		}
		if change(&f); f.Check() == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}

// TestNumbers shows two digits that count, and thousands apart.
func TestNumbers(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 0.04: "0.0", 1.26: "1.3", 9.96: "10", 99.6: "100", 1449: "1 400", 1_234_567: "1 200 000"} {
		if got := number(n); got != want {
			t.Errorf("%v: %s, not %s", n, got, want)
		}
	}
	for n, want := range map[float64]string{1.5e6: "1.5 MB", 2e9: "2.0 GB", 999e6: "1 000 MB"} {
		if got := size(n); got != want {
			t.Errorf("%v: %s, not %s", n, got, want)
		}
	}
	if lines := strings.Count(tables(), "\n| 1 000 000 | 10 000 |"); lines != 3 {
		t.Errorf("%d tables have the largest fleet", lines)
	}
}
