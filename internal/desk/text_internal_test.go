package desk

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// Every id that is made is a random UUID of version 4, and no two are the same.
func TestMint(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id, err := mint(nil)
		if err != nil || len(id) != 36 || id[14] != '4' || !strings.ContainsRune("89ab", rune(id[19])) || seen[id] {
			t.Fatalf("%q %v", id, err)
		}
		seen[id] = true
	}
	id, err := mint(bytes.NewReader(bytes.Repeat([]byte{0xff}, 16)))
	if id != "ffffffff-ffff-4fff-bfff-ffffffffffff" || err != nil {
		t.Errorf("%q %v", id, err)
	}
	id, err = mint(bytes.NewReader(make([]byte, 16)))
	if id != "00000000-0000-4000-8000-000000000000" || err != nil {
		t.Errorf("%q %v", id, err)
	}
	if _, err := mint(strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an id is made of too little: %v", err)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("Eksempel")
	f.Add("\x1b[2J\u202e\u009b\xff\n")
	f.Fuzz(func(t *testing.T, s string) {
		var out bytes.Buffer
		p := printer{to: &out, color: false}
		p.say("%s%v", s, errors.New(s))
		p.table(0, [][]cell{{{s, red}, {s, ""}}})
		for _, r := range out.String() {
			if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
				t.Fatalf("%q lets %q through", s, r)
			}
		}
		if strings.Count(out.String(), "\n") != 1 {
			t.Fatalf("%q makes lines of its own", s)
		}
	})
}

func TestWrap(t *testing.T) {
	got := wrap("one two three fourteen-letters x", 7)
	if want := []string{"one two", "three", "fourteen-letters", "x"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := wrap("", 7); len(got) != 1 {
		t.Errorf("nothing wraps to %q", got)
	}
}

func TestQuoted(t *testing.T) {
	for word, want := range map[string]string{"nord": "nord", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'"} {
		if got := quoted(word); got != want {
			t.Errorf("%q is quoted as %s, want %s", word, got, want)
		}
	}
}
