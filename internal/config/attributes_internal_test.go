package config

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// FuzzAttributes holds the reading of pairs to what a header and a resource can bear,
// and to giving the same again for what it read.
func FuzzAttributes(f *testing.F) {
	for _, seed := range []string{"", "a=1", " a = 1 , b=%20", "a", "=1", "a=%zz", "a=%0d%0ab: c", "a=1,a=2", ",,", "a=b=c", "a=%ff", "\xff=1", "a\xc3=%a6"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		read, ok := attributes(text)
		if !ok && read != nil {
			t.Fatal("half a list was read")
		}
		var again []string
		for name, value := range read {
			if name == "" || strings.ContainsFunc(name+value, control) || !utf8.ValidString(name) || !utf8.ValidString(value) {
				t.Errorf("%q leads to %q", name, value)
			}
			again = append(again, name+"="+url.PathEscape(value))
		}
		if second, ok := attributes(strings.Join(again, ",")); len(read) > 0 && (!ok || !cmp.Equal(second, read)) {
			t.Errorf("read %q, then %q", read, second)
		}
	})
}
