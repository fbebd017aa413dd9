package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sfm-sidecar/internal/dpop"
	"sfm-sidecar/internal/store"
)

// Of many replicas that start at once, one makes the key.
func TestFleetKey(t *testing.T) {
	shared := store.NewMemory()
	var all sync.WaitGroup
	keys := make([]keySet, 20)
	for i := range keys {
		all.Go(func() {
			var err error
			if keys[i], err = firstFleetKey(t.Context(), shared); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, key := range keys {
		if key.current.Thumbprint() != keys[0].current.Thumbprint() {
			t.Fatal("two keys in a fleet")
		}
	}
}

// deaf is a store that can't be written.
type deaf struct{ store.Store }

var errDeaf = errors.New("read-only")

func (deaf) PutIf(context.Context, store.Key, []byte, time.Duration, uint64) error { return errDeaf }

// A key that the store did not take is nobody's.
func TestFleetKeyNotStored(t *testing.T) {
	if keys, err := firstFleetKey(t.Context(), deaf{store.NewMemory()}); !errors.Is(err, errDeaf) || keys.current != nil {
		t.Errorf("a key all the same, %v", err)
	}
}

// The fleet's key is used also while the store takes no writes.
func TestFleetKeyNotRenewed(t *testing.T) {
	shared := store.NewMemory()
	first, err := firstFleetKey(t.Context(), shared)
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := firstFleetKey(t.Context(), deaf{shared}); err != nil || keys.current.Thumbprint() != first.current.Thumbprint() {
		t.Errorf("another key, %v", err)
	}
}

// shut is a store whose entries can't be opened; an entry that is put there anew can.
type shut struct {
	store.Store
	newer bool // and can't be overwritten either
	open  atomic.Bool
}

func (s *shut) Get(ctx context.Context, key store.Key) (store.Entry, error) {
	e, err := s.Store.Get(ctx, key)
	if err == nil && !s.open.Load() {
		return store.Entry{}, store.ErrUnreadable
	}
	return e, err
}

func (s *shut) PutIf(ctx context.Context, key store.Key, value []byte, life time.Duration, version uint64) error {
	if _, err := s.Store.Get(ctx, key); err == nil && s.newer && !s.open.Load() {
		return store.ErrUnreadable
	}
	err := s.Store.PutIf(ctx, key, value, life, version)
	if err == nil {
		s.open.Store(true)
	}
	return err
}

// Keys that can't be opened are replaced by --now alone, and whatever came of them goes.
func TestRotateUnopened(t *testing.T) {
	for _, newer := range []bool{false, true} {
		shared := &shut{Store: store.NewMemory(), newer: newer}
		if err := shared.Put(t.Context(), fleetKeyName, []byte("sealed"), time.Hour); err != nil {
			t.Fatal(err)
		}
		_, err := rotateFleetKey(t.Context(), shared, rotation{at: time.Now()})
		if !errors.Is(err, store.ErrUnreadable) || mendOf(err) != mendUnopened {
			t.Errorf("without --now: %v", err)
		}
		if e, err := shared.Store.Get(t.Context(), fleetKeyName); err != nil || string(e.Value) != "sealed" {
			t.Errorf("it was changed: %v", err)
		}
		done, err := rotateFleetKey(t.Context(), shared, rotation{at: time.Now(), now: true})
		if err != nil || done.before != "" || !done.keys.sole {
			t.Fatalf("newer %v: %v", newer, err)
		}
		set, err := firstFleetKey(t.Context(), shared)
		if err != nil || set.current.Thumbprint() != done.keys.current.Thumbprint() || !set.sole || time.Since(set.since) > time.Minute {
			t.Errorf("stored: %v", err)
		}
		if done, err = rotateFleetKey(t.Context(), shared, rotation{at: time.Now(), now: true}); err != nil || done.keys.sole {
			t.Errorf("keys that were opened are named, %v", err)
		}
	}
}

// stubborn is a store whose entries can't be removed.
type stubborn struct{ store.Store }

func (stubborn) Delete(context.Context, store.Key) error { return errDeaf }

func TestRotateUnopenedInVain(t *testing.T) {
	shared := &shut{Store: stubborn{store.NewMemory()}}
	if err := shared.Put(t.Context(), fleetKeyName, []byte("sealed"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := rotateFleetKey(t.Context(), shared, rotation{at: time.Now(), now: true}); !errors.Is(err, errDeaf) {
		t.Error(err)
	}
}

func proofKeys(t testing.TB, n int) []*dpop.Key {
	t.Helper()
	var keys []*dpop.Key
	for range n {
		key, err := dpop.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

// names are the thumbprints of a set, that in use first.
func (s keySet) names() []string {
	names := []string{s.current.Thumbprint()}
	for _, e := range s.earlier {
		names = append(names, e.key.Thumbprint()+" "+e.until.Format(time.RFC3339))
	}
	return names
}

func TestKeySet(t *testing.T) {
	k := proofKeys(t, 3)
	set := keySet{current: k[0], earlier: []earlierKey{{k[1], time.Now().Add(time.Hour)}, {k[2], time.Now()}}, dropped: []string{"gone"},
		sole: true, since: wholeSecond(time.Now())}
	entry, err := set.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseKeySet(entry)
	if err != nil || !slices.Equal(got.names(), set.names()) || !slices.Equal(got.dropped, set.dropped) || got.newer || !got.sole || !got.since.Equal(set.since) {
		t.Errorf("%v, %v", got.names(), err)
	}
	// A sidecar that knows no earlier keys reads the first and writes the entry as it is;
	// what it wrote itself is the key alone.
	first, err := identity{DPoPKey: entry}.dpopKey()
	if err != nil || first.Thumbprint() != k[0].Thumbprint() {
		t.Errorf("an older sidecar reads another key, %v", err)
	}
	alone, err := k[0].PKCS8()
	if err != nil {
		t.Fatal(err)
	}
	if got, err = parseKeySet(alone); err != nil || len(got.earlier) != 0 || got.current.Thumbprint() != k[0].Thumbprint() {
		t.Errorf("an older sidecar's entry: %v", err)
	}
	newer := append(slices.Clone(alone), `{"format":2,"earlier":"otherwise"}`...)
	if got, err = parseKeySet(newer); err != nil || !got.newer || got.current.Thumbprint() != k[0].Thumbprint() {
		t.Errorf("a later sidecar's entry: %v", err)
	}
	for name, broken := range map[string][]byte{
		"nothing": nil, "no key": []byte("garbage"), "cut": entry[:60], "cut behind the key": entry[:len(entry)-5],
		"another kind": append([]byte{0x30, 0x03, 2, 1, 1}, entry...), "an earlier key": append(slices.Clone(alone), `{"format":1,"earlier":[{"key":"AAAA"}]}`...),
	} {
		if _, err := parseKeySet(broken); !errors.Is(err, errKeysUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzKeySet(f *testing.F) {
	entry, err := keySet{current: proofKeys(f, 1)[0], earlier: []earlierKey{{proofKeys(f, 1)[0], time.Now()}}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(entry)
	f.Add(entry[:100])
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, entry []byte) {
		set, err := parseKeySet(entry)
		if (err == nil) != (set.current != nil) {
			t.Errorf("a key: %v, %v", set.current != nil, err)
		}
		if err != nil || set.newer {
			return
		}
		again, err := set.encode()
		if err != nil {
			t.Fatal(err)
		}
		if read, err := parseKeySet(again); err != nil || len(read.earlier) != len(set.earlier) {
			t.Errorf("read again: %v", err)
		}
	})
}

// A rotation keeps the earlier keys whose time is not over, up to a bound, unless they are
// to be dropped.
func TestRotation(t *testing.T) {
	at := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
	k := proofKeys(t, 8)
	set := keySet{current: k[0]}
	for n := 1; n <= maxEarlierKeys; n++ {
		var err error
		if set, err = (rotation{at: at.Add(time.Duration(n) * time.Hour)}).of(set, k[n]); err != nil {
			t.Fatal(err)
		}
		if set.current != k[n] || len(set.earlier) != n || set.earlier[0].key != k[n-1] {
			t.Fatalf("after %d rotations: %v", n, set.names())
		}
	}
	_, err := rotation{at: at.Add(5 * time.Hour)}.of(set, k[5])
	if refused, ok := errors.AsType[*keysRefusal](err); !ok || !strings.Contains(refused.mend, "2026-11-23T07:00:00Z") {
		t.Errorf("a fifth earlier key: %v", err)
	}
	dropped, err := rotation{at: at.Add(5 * time.Hour), now: true}.of(set, k[5])
	if err != nil || len(dropped.earlier) != 0 || len(dropped.dropped) != maxEarlierKeys+1 || dropped.dropped[0] != k[4].Thumbprint() {
		t.Errorf("%d kept, %d dropped, %v", len(dropped.earlier), len(dropped.dropped), err)
	}
	later, err := rotation{at: at.Add(25*time.Hour + time.Minute)}.of(set, k[5])
	if err != nil || len(later.earlier) != maxEarlierKeys {
		t.Errorf("%d kept when the first has ended, %v", len(later.earlier), err)
	}
	if _, err := (rotation{at: at}).of(keySet{current: k[0], newer: true}, k[1]); !errors.Is(err, errKeysNewer) {
		t.Errorf("a later sidecar's keys: %v", err)
	}
	if later, err = (rotation{at: at, now: true}).of(keySet{current: k[0], newer: true}, k[1]); err != nil || !later.sole || !slices.Equal(later.dropped, []string{k[0].Thumbprint()}) {
		t.Errorf("what a later sidecar kept is not dropped: %v", err)
	}
	many := keySet{current: k[0], dropped: make([]string, maxDroppedKeys)}
	if many, err = (rotation{at: at, now: true}).of(many, k[1]); err != nil || len(many.dropped) != maxDroppedKeys || many.dropped[maxDroppedKeys-1] != k[0].Thumbprint() {
		t.Errorf("%d are remembered, %v", len(many.dropped), err)
	}
}

func TestRotateFleetKey(t *testing.T) {
	shared := store.NewMemory()
	refused := func(want, mend string, r rotation) {
		t.Helper()
		_, err := rotateFleetKey(t.Context(), shared, r)
		e, ok := errors.AsType[*keysRefusal](err)
		if !ok || !strings.Contains(e.problem, want) || !strings.Contains(mendOf(err), mend) {
			t.Errorf("%v", err)
		}
	}
	refused("holds no key yet", "first sidecar", rotation{})
	first, err := firstFleetKey(t.Context(), shared)
	if err != nil {
		t.Fatal(err)
	}
	done, err := rotateFleetKey(t.Context(), shared, rotation{at: time.Now()})
	if err != nil || done.before != first.current.Thumbprint() {
		t.Fatal(err)
	}
	second, err := firstFleetKey(t.Context(), shared) // as the next replica that starts
	if err != nil || !slices.Equal(second.names(), done.keys.names()) || len(second.earlier) != 1 {
		t.Errorf("%v, %v", second.names(), err)
	}
	if err := shared.Put(t.Context(), fleetKeyName, []byte("garbage"), time.Hour); err != nil {
		t.Fatal(err)
	}
	refused("can't be read", "--now", rotation{at: time.Now()})
	if done, err = rotateFleetKey(t.Context(), shared, rotation{at: time.Now(), now: true}); err != nil || done.before != "" {
		t.Error(err)
	}
	shared2 := deaf{shared}
	if _, err := rotateFleetKey(t.Context(), shared2, rotation{at: time.Now()}); !errors.Is(err, errDeaf) {
		t.Error(err)
	}
}
