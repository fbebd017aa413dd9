package dpop

import (
	"slices"
	"strings"
	"testing"
)

func TestRing(t *testing.T) {
	one, two, three := newKey(t), newKey(t), newKey(t)
	ring := NewRing(one)
	if ring.Current() != one || ring.Find(one.Thumbprint()) != one || ring.Find(two.Thumbprint()) != nil {
		t.Error("a ring of one key")
	}
	ring.Replace(three, two, one)
	if want := []string{three.Thumbprint(), two.Thumbprint(), one.Thumbprint()}; !slices.Equal(ring.Thumbprints(), want) || ring.Current() != three {
		t.Errorf("%v, want %v", ring.Thumbprints(), want)
	}
	if ring.Find(one.Thumbprint()) != one || ring.Find(two.Thumbprint()) != two {
		t.Error("an earlier key is not found")
	}
	ring.Replace(three)
	if ring.Find(one.Thumbprint()) != nil || len(ring.Thumbprints()) != 1 {
		t.Error("a key that was dropped is found")
	}
	defer func() {
		if recover() == nil {
			t.Error("a ring without a key")
		}
	}()
	ring.Replace(nil)
}

// A request is proven with the key that its context names, else with the one in use.
func TestTransportProvesWithTheTokensKey(t *testing.T) {
	own, current, earlier := newKey(t), newKey(t), newKey(t)
	ring := NewRing(current, earlier)
	tests := map[string]struct {
		transport Transport
		named     *Key
		want      *Key
	}{
		"no name":              {Transport{Keys: ring}, nil, current},
		"an earlier key":       {Transport{Keys: ring}, earlier, earlier},
		"a key of its own":     {Transport{Key: own, Keys: ring}, nil, own},
		"another than its own": {Transport{Key: own}, earlier, earlier},
		"nothing but a name":   {Transport{}, earlier, earlier},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server, arrived := newServer(t, nil)
			tt.transport.Base = newBase(t)
			req := newRequest(t, "GET", server.URL, nil)
			if tt.named != nil {
				req = req.WithContext(WithKey(req.Context(), tt.named))
			}
			send(t, &tt.transport, req)
			if head, _, _ := strings.Cut((<-arrived).header.Get("DPoP"), "."); head != string(tt.want.header) {
				t.Error("proven with another key")
			}
		})
	}
}
