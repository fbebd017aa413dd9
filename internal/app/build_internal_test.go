package app

import "testing"

// Sessions in memory keep step with the tokens, and are bounded with them.
func TestSessionsBeside(t *testing.T) {
	for tokens, want := range map[int]int{1: 10_000, 20_000: 10_000, 20_002: 10_001, 100_000: 50_000} {
		if got := sessionsBeside(tokens); got != want {
			t.Errorf("%d sessions beside %d tokens, want %d", got, tokens, want)
		}
	}
}
