package helseid

import (
	"fmt"
	"testing"
	"time"
)

// A token's exp is in whole seconds, cut off; its life ends there and not where
// expires_in says. A clock that is off must not make more of it than that.
func TestSureLife(t *testing.T) {
	sent := time.Unix(1_700_000_000, 900_000_000) // late in its second
	for _, tc := range []struct {
		says int    // expires_in
		exp  string // after the second in which it was sent; "" = none
		want time.Duration
	}{
		{600, "600", 599_100 * time.Millisecond},
		{600, "601", 600 * time.Second}, // HelseID made it in the next second
		{600, "599", 599 * time.Second}, // our clock is ahead
		{600, "0", 599 * time.Second},   // far ahead
		{600, "9000", 600 * time.Second},
		{3, "3", 2100 * time.Millisecond},
		{1, "1", 500 * time.Millisecond},
		{600, "", 600 * time.Second},
	} {
		claims := members{}
		if tc.exp != "" {
			var after int64
			if _, err := fmt.Sscan(tc.exp, &after); err != nil {
				t.Fatal(err)
			}
			claims["exp"] = fmt.Append(nil, sent.Unix()+after)
		}
		if got := sureLife(time.Duration(tc.says)*time.Second, claims, sent); got != tc.want {
			t.Errorf("expires_in %d, exp %q: %v, want %v", tc.says, tc.exp, got, tc.want)
		}
	}
}
