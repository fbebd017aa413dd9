package dpop

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestNonces(t *testing.T) {
	const origin = "https://sfm.example"
	tests := map[string]struct {
		learned []string
		want    string
	}{
		"none":           {nil, ""},
		"one":            {[]string{"a"}, "a"},
		"last":           {[]string{"a", "b"}, "b"},
		"again":          {[]string{"a", "a"}, "a"},
		"empty":          {[]string{"a", ""}, "a"},
		"whole alphabet": {[]string{"!#$%&'()*+,-./09:;<=>?@AZ[]^_`az{|}~"}, "!#$%&'()*+,-./09:;<=>?@AZ[]^_`az{|}~"},
		"space":          {[]string{"a", "b c"}, "a"},
		"quotation mark": {[]string{"a", `b"c`}, "a"},
		"backslash":      {[]string{"a", `b\c`}, "a"},
		"control":        {[]string{"a", "b\r\nc"}, "a"},
		"not ASCII":      {[]string{"a", "bæ"}, "a"},
		"longest":        {[]string{strings.Repeat("n", 2048)}, strings.Repeat("n", 2048)},
		"too long":       {[]string{"a", strings.Repeat("n", 2049)}, "a"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var n Nonces
			for _, nonce := range test.learned {
				n.Learn(origin, nonce)
			}
			if got := n.Last(origin); got != test.want {
				t.Errorf("Last = %q, want %q", got, test.want)
			}
			if got := n.Last("https://other.example"); got != "" {
				t.Errorf("another origin has %q", got)
			}
		})
	}
}

func TestNoncesAreBounded(t *testing.T) {
	var n Nonces
	for i := range 10 * maxOrigins {
		origin := fmt.Sprintf("https://s%d.example", i)
		n.Learn(origin, "n")
		if n.Last(origin) != "n" {
			t.Fatal("the newest origin was forgotten")
		}
	}
	if len(n.last) != maxOrigins {
		t.Errorf("%d origins are remembered, want %d", len(n.last), maxOrigins)
	}
}

func TestNoncesConcurrently(t *testing.T) {
	var n Nonces
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 200 {
				n.Learn(fmt.Sprintf("https://s%d.example", j%5), fmt.Sprint(i))
				n.Last("https://s1.example")
			}
		})
	}
	group.Wait()
}
