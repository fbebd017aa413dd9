package simulator

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Options say what the simulated world holds. Every field may be left out.
type Options struct {
	// Issuer is HelseID's base URL, without a trailing slash. If empty,
	// http://127.0.0.1:8081. [Start] sets it.
	Issuer string
	// SFM is the base URL under which SFM is reached, without a trailing slash;
	// proofs must name it in htu. If empty, http://127.0.0.1:8082. [Start] sets it.
	SFM string
	// Clients are the registered clients. If empty nobody can log in;
	// [NewClient] makes one.
	Clients []Client
	// Persons can log in. If nil, [Persons].
	Persons []Person
	// Delegations are the organizations that let the supplier act for them. If
	// nil, [Delegations].
	Delegations []Delegation
	// Supplier is the organization number of multi-tenant clients' owner, which
	// SFM knows too. If empty, [Supplier].
	Supplier string
	// Journals are in SFM from the start, kept to SFM's rules whatever the knobs say. Others come to be as the knob
	// StrictJournals has it.
	Journals []Journal
	// Registers is the base URL under which the registers are reached, without a
	// trailing slash. If empty, the Issuer, where HelseID's listener serves them.
	Registers string
	// Units are what Enhetsregisteret holds. If nil, [Units] of the delegations.
	Units []Unit
	// Parties are what Adresseregisteret holds. If nil, [Parties] of the units.
	Parties []Party
	// TestTokenKey is the key that HelseID's test token service wants. If empty,
	// [TestTokenKey].
	TestTokenKey string
	// SigningKey signs HelseID's tokens. If nil, a new RSA key of 2048 bits.
	SigningKey *rsa.PrivateKey
	// Knobs are set from the start. If nil, [DefaultKnobs].
	Knobs *Knobs
	// Now is the time as the client sees it; knobs shift what the stand-ins make
	// of it. If nil, time.Now.
	Now func() time.Time
}

// Simulator is one world: a HelseID and an SFM that trusts it. Safe for
// concurrent use. The zero value is not ready; use [New] or [Start].
type Simulator struct {
	options Options
	people  map[string]Person     // by Person.ID; never changed
	orgs    map[string]Delegation // by organization number; never changed

	knobMu    sync.Mutex // guards knobState
	knobState Knobs

	proofs     *replayList // jti values of proofs at HelseID
	assertions *replayList // jti values of client assertions and request objects
	nonces     nonceBook

	mu       sync.Mutex // guards the rest of HelseID's state
	keys     []signingKey
	clients  map[string]*registeredClient
	pushed   map[string]*authorizationRequest // by request_uri
	codes    map[string]*issuedCode           // by code
	logins   int                              // how many there were
	refresh  map[string]*refreshToken         // by token, spent ones too
	reuses   int
	requests []TokenRequest
	maxInFly int

	sfm       *sfmState // the SFM half
	registers *registerState
}

// signingKey is one of HelseID's own keys; the last one signs, all are published.
type signingKey struct {
	key *rsa.PrivateKey
	kid string
}

// New makes a world that serves nothing yet: mount [Simulator.HelseID] and
// [Simulator.SFM] at the addresses given in the options.
func New(options Options) (*Simulator, error) {
	options = withDefaults(options)
	s := &Simulator{
		options:    options,
		people:     map[string]Person{},
		orgs:       map[string]Delegation{},
		knobState:  cloneKnobs(*options.Knobs),
		proofs:     newReplayList(time.Minute),
		assertions: newReplayList(5 * time.Minute),
		clients:    map[string]*registeredClient{},
		pushed:     map[string]*authorizationRequest{},
		codes:      map[string]*issuedCode{},
		refresh:    map[string]*refreshToken{},
		registers:  newRegisterState(options),
	}
	s.sfm = newSFMState(s.now)
	for _, person := range options.Persons {
		s.people[person.ID] = person
	}
	for _, org := range options.Delegations {
		s.orgs[org.Orgnr] = org
	}
	if err := s.sfm.journals.loadJournals(options.Journals, s.people); err != nil {
		return nil, fmt.Errorf("loading journals: %w", err)
	}
	for _, client := range options.Clients {
		if err := s.RegisterClient(client); err != nil {
			return nil, err
		}
	}
	if err := s.addSigningKey(options.SigningKey); err != nil {
		return nil, err
	}
	return s, nil
}

func withDefaults(options Options) Options {
	if options.Issuer == "" {
		options.Issuer = "http://127.0.0.1:8081"
	}
	if options.SFM == "" {
		options.SFM = "http://127.0.0.1:8082"
	}
	if options.Persons == nil {
		options.Persons = Persons()
	}
	if options.Delegations == nil {
		options.Delegations = Delegations()
	}
	if options.Supplier == "" {
		options.Supplier = Supplier
	}
	options = withRegisterDefaults(options)
	if options.Knobs == nil {
		knobs := DefaultKnobs()
		options.Knobs = &knobs
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return options
}

// now is the stand-ins' own time: the options' clock, shifted by the knob.
func (s *Simulator) now() time.Time {
	offset := s.knobs().ClockOffset
	return s.options.Now().Add(time.Duration(offset * float64(time.Second)))
}

// RotateSigningKey gives HelseID a new key. The old ones stay published, as
// long as the simulator runs, and tokens signed by them stay good.
func (s *Simulator) RotateSigningKey() error { return s.addSigningKey(nil) }

func (s *Simulator) addSigningKey(key *rsa.PrivateKey) error {
	if key == nil {
		var err error
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return fmt.Errorf("making HelseID's signing key: %w", err)
		}
	}
	jwk, err := publicJWK(key.Public())
	if err != nil {
		return fmt.Errorf("describing HelseID's signing key: %w", err)
	}
	kid, err := thumbprint(jwk)
	if err != nil {
		return fmt.Errorf("naming HelseID's signing key: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, signingKey{key: key, kid: kid})
	return nil
}

// signToken signs by the newest key.
func (s *Simulator) signToken(typ string, claims map[string]any) (string, error) {
	s.mu.Lock()
	newest := s.keys[len(s.keys)-1]
	s.mu.Unlock()
	return sign(newest.key, "RS256", newest.kid, map[string]any{"typ": typ}, claims)
}

// verifyAccessToken checks that raw is an access token of this HelseID that is
// good now: typ, signature, iss, nbf and exp (no leeway: both stand-ins share a
// clock). Audience, scope and the key binding are for the API to judge.
func (s *Simulator) verifyAccessToken(raw string) (map[string]any, error) {
	claims, err := s.verifyOwn(raw, "at+jwt")
	if err != nil {
		return nil, err
	}
	now := float64(s.now().UnixMilli()) / 1000
	exp, ok := seconds(claims, "exp")
	if !ok {
		return nil, errors.New("the token has no exp")
	}
	if now >= exp {
		return nil, fmt.Errorf("the token expired %.0f s ago", now-exp)
	}
	if nbf, ok := seconds(claims, "nbf"); ok && nbf > now+1 {
		return nil, fmt.Errorf("the token is not valid before %.0f s from now", nbf-now)
	}
	return claims, nil
}

// verifyOwn checks what holds for every token of this HelseID, expired or not.
func (s *Simulator) verifyOwn(raw, typ string) (map[string]any, error) {
	parsed, err := parseJWS(raw)
	if err != nil {
		return nil, err
	}
	if got := text(parsed.header, "typ"); got != typ {
		return nil, fmt.Errorf("the token's typ is %q, %q is wanted", got, typ)
	}
	if parsed.alg() != "RS256" {
		return nil, fmt.Errorf("the token's alg is %q, HelseID signs with RS256", parsed.alg())
	}
	key := s.signingKeyByID(text(parsed.header, "kid"))
	if key == nil {
		return nil, errors.New("the token's kid is none of HelseID's keys")
	}
	if err := parsed.verify(key); err != nil {
		return nil, err
	}
	if iss := text(parsed.claims, "iss"); iss != s.options.Issuer {
		return nil, fmt.Errorf("the token's iss is %q, HelseID is %q", iss, s.options.Issuer)
	}
	return parsed.claims, nil
}

func (s *Simulator) signingKeyByID(kid string) crypto.PublicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, candidate := range s.keys {
		if candidate.kid == kid {
			return candidate.key.Public()
		}
	}
	return nil
}
