package proxy

import (
	"net/http"
	"strings"
	"testing"

	"sfm-sidecar/internal/dpop"
)

// Each attempt is proven with the key that its own token is bound to: the guard's question,
// the call, and the call with another token.
func TestProvenWithTheTokensKey(t *testing.T) {
	one, two := newProofKey(t), newProofKey(t)
	sfm := &guardedSFM{statuses: []int{http.StatusNotFound}, refuse: 1}
	h := open(t, upstreamServer(t, sfm.ServeHTTP))
	keys := []*dpop.Key{one, two}
	h.tokens.next = func() Token {
		key := keys[h.tokens.forgets]
		return Token{AccessToken: "token", Type: "DPoP", Key: key}
	}
	if got := h.do(h.intend("/basis/Organization", "new")); got.StatusCode != http.StatusCreated {
		t.Fatalf("status %d", got.StatusCode)
	}
	want := []*dpop.Key{one, one, two, two}
	if len(sfm.proofs) != len(want) {
		t.Fatalf("%d requests, want %d", len(sfm.proofs), len(want))
	}
	for i, proof := range sfm.proofs {
		if header(proof) != header(want[i].Proof(dpop.Claims{Method: "GET", URL: "https://sfm.example/"})) {
			t.Errorf("request %d was proven with another key", i)
		}
	}
}

// header is the part of a proof that is the same for all proofs of a key.
func header(proof string) string {
	head, _, _ := strings.Cut(proof, ".")
	return head
}

func newProofKey(t *testing.T) *dpop.Key {
	t.Helper()
	key, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}
