package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

var (
	one    = Key{"session", "one"}
	keyOne = bytes.Repeat([]byte{1}, 32)
	keyTwo = bytes.Repeat([]byte{2}, 32)
)

func testSealer(t testing.TB, space string, keys ...[]byte) *sealer {
	t.Helper()
	s, err := newSealer(keys, nil, space)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealing(t *testing.T) {
	s := testSealer(t, "space", keyOne)
	name := s.name(one)
	first, second := s.seal(name, one.ID, []byte("value")), s.seal(name, one.ID, []byte("value"))
	if bytes.Equal(first, second) {
		t.Error("sealed alike twice")
	}
	for i := range first {
		if i >= fenceAt && i < nonceAt {
			continue // the server's
		}
		for bit := range 8 {
			changed := bytes.Clone(first)
			changed[i] ^= 1 << bit
			if _, err := s.openFor(one, changed); err == nil {
				t.Fatalf("bit %d of byte %d may be changed", bit, i)
			}
		}
	}
	for n := range first {
		if _, err := s.openFor(one, first[:n]); !errors.Is(err, errDamaged) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
}

// Replicas of two versions stand side by side while one is rolled out. Were anything of
// this to change, each would take what the other wrote for damaged and remove it, or not
// find it at all.
func TestFormatStays(t *testing.T) {
	s := testSealer(t, "space", keyTwo, keyOne)
	if got := s.name(one); got != "sfm:session:{mizAxBwJnpg1NQZN1TPggQ}" {
		t.Errorf("the entry is called %s", got)
	}
	if got := s.namesID(); got != "Dlzd9vcwYekw" {
		t.Errorf("the naming key is called %s", got)
	}
	written, err := hex.DecodeString("01842656960000000000000000426221a4a0fcca4823d476110ed219e3f80f47ffa424a9b9daef22549a8e59ff58efd1e1d0")
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.openFor(one, written)
	if err != nil || string(e.Value) != "value" || e.Version != 0x426221a4a0fcca48 {
		t.Errorf("%q, version %x, %v", e.Value, e.Version, err)
	}
	sealed := s.seal(s.name(one), one.ID, []byte("value"))
	if !bytes.Equal(sealed[:nonceAt], written[:nonceAt]) || len(sealed) != len(written) {
		t.Errorf("an entry begins with %x and has %d bytes", sealed[:nonceAt], len(sealed))
	}
}

// Whatever differs gives another name; only the kind stands in it.
func TestNames(t *testing.T) {
	names := map[string]string{}
	for what, name := range map[string]string{
		"one":     testSealer(t, "space", keyOne).name(one),
		"id":      testSealer(t, "space", keyOne).name(Key{"session", "two"}),
		"kind":    testSealer(t, "space", keyOne).name(Key{"used", "one"}),
		"space":   testSealer(t, "spac", keyOne).name(Key{"session", "eone"}),
		"keys":    testSealer(t, "space", keyTwo).name(one),
		"rotated": testSealer(t, "space", keyOne, keyTwo, keyOne).name(Key{"session", "three"}),
	} {
		if other, ok := names[name]; ok {
			t.Errorf("%s and %s have one name", what, other)
		}
		names[name] = what
		if len(name) > 40 || strings.Contains(name, "one") {
			t.Errorf("%s: %s", what, name)
		}
	}
	if testSealer(t, "space", keyTwo, keyOne).name(one) != testSealer(t, "space", keyOne).name(one) {
		t.Error("a key at the front changes the names")
	}
}

func FuzzOpen(f *testing.F) {
	s := testSealer(f, "space", keyOne)
	name := s.name(one)
	good := s.seal(name, one.ID, []byte("value"))
	f.Add(good)
	f.Add(good[:sealedAt])
	f.Add([]byte{format})
	f.Add([]byte{format + 1, 0})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		e, err := s.openFor(one, sealed)
		switch {
		case err == nil && string(e.Value) != "value":
			t.Errorf("opened as %q", e.Value)
		case err != nil && !errors.Is(err, errDamaged) && !errors.Is(err, ErrUnreadable):
			t.Error(err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	s := testSealer(b, "space", keyOne)
	name, value := s.name(one), bytes.Repeat([]byte{1}, 2000)
	for b.Loop() {
		s.seal(name, one.ID, value)
	}
}

func BenchmarkOpen(b *testing.B) {
	s := testSealer(b, "space", keyOne)
	sealed := s.seal(s.name(one), one.ID, bytes.Repeat([]byte{1}, 2000))
	for b.Loop() {
		if _, err := s.openFor(one, sealed); err != nil {
			b.Fatal(err)
		}
	}
}
