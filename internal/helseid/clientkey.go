package helseid

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// assertionType is the header `typ` of our assertions, as HelseID's documentation has it.
const assertionType = "client-authentication+jwt"

const maxKeyFile = 64 << 10

// ClientKey is the client's private key: what proves to HelseID who we are. It prints as its kid only.
type ClientKey struct {
	kid, alg, thumbprint string
	strength             string
	signer               jose.Signer  // safe for concurrent use: it keeps nothing between signatures
	notAfter             atomic.Int64 // in seconds since 1970; 0 = not known. It may come to be known later
}

// KeyID is the `kid` of the assertions: that of the JWK, else the RFC 7638 thumbprint.
func (k *ClientKey) KeyID() string { return k.kid }

// Algorithm is the JWS algorithm of the assertions, PS256 for instance.
func (k *ClientKey) Algorithm() string { return k.alg }

// Thumbprint is the RFC 7638 SHA-256 thumbprint in base64url.
func (k *ClientKey) Thumbprint() string { return k.thumbprint }

// NotAfter is when the key's registration at HelseID ends, as far as its JWK tells (the member `exp`, in seconds since
// 1970); zero when it does not.
func (k *ClientKey) NotAfter() time.Time {
	if seconds := k.notAfter.Load(); seconds > 0 {
		return time.Unix(seconds, 0)
	}
	return time.Time{}
}

// Strength is the kind of key and its size: "RSA, 3072 bits" or "EC, P-256".
func (k *ClientKey) Strength() string { return k.strength }

// String names the key without showing it.
func (k *ClientKey) String() string { return "client key " + k.kid }

// GoString names the key without showing it.
func (k *ClientKey) GoString() string { return k.String() }

// LogValue names the key without showing it.
func (k *ClientKey) LogValue() slog.Value { return slog.StringValue(k.kid) }

func (k *ClientKey) sign(payload []byte) (string, error) {
	jws, err := k.signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing the client assertion: %w", err)
	}
	return jws.CompactSerialize()
}

// ParseKeys reads a private client key: a JWK, a JWKS (its first key signs), or PKCS#8 in PEM. RSA must have 2048 bits
// or more, EC one of P-256, P-384 and P-521. A member `exp` says until when the key is registered. Errors say how to mend it and hold nothing of the key.
func ParseKeys(raw []byte) (*ClientKey, error) {
	raw = bytes.TrimSpace(raw)
	var jwk jose.JSONWebKey
	var notAfter int64
	var err error
	switch {
	case len(raw) == 0:
		return nil, errors.New("reading the client key: it is empty")
	case len(raw) > maxKeyFile:
		return nil, errors.New("reading the client key: it is larger than 64 KiB")
	case raw[0] == '{':
		jwk, notAfter, err = parseJWK(raw)
	default:
		jwk, err = parsePEM(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the client key: %w", err)
	}
	key, err := newClientKey(jwk)
	if err != nil {
		return nil, fmt.Errorf("reading the client key: %w", err)
	}
	key.notAfter.Store(notAfter)
	return key, nil
}

// parseJWK reads the key that signs, and its member exp.
func parseJWK(raw []byte) (jose.JSONWebKey, int64, error) {
	var jwk jose.JSONWebKey
	doc, err := parseMembers(raw)
	if err != nil {
		return jwk, 0, fmt.Errorf("the JWK is %w", err)
	}
	if doc.has("keys") {
		var keys []json.RawMessage
		if json.Unmarshal(doc["keys"], &keys) != nil || len(keys) == 0 {
			return jwk, 0, errors.New("the JWKS has no keys")
		}
		raw = keys[0]
		if doc, err = parseMembers(raw); err != nil {
			return jwk, 0, fmt.Errorf("the first key of the JWKS is %w", err)
		}
	}
	// go-jose's own texts are left out: they can quote the key.
	switch kty := doc.text("kty"); {
	case kty != "RSA" && kty != "EC":
		return jwk, 0, errors.New("kty must be RSA or EC")
	case !doc.has("d"):
		return jwk, 0, errors.New("it is the public half; the private JWK (with the member d) is needed")
	case jwk.UnmarshalJSON(raw) != nil || !jwk.Valid() || jwk.IsPublic():
		return jwk, 0, errors.New("the JWK's members do not make a private key")
	case jwk.Use != "" && jwk.Use != "sig":
		return jwk, 0, errors.New("its use must be sig")
	}
	return jwk, doc.unixTime("exp"), nil
}

func parsePEM(raw []byte) (jose.JSONWebKey, error) {
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return jose.JSONWebKey{}, errors.New("the PEM block PRIVATE KEY is not PKCS#8")
			}
			return jose.JSONWebKey{Key: key}, nil
		case "ENCRYPTED PRIVATE KEY":
			return jose.JSONWebKey{}, errors.New("the PEM key is encrypted; give it decrypted (openssl pkcs8)")
		case "RSA PRIVATE KEY", "EC PRIVATE KEY":
			return jose.JSONWebKey{}, errors.New("the PEM key must be PKCS#8 (openssl pkcs8 -topk8 -nocrypt)")
		}
	}
	return jose.JSONWebKey{}, errors.New("it is neither a JWK, a JWKS nor PEM with a private key")
}

func newClientKey(jwk jose.JSONWebKey) (*ClientKey, error) {
	usable, err := algorithms(jwk.Key)
	if err != nil {
		return nil, err
	}
	alg := jose.SignatureAlgorithm(jwk.Algorithm)
	if alg == "" {
		alg = usable[0]
	}
	if !slices.Contains(usable, alg) {
		return nil, fmt.Errorf("its alg does not fit the key; possible are %v", usable)
	}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, errors.New("it has no thumbprint")
	}
	thumbprint := base64.RawURLEncoding.EncodeToString(sum)
	if jwk.KeyID == "" {
		jwk.KeyID = thumbprint
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: jwk.Key, KeyID: jwk.KeyID}},
		(&jose.SignerOptions{}).WithType(assertionType))
	if err != nil {
		return nil, errors.New("it can't sign")
	}
	key := &ClientKey{kid: jwk.KeyID, alg: string(alg), thumbprint: thumbprint, strength: strength(jwk.Key), signer: signer}
	return key, key.try(jwk.Public())
}

// try signs once, so that halves that do not belong together are found at start and not by HelseID.
func (k *ClientKey) try(public jose.JSONWebKey) error {
	compact, err := k.sign([]byte(`{}`))
	if err != nil {
		return errors.New("it can't sign")
	}
	jws, err := jose.ParseSignedCompact(compact, signedWith)
	if err == nil {
		_, err = jws.Verify(public.Key)
	}
	if err != nil {
		return errors.New("its private and public halves do not belong together")
	}
	return nil
}

func strength(key any) string {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return fmt.Sprintf("RSA, %d bits", k.N.BitLen())
	case *ecdsa.PrivateKey:
		return "EC, " + k.Curve.Params().Name
	}
	return ""
}

// algorithms lists what a key can sign with, the one we choose first.
func algorithms(key any) ([]jose.SignatureAlgorithm, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() < minRSABits {
			return nil, fmt.Errorf("RSA keys need %d bits or more, this has %d", minRSABits, k.N.BitLen())
		}
		return []jose.SignatureAlgorithm{jose.PS256, jose.PS384, jose.PS512, jose.RS256, jose.RS384, jose.RS512}, nil
	case *ecdsa.PrivateKey: // RFC 7518 §3.4: the curve fixes the algorithm
		switch k.Curve {
		case elliptic.P256():
			return []jose.SignatureAlgorithm{jose.ES256}, nil
		case elliptic.P384():
			return []jose.SignatureAlgorithm{jose.ES384}, nil
		case elliptic.P521():
			return []jose.SignatureAlgorithm{jose.ES512}, nil
		}
	}
	return nil, errors.New("it must be RSA, or EC on P-256, P-384 or P-521")
}
