package store

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zalando/go-keyring"
)

// fakeKeys is a key store that refuses what a real one would, and fails or hangs
// when it is told to.
type fakeKeys struct {
	mu    sync.Mutex // guards what follows
	items map[string]string
	fail  func(op, item string) error // nil = never
	calls int
	hang  chan struct{} // not nil: every call waits until it is closed
}

var errDown = errors.New("the key store is down")

func newFakeKeys() *fakeKeys { return &fakeKeys{items: make(map[string]string)} }

// do carries one operation out, after what is to happen before it.
func (f *fakeKeys) do(op, service, item string, act func(name string) error) error {
	f.mu.Lock()
	hang := f.hang
	f.mu.Unlock()
	if hang != nil {
		<-hang
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.fail != nil {
		if err := f.fail(op, item); err != nil {
			return err
		}
	}
	return act(service + ":" + item)
}

func (f *fakeKeys) Set(service, item, secret string) error {
	return f.do("set", service, item, func(name string) error {
		// Windows bounds the secret, macOS the command that holds it in base64.
		if command := len(service) + len(item) + base64.StdEncoding.EncodedLen(len(secret)) + 80; len(secret) > 2560 || command > 4096 {
			return keyring.ErrSetDataTooBig
		}
		if strings.ContainsFunc(secret, func(r rune) bool { return r < ' ' || r > '~' }) {
			return errors.New("not ASCII")
		}
		f.items[name] = secret
		return nil
	})
}

func (f *fakeKeys) Get(service, item string) (secret string, err error) {
	err = f.do("get", service, item, func(name string) error {
		s, ok := f.items[name]
		if !ok {
			return keyring.ErrNotFound
		}
		secret = s
		return nil
	})
	return secret, err
}

func (f *fakeKeys) Delete(service, item string) error {
	return f.do("delete", service, item, func(name string) error {
		if _, ok := f.items[name]; !ok {
			return keyring.ErrNotFound
		}
		delete(f.items, name)
		return nil
	})
}

func (f *fakeKeys) DeleteAll(service string) error {
	return f.do("delete", service, "", func(string) error {
		maps.DeleteFunc(f.items, func(name, _ string) bool { return strings.HasPrefix(name, service+":") })
		return nil
	})
}

// set changes how the fake behaves, while others use it.
func (f *fakeKeys) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// names are the items that are there.
func (f *fakeKeys) names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.items))
}

// down fails everything, or what can be told by its operation.
func down(ops ...string) func(op, item string) error {
	return func(op, _ string) error {
		if len(ops) == 0 || slices.Contains(ops, op) {
			return errDown
		}
		return nil
	}
}

// text is a value of a size that differs from others of the same size.
func text(mark string, size int) []byte {
	return []byte(strings.Repeat(mark+"\xc3\xb8 ", size/4+1))[:size]
}

func TestVaultKeepsValuesOfAnySize(t *testing.T) {
	keys := newFakeKeys()
	v := &vault{keys, "s"}
	until := time.Now().Add(time.Hour).Round(0)
	edge := inlineSize / 4 * 3 // of what fits into the head
	for _, size := range []int{0, 1, edge, edge + 1, 3 * itemSize / 4 * 2, 3*itemSize/4*2 + 1, 9000, 1, 9000, 40_000, 9000, 0} {
		want := text("a", size)
		if err := v.put("n", want, until); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		got, end, err := v.get("n")
		if err != nil || !bytes.Equal(got, want) || !end.Equal(until) {
			t.Fatalf("%d bytes came back as %d, until right: %v, %v", size, len(got), end.Equal(until), err)
		}
		parts := 0
		if encoded := base64.StdEncoding.EncodedLen(size); encoded > inlineSize {
			parts = (encoded + itemSize - 1) / itemSize
		}
		if names := keys.names(); len(names) != 1+parts {
			t.Errorf("%d bytes: %d items, want %d: nothing of the value before may stay", size, len(names), 1+parts)
		}
	}
	if err := v.put("n", make([]byte, itemSize*maxParts), until); err == nil {
		t.Error("took a value without bounds")
	}
	if err := v.put("other", text("b", 5000), until); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.remove("n"), v.remove("n")); err != nil {
		t.Error(err)
	}
	if _, _, err := v.get("other"); err != nil {
		t.Errorf("the removal of another value took this one: %v", err)
	}
	if err := v.remove("other"); err != nil || len(keys.names()) != 0 {
		t.Errorf("%d items are left: %v", len(keys.names()), err)
	}
}

// Whatever call of the key store is the last of a write, the value is the old one
// or the new one, and the next start finds no rest.
func TestVaultWriteThatIsCutOff(t *testing.T) {
	sizes := []int{10, 5000, 12_000}
	for _, before := range sizes {
		for _, after := range sizes {
			t.Run(fmt.Sprintf("%d to %d", before, after), func(t *testing.T) {
				last := 0
				for done := false; !done; last++ {
					done = cutOff(t, text("old", before), text("new", after), last)
				}
				if last < 3 {
					t.Errorf("the write took %d calls", last)
				}
			})
		}
	}
}

// cutOff writes over a value with a key store that dies after some calls, and
// returns whether that was enough of them.
func cutOff(t *testing.T, before, after []byte, calls int) bool {
	t.Helper()
	keys := newFakeKeys()
	v := &vault{keys, "s"}
	if err := errors.Join(v.put("n", text("first", 9000), time.Time{}), v.put("n", before, time.Time{})); err != nil {
		t.Fatal(err)
	}
	keys.calls, keys.fail = 0, func(string, string) error {
		if keys.calls > calls {
			return errDown
		}
		return nil
	}
	err := v.put("n", after, time.Time{})
	died := keys.calls > calls
	keys.fail = nil
	got, _, getErr := v.get("n")
	if getErr != nil || !bytes.Equal(got, before) && !bytes.Equal(got, after) {
		t.Errorf("dead after %d calls: %d bytes, %v", calls, len(got), getErr)
	}
	if err == nil && !bytes.Equal(got, after) {
		t.Errorf("dead after %d calls: the write had no error, and the old value is there", calls)
	}
	if err := v.tidy("n"); err != nil {
		t.Error(err)
	}
	h, err := v.head("n")
	if err != nil || len(keys.names()) != 1+h.Parts {
		t.Errorf("dead after %d calls: %d items are left for %d parts, %v", calls, len(keys.names()), h.Parts, err)
	}
	return !died
}

// A set of items of which any one is missing or changed is never used.
func TestVaultDropsDamagedValues(t *testing.T) {
	for _, size := range []int{10, 6000} {
		keys := newFakeKeys()
		v := &vault{keys, "s"}
		if err := v.put("n", text("a", size), time.Time{}); err != nil {
			t.Fatal(err)
		}
		whole := maps.Clone(keys.items)
		for _, name := range keys.names() {
			for what, change := range map[string]func(){
				"missing":   func() { delete(keys.items, name) },
				"empty":     func() { keys.items[name] = "" },
				"cut":       func() { keys.items[name] = keys.items[name][:len(keys.items[name])-4] },
				"exchanged": func() { keys.items[name] = base64.StdEncoding.EncodeToString(text("b", len(whole[name])/4*3)) },
				"of many":   func() { keys.items[name] = `{"sum":"","parts":1000000}` },
			} {
				keys.items = maps.Clone(whole)
				change()
				if got, _, err := v.get("n"); err == nil || unanswered(err) {
					t.Errorf("%d bytes, %s %s: %d bytes, %v", size, name, what, len(got), err)
				}
				if err := errors.Join(v.put("n", text("c", 7000), time.Time{})); err != nil {
					t.Errorf("%s %s can't be written over: %v", name, what, err)
				}
				if got, _, err := v.get("n"); err != nil || !bytes.Equal(got, text("c", 7000)) {
					t.Errorf("%s %s, written over: %d bytes, %v", name, what, len(got), err)
				}
			}
		}
	}
}

func TestVaultTellsSilenceFromAbsence(t *testing.T) {
	for part := range 2 {
		keys := newFakeKeys()
		v := &vault{keys, "s"}
		if err := v.put("n", text("a", 6000), time.Time{}); err != nil {
			t.Fatal(err)
		}
		keys.calls, keys.fail = 0, func(string, string) error {
			if keys.calls > part {
				return errDown
			}
			return nil
		}
		if _, _, err := v.get("n"); !errors.Is(err, errDown) || !unanswered(err) {
			t.Errorf("after %d calls: %v", part, err)
		}
	}
}

func FuzzVaultHead(f *testing.F) {
	f.Add(`{"sum":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}`, "")
	f.Add(`{"sum":"","side":"a","parts":2}`, "AAAA")
	f.Add(`{"parts":-1}`, "x")
	f.Fuzz(func(t *testing.T, h, part string) {
		keys := newFakeKeys()
		keys.items["s:n"], keys.items["s:n/a0"], keys.items["s:n/a1"] = h, part, part
		v := &vault{keys, "s"}
		value, until, err := v.get("n")
		if err != nil {
			return
		}
		if err := v.put("m", value, until); err != nil {
			t.Skip(err) // a time that JSON can't write, say
		}
		if again, _, err := v.get("m"); err != nil || !bytes.Equal(again, value) {
			t.Errorf("%d bytes became %d, %v", len(value), len(again), err)
		}
	})
}

// A removal that is cut off, and so is its repetition, is finished by the third.
func TestVaultRemovalThatIsCutOff(t *testing.T) {
	for first := range 14 {
		for second := range 14 {
			keys := newFakeKeys()
			v := &vault{keys, "s"}
			if err := v.put("n", text("a", 6000), time.Time{}); err != nil {
				t.Fatal(err)
			}
			for _, calls := range []int{first, second, 1000} {
				keys.calls, keys.fail = 0, func(string, string) error {
					if keys.calls > calls {
						return errDown
					}
					return nil
				}
				if err := v.remove("n"); (err != nil) != (keys.calls > calls) {
					t.Errorf("dead after %d calls: %v", calls, err)
				}
			}
			if left := keys.names(); len(left) != 0 {
				t.Errorf("dead after %d and %d calls: %v are left", first, second, left)
			}
		}
	}
}
