package helseid

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// unknownKeyPause bounds how often tokens with an invented kid can make us fetch the key set.
	unknownKeyPause = 30 * time.Second
	maxKeys         = 100
	minRSABits      = 2048
)

// signedWith are the algorithms HelseID may sign with; "none" and the symmetric ones are not among them (RFC 8725
// §3.1 and §3.2).
var signedWith = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512,
}

// Why a signature is not accepted.
var (
	errUnknownKey = errors.New("no key of HelseID's has this kid")
	errSignature  = errors.New("the signature is wrong")
)

// keySet is HelseID's JWKS. It implements the KeySet of zitadel/oidc, whose own one fails whole when one key is of a
// kind it does not know, asks HelseID again for each unknown kid, and lets one caller that leaves fail the others.
type keySet struct {
	kept kept[[]jose.JSONWebKey]
}

// fetchKeys reads the key set, key by key: those that go-jose refuses, and those we would not trust, are left out.
func (c *Client) fetchKeys(ctx context.Context) ([]jose.JSONWebKey, *Error) {
	md, err := c.metadata.get(ctx)
	if e, ok := errors.AsType[*Error](err); ok {
		return nil, e
	} else if err != nil {
		return nil, unavailable("timeout", "HelseID's metadata did not come in time")
	}
	body, e := c.get(ctx, md.jwks)
	if e != nil {
		return nil, e
	}
	keys := parseKeySet(body)
	if len(keys) == 0 {
		return nil, unavailable("keys-garbled", "HelseID's key set has no usable key")
	}
	return keys, nil
}

// parseKeySet returns the usable signature keys of a JWKS (RFC 7517 §5), of which none may be usable.
func parseKeySet(body []byte) []jose.JSONWebKey {
	doc, err := parseMembers(body)
	if err != nil {
		return nil
	}
	var raw []json.RawMessage
	if json.Unmarshal(doc["keys"], &raw) != nil {
		return nil
	}
	var keys []jose.JSONWebKey
	for _, r := range raw[:min(len(raw), maxKeys)] {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(r) == nil && (k.Use == "" || k.Use == "sig") && trusted(k.Key) {
			keys = append(keys, k)
		}
	}
	return keys
}

// trusted admits public keys of the kinds HelseID signs with.
func trusted(key any) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey:
		return true
	}
	return false
}

// VerifySignature returns the payload if one of HelseID's keys signed it. An unknown kid may be a key that HelseID
// took into use since, so the set is fetched again, at most every 30 seconds. An *Error means the keys can't be had.
func (s *keySet) VerifySignature(ctx context.Context, jws *jose.JSONWebSignature) ([]byte, error) {
	if len(jws.Signatures) != 1 {
		return nil, errSignature
	}
	keys, err := s.kept.get(ctx)
	if err != nil {
		return nil, err
	}
	payload, err := verify(keys, jws)
	if !errors.Is(err, errUnknownKey) {
		return payload, err
	}
	if keys, err = s.kept.renew(ctx, unknownKeyPause); err != nil {
		return nil, err
	}
	return verify(keys, jws)
}

func verify(keys []jose.JSONWebKey, jws *jose.JSONWebSignature) ([]byte, error) {
	header, err := jws.Signatures[0].Header, errUnknownKey
	for i := range keys {
		if header.KeyID != "" && keys[i].KeyID != header.KeyID {
			continue
		}
		err = errSignature
		if keys[i].Algorithm != "" && keys[i].Algorithm != header.Algorithm {
			continue
		}
		if payload, fault := jws.Verify(&keys[i]); fault == nil {
			return payload, nil
		}
	}
	return nil, err
}
