package simulator

import (
	"crypto"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// maxSecrets bounds how many good keys a client may have.
const maxSecrets = 10

// secretLife is from when and until when a client's key counts.
type secretLife struct {
	added   time.Time
	expires time.Time // zero = as the knob FirstSecretSeconds says
	posted  bool      // by the API, not at registration
}

// secretExpiry is when the key stops to authenticate its client.
func (s *Simulator) secretExpiry(key clientKey) time.Time {
	if !key.expires.IsZero() {
		return key.expires
	}
	return key.added.Add(time.Duration(s.knobs().Selvbetjening.FirstSecretSeconds) * time.Second)
}

// goodSecrets returns the kids of the keys that have not expired, those that end
// first before the others.
func (s *Simulator) goodSecrets(client *registeredClient) []string {
	now := s.now()
	kids := slices.DeleteFunc(slices.Sorted(maps.Keys(client.keys)), func(kid string) bool {
		return !now.Before(s.secretExpiry(client.keys[kid]))
	})
	slices.SortStableFunc(kids, func(a, b string) int {
		return s.secretExpiry(client.keys[a]).Compare(s.secretExpiry(client.keys[b]))
	})
	return kids
}

// secrets is the answer to GET /v1/client-secret.
func (s *Simulator) secrets(client *registeredClient) []any {
	list := []any{}
	for _, kid := range s.goodSecrets(client) {
		key := client.keys[kid]
		origin := "Gui"
		if key.posted {
			origin = "Api"
		}
		list = append(list, map[string]any{
			"expiration": s.secretExpiry(key).UTC().Format(time.RFC3339), "kid": kid,
			"jwkThumbprint": key.digest, "origin": origin, "publicJwk": nil, // as the real one, mostly
		})
	}
	return list
}

// RemoveClientKey takes a key away from a client, as its owner can in
// Selvbetjening's web pages. What it signed before stays good.
func (s *Simulator) RemoveClientKey(clientID, kid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	client := s.clients[clientID]
	if client == nil {
		return fmt.Errorf("removing a key: no client %q", clientID)
	}
	if _, known := client.keys[kid]; !known {
		return fmt.Errorf("removing a key: client %q has no key %q", clientID, kid)
	}
	changed := *client
	changed.keys = maps.Clone(client.keys)
	delete(changed.keys, kid)
	s.clients[clientID] = &changed
	return nil
}

// postSecret takes a new public key. It counts from the client's next request on.
func (c *registerCall) postSecret(client *registeredClient) {
	jwk, err := decodeObject(c.body)
	if err != nil {
		c.problem(http.StatusBadRequest, "the body %v", err)
		return
	}
	key, err := readSecret(jwk)
	if err != nil {
		c.problem(http.StatusBadRequest, "%v", err)
		return
	}
	knobs, now := c.sim.knobs().Selvbetjening, c.sim.now()
	key.secretLife = secretLife{added: now, expires: now.Add(time.Duration(knobs.SecretSeconds) * time.Second), posted: true}
	if fault := c.sim.addSecret(client.ID, text(jwk, "kid"), key); fault != nil {
		c.problem(http.StatusConflict, "%v", fault)
		return
	}
	c.writeJSON(map[string]any{"expiration": key.expires.UTC().Format(time.RFC3339)})
}

// addSecret replaces the registration by one with the key; expired keys leave it.
func (s *Simulator) addSecret(clientID, kid string, key clientKey) error {
	knobs, now := s.knobs().Selvbetjening, s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	client := s.clients[clientID]
	if client == nil {
		return errors.New("the client is not registered any more")
	}
	keys := map[string]clientKey{}
	for _, old := range s.goodSecrets(client) {
		keys[old] = client.keys[old]
		if old == kid || client.keys[old].digest == key.digest {
			return errors.New("the client has a key with this kid, or this very key, already")
		}
	}
	if len(keys) >= maxSecrets {
		return fmt.Errorf("the client has %d keys already; let one expire, or remove one", len(keys))
	}
	if knobs.RetireOldSecrets {
		clear(keys)
	}
	if limit := now.Add(time.Duration(knobs.OldSecretSeconds) * time.Second); knobs.OldSecretSeconds > 0 {
		for old, shortened := range keys {
			if limit.Before(s.secretExpiry(shortened)) {
				shortened.expires = limit
				keys[old] = shortened
			}
		}
	}
	keys[kid] = key
	changed := *client
	changed.keys = keys
	s.clients[clientID] = &changed
	return nil
}

// secretMembers are those a posted key may have.
var secretMembers = []string{"kty", "n", "e", "crv", "x", "y", "use", "kid", "alg"}

// readSecret judges a key that is to authenticate a client.
func readSecret(jwk map[string]any) (clientKey, error) {
	public, err := publicKey(jwk) // refuses private members and weak keys
	if err != nil {
		return clientKey{}, err
	}
	for name := range jwk {
		if !slices.Contains(secretMembers, name) {
			return clientKey{}, fmt.Errorf("the jwk has the unknown member %q", name)
		}
	}
	if use := text(jwk, "use"); use != "sig" {
		return clientKey{}, fmt.Errorf("the jwk's use is %q, sig is wanted", use)
	}
	if kid := text(jwk, "kid"); kid == "" || len(kid) > 200 {
		return clientKey{}, errors.New("the jwk's kid is missing or longer than 200 bytes")
	}
	alg := text(jwk, "alg")
	if err := fitsKey(alg, public); err != nil {
		return clientKey{}, err
	}
	digest, err := thumbprint(jwk)
	if err != nil {
		return clientKey{}, err
	}
	return clientKey{public: public, alg: alg, digest: digest}, nil
}

// fitsKey wants one of the nine algorithms, and one that the key can be used with.
func fitsKey(name string, public crypto.PublicKey) error {
	alg, known := algorithms[name]
	if !known {
		return fmt.Errorf("the jwk's alg is %q, none of the nine asymmetric algorithms", name)
	}
	key, isEC := public.(*ecdsa.PublicKey)
	if isEC != (alg.family == "EC") || (isEC && key.Curve.Params().Name != alg.curve) {
		return fmt.Errorf("the jwk's alg %s does not fit the key", name)
	}
	return nil
}
