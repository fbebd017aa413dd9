package dpop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
)

// coordinate is the length of a P-256 coordinate, and of each half of a signature, in bytes.
const coordinate = 32

// Key is an EC P-256 key for proofs (ES256). It is safe for concurrent use, and prints as its thumbprint only.
type Key struct {
	private    *ecdsa.PrivateKey
	header     []byte // the base64url of the JOSE header, the same in every proof
	thumbprint string
}

// NewKey makes a new key.
func NewKey() (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a DPoP key: %w", err)
	}
	return KeyFrom(private)
}

// KeyFrom takes a key that exists, which must not be changed afterwards. It refuses keys of any other curve, and keys
// that fail to make a signature which their own public half confirms.
func KeyFrom(private *ecdsa.PrivateKey) (*Key, error) {
	if private == nil || private.Curve != elliptic.P256() {
		return nil, errors.New("taking a DPoP key: the key is not one of the curve P-256")
	}
	point, err := private.PublicKey.Bytes() // 4, x, y (SEC 1 section 2.3.3)
	if err != nil || len(point) != 1+2*coordinate {
		return nil, errors.New("taking a DPoP key: the public half is not a point of the curve")
	}
	if err := tryKey(private); err != nil {
		return nil, fmt.Errorf("taking a DPoP key: %w", err)
	}
	x := base64.RawURLEncoding.EncodeToString(point[1 : 1+coordinate])
	y := base64.RawURLEncoding.EncodeToString(point[1+coordinate:])
	header := `{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"EC","crv":"P-256","x":"` + x + `","y":"` + y + `"}}`
	return &Key{
		private:    private,
		header:     base64.RawURLEncoding.AppendEncode(nil, []byte(header)),
		thumbprint: thumbprint(x, y),
	}, nil
}

// tryKey makes a signature and checks it, so that a broken key is found at the start and not in the middle of a call.
func tryKey(private *ecdsa.PrivateKey) error {
	digest := sha256.Sum256([]byte("trial"))
	der, err := private.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return errors.New("the key cannot sign")
	}
	if !ecdsa.VerifyASN1(&private.PublicKey, digest[:], der) {
		return errors.New("the public half belongs to another key")
	}
	return nil
}

// PKCS8 is the private key in the form for whoever keeps it. What is kept must be sealed.
func (k *Key) PKCS8() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(k.private) }

// Thumbprint is the key's name in a token: the value of cnf.jkt (RFC 7638, SHA-256, base64url; RFC 9449 section 6.1).
func (k *Key) Thumbprint() string { return k.thumbprint }

// String names the key by its thumbprint and shows nothing of the private half.
func (k *Key) String() string { return "dpop.Key(" + k.thumbprint + ")" }

// GoString is [Key.String], for %#v.
func (k *Key) GoString() string { return k.String() }

// thumbprint hashes the required members in the order of RFC 7638 section 3.2.
func thumbprint(x, y string) string {
	hash := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + x + `","y":"` + y + `"}`))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}
