package keyfile

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Default is the algorithm of a new key where none is named: RSA with 4096 bits, as HelseID's own library makes, and
// the only kind that HelseID Selvbetjening's API was ever seen to take. That it signs slowly is no matter: this key signs
// once for each token, and the proofs of every call are signed with another.
const Default = "PS256"

const rsaBits = 4096

var curves = map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}

// Algorithms are those that Generate knows.
func Algorithms() []string { return []string{"ES256", "ES384", "ES512", Default} }

// Generate makes a key. Its kid is its RFC 7638 thumbprint, so that no two keys have the same.
func Generate(algorithm string) (Key, error) {
	if !slices.Contains(Algorithms(), algorithm) {
		return Key{}, fmt.Errorf("making a key: the algorithm must be one of %s", strings.Join(Algorithms(), ", "))
	}
	private, err := newPrivate(algorithm)
	if err != nil {
		return Key{}, fmt.Errorf("making a key: %w", err)
	}
	jwk := jose.JSONWebKey{Key: private, Algorithm: algorithm, Use: "sig"}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return Key{}, errors.New("making a key: it has no thumbprint")
	}
	jwk.KeyID = base64.RawURLEncoding.EncodeToString(sum)
	raw, err := jwk.MarshalJSON()
	if err != nil {
		return Key{}, errors.New("making a key: it can't be written as a JWK")
	}
	return parseKey(raw)
}

func newPrivate(algorithm string) (any, error) {
	if curve, ok := curves[algorithm]; ok {
		return ecdsa.GenerateKey(curve, rand.Reader)
	}
	return rsa.GenerateKey(rand.Reader, rsaBits)
}

// Create writes a key to a new file that only its owner can read, durably. A file that is there already is never
// overwritten: [os.ErrExist].
func Create(path string, k Key) (err error) {
	raw, err := json.MarshalIndent(k.members, "", "  ")
	if err != nil {
		return errors.New("writing the key: it is no JSON")
	}
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing the key: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path) // half a key is none
			err = fmt.Errorf("writing the key: %w", err)
		}
	}()
	if err := fill(w, append(raw, '\n')); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// fill writes a file to the disk, and closes it.
func fill(w *os.File, content []byte) error {
	_, err := w.Write(content)
	if err == nil {
		err = w.Sync()
	}
	return errors.Join(err, w.Close())
}
