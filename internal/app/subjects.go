package app

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/proxy"
)

// knownSubjects bounds the callers' tokens that are known to be good. One that
// falls out costs the check of a signature.
const knownSubjects = 10_000

// subjects finds the person of a call in the caller's own access token (grant
// token-exchange). A token is verified once, and then known by a keyed hash until
// it expires; only good ones are remembered, so nobody can fill the memory with
// tokens of their own making.
//
// The hash is also what the person is called from here on: it is in the key of the
// cache, so that two callers never share a token, even for the same person.
type subjects struct {
	verify func(ctx context.Context, raw string) (helseid.Subject, error)
	now    func() time.Time // HelseID's, by which tokens expire
	secret []byte
	known  *lru.Cache[string, helseid.Subject]
}

func newSubjects(verify func(context.Context, string) (helseid.Subject, error), now func() time.Time) *subjects {
	known, err := lru.New[string, helseid.Subject](knownSubjects)
	if err != nil {
		panic("BUG: " + err.Error()) // the size is a constant above zero
	}
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(secret) // never fails: crypto/rand
	return &subjects{verify: verify, now: now, secret: secret, known: known}
}

// find is the person of a request. Whoever calls must have shown a good token,
// each time: that another call with the same token has just been let through
// changes nothing once it has expired.
func (s *subjects) find(r *http.Request) (proxy.Person, error) {
	raw, err := presented(r.Header)
	if err != nil {
		return proxy.Person{}, err
	}
	id := s.id(raw)
	subject, ok := s.known.Get(id)
	if !ok || !s.now().Before(subject.Expires) {
		s.known.Remove(id)
		if subject, err = s.verify(r.Context(), raw); err != nil {
			return proxy.Person{}, err
		}
		s.remember(id, subject)
	}
	return proxy.Person{ID: id, Grant: config.GrantTokenExchange, Held: subject}, nil
}

// remember keeps a good token until it expires or is crowded out. What has expired
// sinks to the old end, where a few are looked at each time: nobody's token should
// stay in memory for longer than it is of use.
func (s *subjects) remember(id string, subject helseid.Subject) {
	for range 4 {
		if oldest, past, ok := s.known.GetOldest(); ok && !s.now().Before(past.Expires) {
			s.known.Remove(oldest)
		}
	}
	s.known.Add(id, subject)
}

// id is the keyed hash of a token. The key lives as long as the process: the hash
// is of no use to anybody who sees it.
func (s *subjects) id(raw string) string {
	mac := hmac.New(sha256.New, s.secret)
	mac.Write([]byte(raw))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// presented is the caller's token: RFC 6750 section 2.1, or RFC 9449 section 7.1
// for one that is bound to a key. Which of the two is not held against the token:
// see docs/divergences.md.
func presented(h http.Header) (string, error) {
	values := h.Values("Authorization")
	if len(values) > 1 {
		return "", &refusal{"request-invalid", "the header Authorization was sent more than once"}
	}
	if !hasToken(h) {
		return "", &refusal{"subject-token-required", "the grant token-exchange needs the caller's own HelseID access token in Authorization"}
	}
	_, token, _ := strings.Cut(values[0], " ")
	if token = strings.TrimSpace(token); token == "" {
		return "", &refusal{"subject-token-required", "the header Authorization names a scheme and holds no token"}
	}
	return token, nil
}
