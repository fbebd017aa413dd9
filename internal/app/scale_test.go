//go:build unix

package app_test

import (
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"sfm-sidecar/internal/scale"
	"sfm-sidecar/internal/simulator"
)

// TestFleetAsPlanned has a small fleet do what internal/scale plays, and compares what
// its store and HelseID counted. docs/scale.md stands on that.
func TestFleetAsPlanned(t *testing.T) {
	t.Parallel()
	const lasts, within = 4 * time.Second, time.Second
	f := scale.Usual(3, 20)
	f.Calls, f.HelseID = 150, 5*time.Millisecond
	const seconds = 3
	f.Lifetime = seconds*time.Second - 500*time.Millisecond // a token's end is a whole second, rounded down
	server := startShared(t)
	knobs := simulator.DefaultKnobs()
	knobs.HelseID.AccessTokenSeconds = seconds
	persons := crowd()[:f.Pairs/f.Tenants]
	fleet := []*world{newWorld(t, setup{env: append(server.env(), "SIDECAR_CLOCK=system"), sim: simulator.Options{Persons: persons, Knobs: &knobs}})}
	for len(fleet) < f.Pods {
		fleet = append(fleet, fleet[0].replica())
	}
	handles := fleet[0].logInAll(persons)
	refreshes := len(fleet[0].refreshes())
	server.cli("CONFIG", "RESETSTAT")

	var all sync.WaitGroup
	end := time.Now().Add(lasts)
	for pair := range f.Pairs {
		dice := rand.New(rand.NewPCG(uint64(pair), 7))
		all.Go(func() {
			pause := time.Duration(dice.Float64() * float64(within))
			for time.Now().Add(pause).Before(end) {
				<-time.After(pause) // the person's own pace
				w := fleet[dice.IntN(f.Pods)]
				a, err := w.do(w.request(http.MethodGet, "/basis/Task", "", headers(handles[pair/f.Tenants], simulator.Tenants()[pair%f.Tenants])...))
				if err != nil || a.status != http.StatusOK {
					t.Errorf("%v: %d %s", err, a.status, a.header.Get("Sidecar-Error"))
				}
				pause = time.Duration(dice.ExpFloat64() * 60 / f.Calls * float64(time.Second))
			}
		})
	}
	all.Wait()

	planned, plays := scale.Seen{}, 20
	for seed := range plays {
		seen := scale.Simulate(f, scale.Play{Lasts: lasts, Within: within, Seed: uint64(seed)})
		planned.Add(seen, 1/float64(plays))
	}
	real := server.operations()
	for _, c := range []struct {
		what                string
		planned, real, most float64
	}{
		{"token requests", planned.HelseID, float64(len(fleet[0].refreshes()) - refreshes), 1.4},
		{"GET", planned.Store.Gets, real.Gets, 1.4},
		{"writes", planned.Store.Puts, real.Puts, 1.4},
		// How long HelseID's stand-in takes on a busy machine decides how many wait.
		{"locks given back", planned.Store.Releases, real.Releases, 2},
		{"tries for a lock", planned.Store.Obtains, real.Obtains, 3},
	} {
		t.Logf("%s: %.0f, %.1f planned", c.what, c.real, c.planned)
		if ratio := c.real / c.planned; ratio < 1/c.most || ratio > c.most {
			t.Errorf("%s: %.0f, but %.1f are planned", c.what, c.real, c.planned)
		}
	}
	// Several names may go in one command.
	t.Logf("subscriptions: %.0f, %.1f planned", real.Subscribes, planned.Store.Subscribes)
	if most := 4 * planned.Store.Subscribes; real.Subscribes == 0 || real.Subscribes > most {
		t.Errorf("%.0f subscriptions, but %.1f are planned", real.Subscribes, planned.Store.Subscribes)
	}
}

// operations are those of the sidecars, told by the commands that the server counted:
// each script makes commands that no other makes.
func (s *sharedServer) operations() scale.Ops {
	counted := map[string]float64{}
	for _, line := range regexp.MustCompile(`cmdstat_([a-z|]+):calls=(\d+)`).FindAllStringSubmatch(s.cli("INFO", "commandstats"), -1) {
		counted[line[1]], _ = strconv.ParseFloat(line[2], 64)
	}
	parts := counted["zrangebyscore"]
	turns := parts / 4
	tries, obtained := counted["pttl"], counted["time"]-parts-turns
	return scale.Ops{
		Gets:         counted["get"] - tries - obtained - counted["del"] - turns, // scripts get, too
		Claims:       parts + turns,
		Puts:         counted["getrange"],
		Obtains:      tries,
		Releases:     counted["del"],
		Subscribes:   counted["subscribe"],
		Unsubscribes: counted["unsubscribe"],
	}
}
