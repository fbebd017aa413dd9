package app

import (
	"testing"

	"sfm-sidecar/internal/selvbetjening"
)

// What is not known of either side makes no key another's.
func TestKeyRowIs(t *testing.T) {
	for _, test := range []struct {
		row  keyRow
		key  selvbetjening.Key
		want bool
	}{
		{keyRow{KID: "a", Thumbprint: "x"}, selvbetjening.Key{ID: "b", Thumbprint: "x"}, true},
		{keyRow{KID: "a", Thumbprint: "x"}, selvbetjening.Key{ID: "a"}, true},
		{keyRow{KID: "a", Thumbprint: "x"}, selvbetjening.Key{ID: "b", Thumbprint: "y"}, false},
		{keyRow{KID: "a"}, selvbetjening.Key{ID: "b"}, false},
		{keyRow{Thumbprint: "x"}, selvbetjening.Key{Thumbprint: "y"}, false},
	} {
		if got := test.row.is(test.key); got != test.want {
			t.Errorf("%+v is %+v: %t", test.row, test.key, got)
		}
	}
}
