//go:build unix

package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// agenda is the part of the suite for stores that know what falls due: it is given to
// one of those who ask, and again when that one does nothing about it.
func agenda(t *testing.T, url string, servers ...*redisServer) {
	for name, test := range map[string]func(*testing.T, *Redis, *Redis){
		"one of many": agendaOneOfMany, "again": agendaAgain, "settled": agendaSettled, "no entry": agendaNoEntry, "next": agendaNext, "turns": agendaTurns,
		"others": agendaOthers, "damaged": agendaDamaged,
	} {
		t.Run("agenda "+name, func(t *testing.T) {
			space := func(o *RedisOptions) { o.Space = t.Name() }
			test(t, openTest(t, url, space), openTest(t, url, space))
		})
	}
	for _, s := range servers {
		nothingLeft(t, s)
		for _, part := range s.names(t, "sfm:due-*") {
			if members := s.cli(t, "ZRANGE", part, "0", "-1"); strings.Contains(part+members, "person") {
				t.Error("an ID stands among the notes in clear")
			}
		}
	}
}

// noted writes entries with their notes.
func noted(t *testing.T, r *Redis, in time.Duration, ids ...string) {
	t.Helper()
	for _, id := range ids {
		key := Key{"kept", id}
		if _, err := r.Due(t.Context(), key, in); err != nil {
			t.Fatal(err)
		}
		must(t, r.Put(t.Context(), key, []byte("v"), time.Minute))
	}
}

// claimAll claims until nothing is due.
func claimAll(t *testing.T, r *Redis, lease time.Duration) (ids []string) {
	t.Helper()
	for {
		keys, _, err := r.Claim(t.Context(), "kept", lease)
		must(t, err)
		if len(keys) == 0 {
			slices.Sort(ids)
			return ids
		}
		for _, k := range keys {
			if k.Kind != "kept" {
				t.Errorf("claimed a %s", k.Kind)
			}
			ids = append(ids, k.ID)
		}
	}
}

func wantIDs(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: claimed %q, want %q", what, got, want)
	}
}

func agendaOneOfMany(t *testing.T, a, b *Redis) {
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprintf("person-%03d", i))
	}
	noted(t, a, 0, want...)
	var mu sync.Mutex // guards got
	var got []string
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			ids := claimAll(t, []*Redis{a, b}[i%2], time.Minute)
			mu.Lock()
			got = append(got, ids...)
			mu.Unlock()
		})
	}
	all.Wait()
	slices.Sort(got)
	wantIDs(t, "all together", got, want...)
}

func agendaAgain(t *testing.T, a, b *Redis) {
	noted(t, a, 0, "person-1")
	wantIDs(t, "the first", claimAll(t, a, 300*time.Millisecond), "person-1")
	wantIDs(t, "meanwhile", claimAll(t, b, time.Minute))
	within(t, 5*time.Second, "it comes to another", func() bool { return len(claimAll(t, b, time.Minute)) == 1 })
	noted(t, b, 0, "person-1") // moved nearer again
	wantIDs(t, "noted anew", claimAll(t, a, time.Minute), "person-1")
	noted(t, a, 0, "person-1")
	noted(t, b, time.Minute, "person-1")
	wantIDs(t, "put off", claimAll(t, a, time.Minute))
}

func agendaSettled(t *testing.T, a, b *Redis) {
	noted(t, a, time.Minute, "person-1")
	key := Key{"kept", "person-1"}
	old, err := a.Due(t.Context(), key, 0)
	must(t, err)
	mark, err := b.Due(t.Context(), key, 0)
	must(t, err)
	if old == mark {
		t.Fatal("two notes with one mark")
	}
	must(t, a.Settle(t.Context(), key, old))
	wantIDs(t, "settled by an old mark", claimAll(t, a, time.Minute), "person-1")
	mark, err = b.Due(t.Context(), key, 0)
	must(t, err)
	must(t, a.Settle(t.Context(), key, mark))
	wantIDs(t, "settled", claimAll(t, a, time.Minute))
	must(t, a.Settle(t.Context(), key, mark))
}

func agendaNoEntry(t *testing.T, a, b *Redis) {
	noted(t, a, 0, "person-1")
	must(t, b.Delete(t.Context(), Key{"kept", "person-1"}))
	wantIDs(t, "without an entry", claimAll(t, a, 0))
	part, _ := a.part(Key{"kept", "person-1"})
	if notes, err := a.engine.call(t.Context(), "zcard", part); err != nil || notes != int64(0) {
		t.Errorf("the note is still there: %v, %v", notes, err)
	}
}

func agendaNext(t *testing.T, a, b *Redis) {
	wantAgain(t, "of nothing", a, "kept", dueEvery, dueEvery)
	noted(t, a, time.Minute, "person-1", "person-2", "person-3")
	wantAgain(t, "in a minute", b, "kept", dueEvery, dueEvery+dueApart)
	noted(t, a, 4*time.Second, "person-4")
	wantAgain(t, "soon", b, "kept", 2*time.Second, 4*time.Second)
	wantAgain(t, "another kind", b, "another", dueEvery, dueEvery)
	crowd(t, a)
	wantAgain(t, "more than a claim gives", b, "kept", 0, 0)
}

// crowd has more fall due than one claim gives.
func crowd(t *testing.T, r *Redis) {
	t.Helper()
	var ids []string
	for i := range 3 * dueShards * dueAtOnce {
		ids = append(ids, fmt.Sprintf("person-%d", 100+i))
	}
	noted(t, r, 0, ids...)
}

// wantAgain claims, and fails the test unless the next claim should be made within these
// bounds.
func wantAgain(t *testing.T, what string, r *Redis, kind string, from, to time.Duration) {
	t.Helper()
	if _, again, err := r.Claim(t.Context(), kind, time.Minute); err != nil || again < from || again > to {
		t.Errorf("%s: again after %v, %v; want %v to %v", what, again, err, from, to)
	}
}

// Where many ask, they take turns, whatever is due next; but nobody waits for long.
func agendaTurns(t *testing.T, a, b *Redis) {
	noted(t, a, 3*time.Second, "person-1")
	last := time.Duration(0)
	for asked := range 30 {
		var err error
		if _, last, err = []*Redis{a, b}[asked%2].Claim(t.Context(), "kept", time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if last < 2*dueEvery || last > dueEvery+30*dueApart {
		t.Errorf("the last of 30 asks again after %v", last)
	}
	crowd(t, a)
	wantAgain(t, "more than a claim gives, where many ask", b, "kept", 0, 0)
	name := a.seal.name(Key{"turn-kept", "turn"})
	for what, text := range map[string]string{"too late": "99999999999999999", "no number": "soon"} {
		_, err := a.engine.call(t.Context(), "set", name, text)
		must(t, err)
		if _, again, err := b.Claim(t.Context(), "kept", 0); err != nil || again > dueSeldom {
			t.Errorf("%s: again after %v, %v", what, again, err)
		}
	}
	_, err := a.engine.call(t.Context(), "del", name)
	must(t, err)
	_, err = a.engine.call(t.Context(), "lpush", name, "another type")
	must(t, err)
	wantAgain(t, "another type", b, "another", dueEvery, dueEvery)
	wantAgain(t, "another type", b, "kept", 0, dueEvery)
}

// Replicas with other keys or for another client have nothing to do with it.
func agendaOthers(t *testing.T, a, _ *Redis) {
	noted(t, a, 0, "person-1")
	stranger := *a.seal
	stranger.space = "another"
	other := &Redis{o: a.o, engine: a.engine, seal: &stranger, hub: a.hub, publish: a.publish, breakers: map[string]*guard{}}
	wantIDs(t, "another client", claimAll(t, other, 0))
	unknown := *a.seal
	unknown.keys = []sealKey{{"none", []byte("none")}}
	other.seal = &unknown
	wantIDs(t, "without the key", claimAll(t, other, time.Millisecond))
	within(t, 5*time.Second, "whoever has the key gets it", func() bool { return len(claimAll(t, a, time.Minute)) == 1 })
}

func agendaDamaged(t *testing.T, a, b *Redis) {
	noted(t, a, 0, "person-1", "person-2")
	one, two := a.seal.name(Key{"kept", "person-1"}), a.seal.name(Key{"kept", "person-2"})
	sealed, err := a.engine.call(t.Context(), "get", one)
	must(t, err)
	_, err = a.engine.call(t.Context(), "set", two, sealed, "px", 60_000)
	must(t, err)
	wantIDs(t, "an entry put in another's place", claimAll(t, b, time.Minute), "person-1")
	if _, err := b.Get(t.Context(), Key{"kept", "person-2"}); !errors.Is(err, ErrMissing) {
		t.Error("it is still there")
	}
}
