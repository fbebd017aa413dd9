package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zalando/go-keyring"
)

var (
	record = Key{"session", "one"}
	note   = Key{"used", "one"}
)

// options are those of a keyring whose records are kept when they begin with
// "live".
func options() KeyringOptions {
	return KeyringOptions{
		Service: "service", Record: "session", Note: "used", Refresh: "refresh",
		Kept:   func(v []byte) bool { return bytes.HasPrefix(v, []byte("live")) },
		Root:   func() ([]byte, error) { return []byte("root"), nil },
		Usable: func(root []byte) bool { return string(root) == "root" },
	}
}

// live is a record of a realistic size.
func live(mark string) []byte { return append([]byte("live "), text(mark, 3500)...) }

func open(t *testing.T, keys keyStore, change ...func(*KeyringOptions)) *Keyring {
	t.Helper()
	o := options()
	for _, c := range change {
		c(&o)
	}
	k, err := openKeyring(keys, o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// put writes a record and its note as a session does.
func put(t *testing.T, k *Keyring, value []byte, ttl time.Duration) {
	t.Helper()
	if err := errors.Join(k.Put(t.Context(), note, nil, ttl), k.Put(t.Context(), record, value, ttl)); err != nil {
		t.Fatal(err)
	}
}

// has says whether memory holds a value under a key.
func has(k *Keyring, key Key, value []byte) bool {
	e, err := k.Get(context.Background(), key)
	return err == nil && bytes.Equal(e.Value, value)
}

func holds(keys *fakeKeys, part string) bool {
	return strings.Contains(strings.Join(keys.names(), " "), part)
}

// The library's own stand-in, and a process that ends without a word.
func TestKeyringLivesOn(t *testing.T) {
	t.Setenv(busVariable, "unix:path=/nowhere")
	keyring.MockInit()
	made := 0
	o := options()
	o.Root = func() ([]byte, error) { made++; return []byte("root"), nil }
	first, err := OpenKeyring(o)
	if err != nil {
		t.Fatal(err)
	}
	put(t, first, live("a"), time.Hour)
	put(t, first, live("b"), time.Hour)
	for _, other := range []Key{{"state", "one"}, {"link", "one"}} {
		if err := first.Put(t.Context(), other, []byte("live"), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Put(t.Context(), Key{"session", "pending"}, []byte("pending"), time.Hour); err != nil {
		t.Fatal(err)
	}
	second, err := OpenKeyring(o)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if made != 1 || string(second.Root()) != "root" || string(first.Root()) != "root" {
		t.Errorf("the root was made %d times", made)
	}
	if !has(second, record, live("b")) || !has(second, note, nil) || second.Len("session") != 1 || second.Len("used") != 1 {
		t.Errorf("%d records and %d notes came back", second.Len("session"), second.Len("used"))
	}
	if second.Len("state")+second.Len("link") != 0 {
		t.Error("entries of other kinds were kept")
	}
	o.Service = "another"
	stranger, err := OpenKeyring(o)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if stranger.Len("session") != 0 {
		t.Error("another service sees the session")
	}
	first.Close()
}

func TestKeyringWithoutKeyStore(t *testing.T) {
	t.Setenv(busVariable, "unix:path=/nowhere")
	keyring.MockInitWithError(errDown)
	if _, err := OpenKeyring(options()); !errors.Is(err, errDown) {
		t.Errorf("%v", err)
	}
	for _, op := range []string{"set", "get", "delete"} {
		keys := newFakeKeys()
		keys.fail = down(op)
		if _, err := openKeyring(keys, options()); !errors.Is(err, errDown) {
			t.Errorf("%s fails: %v", op, err)
		}
	}
	// One that was fine once and can't be written now is found at the start, too.
	keys := newFakeKeys()
	k := open(t, keys)
	put(t, k, live("a"), time.Hour)
	k.Close()
	for _, op := range []string{"set", "get"} {
		keys.set(func() { keys.fail = down(op) })
		if _, err := openKeyring(keys, options()); !errors.Is(err, errDown) {
			t.Errorf("%s fails on a kept session: %v", op, err)
		}
	}
	o := options()
	o.Root = func() ([]byte, error) { return nil, errDown }
	if _, err := openKeyring(newFakeKeys(), o); !errors.Is(err, errDown) {
		t.Errorf("no root: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		keys := newFakeKeys()
		keys.hang = make(chan struct{})
		begun := time.Now()
		if _, err := openKeyring(keys, options()); !errors.Is(err, errNoAnswer) || time.Since(begun) != openLimit {
			t.Errorf("silent: %v after %v", err, time.Since(begun))
		}
		close(keys.hang)
	})
}

// A time goes on while the process does not.
func TestKeyringExpiryOverARestart(t *testing.T) {
	tests := map[string]struct {
		record, note, pause time.Duration
		alive               bool
	}{
		"both live":            {time.Hour, time.Hour, 59 * time.Minute, true},
		"the record ran out":   {time.Hour, 2 * time.Hour, time.Hour, false},
		"nobody used it":       {2 * time.Hour, time.Hour, time.Hour, false},
		"not a moment too few": {time.Hour, time.Hour, 0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				keys := newFakeKeys()
				k := open(t, keys)
				put(t, k, live("a"), tt.record)
				if err := k.Put(t.Context(), note, nil, tt.note); err != nil {
					t.Fatal(err)
				}
				k.Close()
				time.Sleep(tt.pause)
				k = open(t, keys)
				defer k.Close()
				if got := has(k, record, live("a")); got != tt.alive {
					t.Errorf("alive: %v", got)
				}
				if got := holds(keys, "session/one") || holds(keys, "used/one"); got != tt.alive {
					t.Errorf("still in the key store: %v", got)
				}
				if tt.alive { // both for an hour
					time.Sleep(time.Hour - tt.pause)
					if has(k, record, live("a")) || has(k, note, nil) {
						t.Error("the restart gave a longer life")
					}
				}
			})
		})
	}
}

// What is not whole at a start, or no longer worth keeping, is removed; the rest
// stays.
func TestKeyringDropsHalfSets(t *testing.T) {
	tests := map[string]struct {
		damage func(keys *fakeKeys)
		change func(*KeyringOptions)
		other  bool // the other session lives on
	}{
		"no record":         {damage: func(f *fakeKeys) { delete(f.items, "service:session/one") }, other: true},
		"no note":           {damage: func(f *fakeKeys) { delete(f.items, "service:used/one") }, other: true},
		"a part missing":    {damage: func(f *fakeKeys) { delete(f.items, "service:session/one/a1") }, other: true},
		"a part of another": {damage: func(f *fakeKeys) { f.items["service:session/one/a0"] = f.items["service:session/two/a0"] }, other: true},
		"ended meanwhile": {damage: func(*fakeKeys) {}, other: true, change: func(o *KeyringOptions) {
			o.Kept = func(v []byte) bool { return !bytes.Equal(v, live("a")) }
		}},
		"no directory":       {damage: func(f *fakeKeys) { f.items["service:entries"] = "nonsense" }},
		"no list":            {damage: func(f *fakeKeys) { f.items["service:entries"] = f.items["service:root"] }},
		"no root":            {damage: func(f *fakeKeys) { delete(f.items, "service:root") }},
		"a damaged root":     {damage: func(f *fakeKeys) { f.items["service:root"] = "{}" }},
		"another root":       {damage: func(*fakeKeys) {}, change: func(o *KeyringOptions) { o.Usable = func([]byte) bool { return false } }},
		"leftovers of a cut": {damage: func(f *fakeKeys) { f.items["service:session/one"] = "" }, other: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			keys := newFakeKeys()
			k := open(t, keys)
			put(t, k, live("a"), time.Hour)
			two := Key{"session", "two"}
			if err := errors.Join(k.Put(t.Context(), two, live("b"), time.Hour), k.Put(t.Context(), Key{"used", "two"}, nil, time.Hour)); err != nil {
				t.Fatal(err)
			}
			k.Close()
			keys.set(func() { tt.damage(keys) })
			change := tt.change
			if change == nil {
				change = func(*KeyringOptions) {}
			}
			k = open(t, keys, change)
			defer k.Close()
			if _, err := k.Get(t.Context(), record); !errors.Is(err, ErrMissing) {
				t.Errorf("the damaged one: %v", err)
			}
			if has(k, two, live("b")) != tt.other {
				t.Errorf("the other one should live: %v", tt.other)
			}
			if holds(keys, "/one") || holds(keys, "/two") != tt.other {
				t.Errorf("left: %v", keys.names())
			}
			if string(k.Root()) != "root" {
				t.Error("no root")
			}
		})
	}
}

// Whatever ends a record takes it out of the key store before it returns.
func TestKeyringRemovesAtOnce(t *testing.T) {
	ends := map[string]func(k *Keyring) error{
		"ended":   func(k *Keyring) error { return k.Put(t.Context(), record, []byte("ended"), time.Hour) },
		"deleted": func(k *Keyring) error { return k.Delete(t.Context(), record) },
		"taken":   func(k *Keyring) error { _, err := k.Take(t.Context(), record); return err },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			keys := newFakeKeys()
			k := open(t, keys)
			defer k.Close()
			put(t, k, live("a"), time.Hour)
			if !holds(keys, "session/one") {
				t.Fatal("not in the key store")
			}
			if err := end(k); err != nil {
				t.Fatal(err)
			}
			if got := keys.names(); len(got) != 2 {
				t.Errorf("left beside root and directory: %v", got)
			}
			if want := []byte("ended"); name == "ended" && !has(k, record, want) || name != "ended" && has(k, record, live("a")) {
				t.Error("memory is of another opinion")
			}
		})
	}
	t.Run("taken twice", func(t *testing.T) {
		k := open(t, newFakeKeys())
		defer k.Close()
		if _, err := k.Take(t.Context(), record); !errors.Is(err, ErrMissing) {
			t.Error(err)
		}
		state := Key{"state", "one"}
		if err := k.Put(t.Context(), state, []byte("x"), time.Hour); err != nil {
			t.Fatal(err)
		}
		if v, err := k.Take(t.Context(), state); err != nil || string(v) != "x" {
			t.Errorf("%q, %v", v, err)
		}
		if err := k.Delete(t.Context(), state); err != nil {
			t.Error(err)
		}
	})
}

// A log-in that can't be kept is refused; one that could be before takes its new
// secret and uses up no further one until the key store works again.
func TestKeyringThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, warned := newFakeKeys(), new(atomic.Int32)
		k := open(t, keys, func(o *KeyringOptions) { o.Warn = func(string, error) { warned.Add(1) } })
		defer k.Close()
		keys.set(func() { keys.fail = down("set") })
		if err := k.Put(t.Context(), record, live("a"), time.Hour); !errors.Is(err, errDown) {
			t.Errorf("a new one: %v", err)
		}
		if _, err := k.Get(t.Context(), record); !errors.Is(err, ErrMissing) {
			t.Errorf("memory took what was refused: %v", err)
		}
		keys.set(func() { keys.fail = nil })
		put(t, k, live("a"), 10*time.Hour)
		synctest.Wait() // for the note

		keys.set(func() { keys.fail = down() })
		warned.Store(0)
		refresh := Key{"refresh", "one"}
		if err := k.Put(t.Context(), record, live("b"), 10*time.Hour); !errors.Is(err, errDown) {
			t.Errorf("a successor: %v", err)
		}
		if !has(k, record, live("b")) {
			t.Error("memory would use the old secret again")
		}
		for range 3 {
			if _, err := k.Lock(t.Context(), refresh); !errors.Is(err, errDown) {
				t.Errorf("a further secret may be used up: %v", err)
			}
		}
		if h, err := k.Lock(t.Context(), Key{"record", "one"}); err != nil {
			t.Errorf("another lock: %v", err)
		} else {
			h.Release()
		}
		if h, err := k.Lock(t.Context(), Key{"refresh", "two"}); err != nil {
			t.Errorf("another session: %v", err)
		} else {
			h.Release()
		}
		if err := k.Put(t.Context(), note, nil, 10*time.Hour); err != nil {
			t.Errorf("a note: %v", err)
		}
		time.Sleep(10 * lookEvery)
		if n := warned.Load(); n != 2 { // the record and the note
			t.Errorf("warned %d times", n)
		}
		keys.set(func() { keys.fail = nil })
		h, err := k.Lock(t.Context(), refresh)
		if err != nil {
			t.Fatalf("when it works again: %v", err)
		}
		h.Release()
		if v, _, err := k.vault.get("session/one"); err != nil || !bytes.Equal(v, live("b")) {
			t.Errorf("the key store has %d bytes, %v", len(v), err)
		}
	})
}

func TestKeyringRemovalIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := newFakeKeys()
		k := open(t, keys)
		defer k.Close()
		put(t, k, live("a"), 10*time.Hour)
		keys.set(func() { keys.fail = down("delete") })
		if err := k.Put(t.Context(), record, []byte("ended"), time.Hour); err != nil {
			t.Errorf("the end waits for the key store: %v", err)
		}
		if !has(k, record, []byte("ended")) {
			t.Error("it has not ended")
		}
		keys.set(func() { keys.fail = nil })
		time.Sleep(lookEvery)
		synctest.Wait()
		if holds(keys, "/one") {
			t.Errorf("left: %v", keys.names())
		}
	})
}

// Readers, notes and other kinds never wait for a key store that does not answer;
// whoever writes a record waits for a while, and whoever leaves leaves.
func TestKeyringThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := newFakeKeys()
		k := open(t, keys)
		put(t, k, live("a"), 10*time.Hour)
		synctest.Wait()
		hang := make(chan struct{})
		keys.set(func() { keys.hang = hang })
		begun := time.Now()
		changed, stop, err := k.Watch(t.Context(), record)
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		done := make(chan error, 1)
		go func() { done <- k.Put(t.Context(), record, live("b"), 10*time.Hour) }()
		synctest.Wait()
		select {
		case <-changed:
			t.Error("seen before the key store has it")
		default:
		}
		if !has(k, record, live("a")) || !has(k, note, nil) {
			t.Error("not to be read meanwhile")
		}
		for _, quick := range []Key{note, {"state", "s"}, {"session", "pending"}} {
			if err := k.Put(t.Context(), quick, nil, time.Hour); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("others waited %v", took)
		}
		if err := <-done; !errors.Is(err, errNoAnswer) || time.Since(begun) != answerLimit {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if !has(k, record, live("b")) {
			t.Error("memory would use the old secret again")
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := k.Lock(impatient, Key{"refresh", "one"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("whoever leaves: %v", err)
		}
		keys.set(func() { keys.hang = nil })
		close(hang)
		k.Close()
		again := open(t, keys)
		defer again.Close()
		if !has(again, record, live("b")) {
			t.Error("what the key store took late is not there")
		}
	})
}

// A write that was given up, and done after all, is undone.
func TestKeyringRefusedLogInDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := newFakeKeys()
		k := open(t, keys)
		hang := make(chan struct{})
		keys.set(func() { keys.hang = hang })
		if err := k.Put(t.Context(), record, live("a"), time.Hour); !errors.Is(err, errNoAnswer) {
			t.Fatal(err)
		}
		keys.set(func() { keys.hang = nil })
		close(hang)
		synctest.Wait()
		if holds(keys, "/one") {
			t.Errorf("left: %v", keys.names())
		}
		k.Close()
	})
}

// What nobody uses any more does not stay in the key store until the next start.
func TestKeyringDropsWhatRanOut(t *testing.T) {
	for name, times := range map[string][2]time.Duration{
		"not used": {10 * time.Hour, time.Hour}, "expired": {time.Hour, 10 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				keys := newFakeKeys()
				k := open(t, keys)
				defer k.Close()
				if err := errors.Join(k.Put(t.Context(), note, nil, times[1]), k.Put(t.Context(), record, live("a"), times[0])); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour - time.Second)
				synctest.Wait()
				if !holds(keys, "session/one") || !holds(keys, "used/one") {
					t.Error("gone too early")
				}
				time.Sleep(lookEvery + time.Second)
				synctest.Wait()
				if holds(keys, "/one") {
					t.Errorf("left: %v", keys.names())
				}
			})
		})
	}
}

// A look at what ran out does not take a log-in that is just being made.
func TestKeyringLookSparesWhatIsBeingMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := newFakeKeys()
		k := open(t, keys)
		if err := errors.Join(k.Put(t.Context(), record, []byte("pending"), time.Hour), k.Put(t.Context(), note, nil, time.Hour)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		if !holds(keys, "used/one") {
			t.Error("the note was taken")
		}
		put(t, k, live("a"), time.Hour)
		k.Close()
		k = open(t, keys)
		defer k.Close()
		if !has(k, record, live("a")) {
			t.Error("lost")
		}
	})
}

// The end waits for a refresh whose answer may be on its way, and not for ever.
func TestKeyringCloseWaitsForRefreshes(t *testing.T) {
	for name, tt := range map[string]struct{ refresh, wait time.Duration }{
		"one that ends":         {3 * time.Second, 3 * time.Second},
		"one that does not end": {time.Hour, endLimit},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				keys := newFakeKeys()
				k := open(t, keys)
				put(t, k, live("a"), 10*time.Hour)
				for range 2 { // the second comes after the first has ended
					h, err := k.Lock(t.Context(), Key{"refresh", "one"})
					if err != nil {
						t.Fatal(err)
					}
					if k.busy != 1 {
						t.Errorf("%d refreshes under way", k.busy)
					}
					h.Release()
					h.Release()
				}
				h, err := k.Lock(t.Context(), Key{"refresh", "one"})
				if err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				defer wg.Wait()
				wg.Go(func() {
					time.Sleep(tt.refresh)
					if tt.refresh < endLimit {
						if err := k.Put(t.Context(), record, live("b"), 10*time.Hour); err != nil {
							t.Error(err)
						}
					}
					h.Release()
				})
				begun := time.Now()
				k.Close()
				if took := time.Since(begun); took != tt.wait {
					t.Errorf("took %v", took)
				}
				again := open(t, keys)
				defer again.Close()
				if tt.refresh < endLimit && !has(again, record, live("b")) {
					t.Error("the successor is lost")
				}
			})
		})
	}
}

// Many at once: memory and key store end with the same.
func TestKeyringUnderManyHands(t *testing.T) {
	keys := newFakeKeys()
	k := open(t, keys)
	var wg sync.WaitGroup
	for hand := range 8 {
		wg.Go(func() {
			for i := range 100 {
				id := fmt.Sprint(rand.IntN(4))
				mine := live(fmt.Sprintf("%d.%d", hand, i))
				switch rand.IntN(5) {
				case 0:
					_ = k.Delete(t.Context(), Key{"session", id})
				case 1:
					_ = k.Put(t.Context(), Key{"session", id}, []byte("ended"), time.Hour)
				case 2:
					if h, err := k.Lock(t.Context(), Key{"refresh", id}); err == nil {
						h.Release()
					}
				default:
					if err := errors.Join(k.Put(t.Context(), Key{"used", id}, nil, time.Hour), k.Put(t.Context(), Key{"session", id}, mine, time.Hour)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	for i := range 4 { // a removal takes the note along
		if err := k.Put(t.Context(), Key{"used", fmt.Sprint(i)}, nil, time.Hour); err != nil {
			t.Error(err)
		}
	}
	k.Close()
	again := open(t, keys)
	defer again.Close()
	for i := range 4 {
		key := Key{"session", fmt.Sprint(i)}
		e, err := k.Get(t.Context(), key)
		if kept := err == nil && k.o.Kept(e.Value); kept != has(again, key, e.Value) {
			t.Errorf("%v: alive before %v", key, kept)
		}
	}
}

// Without an address of its own a bus is never launched.
func TestUseOwnBus(t *testing.T) {
	tests := map[string]struct{ address, runtimeDir, want string }{
		"told":       {"unix:path=/x", "/run/y", "unix:path=/x"},
		"not told":   {"", "/run/y", "unix:path=/run/y/bus"},
		"autolaunch": {"autolaunch:", "/run/y", "unix:path=/run/y/bus"},
		"nothing":    {"", "", fmt.Sprintf("unix:path=/run/user/%d/bus", os.Getuid())},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv(busVariable, tt.address)
			t.Setenv("XDG_RUNTIME_DIR", tt.runtimeDir)
			if err := useOwnBus(); err != nil {
				t.Fatal(err)
			}
			if got := os.Getenv(busVariable); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// The last word reaches the key store, however short before the end it is said.
func TestKeyringCloseWritesWhatIsOwed(t *testing.T) {
	for range 30 { // which the writer sees first, the note or the end, is chance
		synctest.Test(t, func(t *testing.T) {
			keys := newFakeKeys()
			k := open(t, keys)
			put(t, k, live("a"), time.Hour)
			synctest.Wait()
			hang := make(chan struct{})
			keys.set(func() { keys.hang = hang })
			for _, key := range []Key{{"used", "two"}, note} { // the writer is busy with the first
				if err := k.Put(t.Context(), key, []byte("last"), time.Hour); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			var wg sync.WaitGroup
			wg.Go(k.Close)
			synctest.Wait()
			keys.set(func() { keys.hang = nil })
			close(hang)
			wg.Wait()
			if v, _, err := k.vault.get("used/one"); err != nil || string(v) != "last" {
				t.Errorf("%q, %v", v, err)
			}
		})
	}
}

func TestKeyringTidiesUpAtTheStart(t *testing.T) {
	keys := newFakeKeys()
	k := open(t, keys)
	put(t, k, live("a"), time.Hour)
	k.Close()
	whole := len(keys.names())
	for _, part := range []string{"a9", "b0", "b1"} { // a9 is behind a gap, and not found
		keys.items["service:session/one/"+part] = "spent"
	}
	k = open(t, keys)
	defer k.Close()
	if got := keys.names(); len(got) != whole+1 || !has(k, record, live("a")) {
		t.Errorf("left: %v", got)
	}
}

// Between the key store's write and memory's, a record is in the one and not in
// the other; that is no reason to take it away.
func TestKeyringLookSparesWhatIsBeingWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := newFakeKeys()
		k := open(t, keys)
		defer k.Close()
		put(t, k, live("a"), time.Hour)
		turn := k.turn(record)
		if err := k.Memory.Delete(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		if !holds(keys, "session/one") {
			t.Error("taken away")
		}
		turn.Release()
		time.Sleep(lookEvery)
		synctest.Wait()
		if holds(keys, "/one") {
			t.Errorf("left: %v", keys.names())
		}
	})
}

// Of two writers of one key, memory and key store follow the same.
func TestKeyringWritersTakeTurns(t *testing.T) {
	for range 100 { // their order is chance
		synctest.Test(t, func(t *testing.T) {
			keys := newFakeKeys()
			k := open(t, keys)
			hang := make(chan struct{})
			keys.set(func() { keys.hang = hang })
			var wg sync.WaitGroup
			for _, mark := range []string{"a", "b", "c"} {
				wg.Go(func() {
					if err := k.Put(t.Context(), record, live(mark), time.Hour); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
			keys.set(func() { keys.hang = nil })
			close(hang)
			wg.Wait()
			v, _, err := k.vault.get("session/one")
			if err != nil || !has(k, record, v) {
				t.Errorf("they differ, %v", err)
			}
			k.Close()
		})
	}
}

// A record that is in the key store has its note there: without it, a process that
// is killed at once would lose the log-in.
func TestKeyringNoteIsThereWithTheRecord(t *testing.T) {
	for range 30 { // the order without the rule is chance
		synctest.Test(t, func(t *testing.T) {
			keys := newFakeKeys()
			k := open(t, keys)
			hang := make(chan struct{})
			keys.set(func() {
				keys.hang = hang
				keys.fail = func(op, item string) error {
					if _, noted := keys.items["service:used/one"]; op == "set" && item == "session/one" && !noted {
						t.Error("the record came without its note")
					}
					return nil
				}
			})
			// The writer is busy while both are said.
			if err := k.Put(t.Context(), Key{"used", "two"}, nil, time.Hour); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			var wg sync.WaitGroup
			wg.Go(func() { put(t, k, live("a"), time.Hour) })
			synctest.Wait()
			keys.set(func() { keys.hang = nil })
			close(hang)
			wg.Wait()
			k.Close()
		})
	}
}
