// Package keyfile is the file that holds the client's private keys: a JWK with one, or a JWKS with several, of which the
// first signs. It makes keys, and changes the file so that no crash, and no second process, can lose one.
//
// # Rotating
//
// A new key goes through the file in steps, each of which is on the disk before the next begins:
//
//	old                    the old key signs
//	old, new (pending)     the new key is kept; only now is its public half sent to HelseID
//	new, old (replaced)    HelseID takes assertions by the new key; the old one stays at hand
//	new                    the old one has ended at HelseID, and a later run drops it
//
// Whoever finds a pending key takes up the work where it was left: HelseID's own list tells whether it ever heard of
// the key. So there is no moment at which the only copy of a registered key is in memory, and none at which the file's
// first key is one that HelseID was not seen to take.
//
// The members that we add to a JWK are `exp` (when its registration ends, in seconds since 1970), and two that no other
// program knows: `sidecar_pending` and `sidecar_replaced`. RFC 7517 §4 has readers ignore what they do not know.
package keyfile

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// maxFile is the most that the sidecar reads of a client key.
const maxFile = 64 << 10

// What can't be done with a file. The texts say what to do instead.
var (
	// ErrNotJWK is a file in another form, such as PEM, which has no room for a second key.
	ErrNotJWK = errors.New("the key file is no JWK or JWKS; make a new key with \"sidecar keygen\", register it, and use that file")
	// ErrReadOnly is a folder that can't be written to.
	ErrReadOnly = errors.New("the key file's folder can't be written to, as with a mounted Kubernetes Secret; " +
		"run this where the file is kept, or make a key with \"sidecar keygen\", register its public half at HelseID Selvbetjening, and replace the Secret")
	// ErrBusy is another process at work on the same file.
	ErrBusy = errors.New("another process is changing the key file; wait until it has ended")
	// ErrChanged is a file that was changed by something that takes no lock.
	ErrChanged = errors.New("the key file was changed meanwhile; run this again")
)

// Key is one key of the file. It prints as its kid.
type Key struct {
	// ID is its kid, else the thumbprint; Thumbprint that of RFC 7638, SHA-256 in base64url; Algorithm its alg, else "".
	ID, Thumbprint, Algorithm string
	// Expires is when its registration ends; zero = not known.
	Expires time.Time
	// Pending says that it is new, and HelseID may not have it yet.
	Pending bool
	// Replaced is when another key took its place; zero = it signs, or nobody knows.
	Replaced time.Time

	members map[string]json.RawMessage
	jwk     jose.JSONWebKey // of the private key; the zero one of an entry that is something else
	alone   bool            // the file is this JWK, and no JWKS
}

// String names the key without showing it.
func (k Key) String() string { return "key " + k.ID }

// GoString names the key without showing it.
func (k Key) GoString() string { return k.String() }

// Private is the JWK with its private members.
func (k Key) Private() []byte {
	raw, err := json.Marshal(k.members)
	if err != nil {
		panic("BUG: the members of a key are no JSON")
	}
	return raw
}

// Public is the JWK of the public half with kid, use and alg: what is registered at HelseID.
func (k Key) Public() ([]byte, error) {
	public := k.jwk.Public()
	if !public.Valid() {
		return nil, errors.New("the key has no public half")
	}
	public.KeyID, public.Use, public.Algorithm = k.ID, "sig", k.Algorithm
	return public.MarshalJSON()
}

// parseKey reads one entry. An entry that is no private key is kept as it is.
func parseKey(raw json.RawMessage) (Key, error) {
	k := Key{}
	if json.Unmarshal(raw, &k.members) != nil || k.members == nil {
		return k, ErrNotJWK
	}
	k.ID = k.text("kid")
	k.Algorithm = k.text("alg")
	k.Expires, k.Replaced = k.moment("exp"), k.moment("sidecar_replaced")
	k.Pending = string(k.members["sidecar_pending"]) == "true"
	if k.jwk.UnmarshalJSON(raw) != nil || !k.jwk.Valid() || k.jwk.IsPublic() {
		k.jwk = jose.JSONWebKey{} // go-jose's error is left out: it can quote the key
		return k, nil
	}
	sum, err := k.jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return k, ErrNotJWK
	}
	k.Thumbprint = base64.RawURLEncoding.EncodeToString(sum)
	if k.ID == "" {
		k.ID = k.Thumbprint
	}
	return k, nil
}

func (k Key) private() bool { return k.Thumbprint != "" }

func (k Key) text(member string) string {
	var s string
	if json.Unmarshal(k.members[member], &s) != nil {
		return ""
	}
	return s
}

func (k Key) moment(member string) time.Time {
	var seconds int64
	if json.Unmarshal(k.members[member], &seconds) != nil || seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// mark writes what we know of the key into its members. The key it was taken from is not changed.
func (k Key) mark() Key {
	members := make(map[string]json.RawMessage, len(k.members)+3)
	for name, value := range k.members {
		members[name] = value
	}
	put := func(name string, there bool, value string) {
		delete(members, name)
		if there {
			members[name] = json.RawMessage(value)
		}
	}
	put("exp", !k.Expires.IsZero(), fmt.Sprint(k.Expires.Unix()))
	put("sidecar_replaced", !k.Replaced.IsZero(), fmt.Sprint(k.Replaced.Unix()))
	put("sidecar_pending", k.Pending, "true")
	k.members = members
	return k
}

// file is a key file as it was read.
type file struct {
	path    string // with every link followed
	info    os.FileInfo
	content []byte
	keys    []Key // at least one; the first is a private key
}

// Read returns the keys of a file; the first one signs.
func Read(path string) ([]Key, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	return f.keys, nil
}

func open(path string) (*file, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("reading the key file: %w", err)
	}
	f := &file{path: real}
	if f.content, f.info, err = content(real); err != nil {
		return nil, fmt.Errorf("reading the key file: %w", err)
	}
	f.keys, err = parse(f.content)
	return f, err
}

// content reads a file whole, and what it is.
func content(path string) ([]byte, os.FileInfo, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return nil, nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if len(raw) > maxFile {
		err = errors.New("it is larger than 64 KiB")
	}
	return raw, info, err
}

// parse reads a JWK or a JWKS.
func parse(raw []byte) ([]Key, error) {
	var document map[string]json.RawMessage
	if json.Unmarshal(raw, &document) != nil {
		return nil, ErrNotJWK
	}
	entries := []json.RawMessage{raw}
	list, several := document["keys"]
	if several {
		entries = nil // or json would write into raw
		if json.Unmarshal(list, &entries) != nil {
			return nil, ErrNotJWK
		}
	}
	var keys []Key
	for _, entry := range entries {
		key, err := parseKey(entry)
		if err != nil {
			return nil, err
		}
		key.alone = !several
		keys = append(keys, key)
	}
	if len(keys) == 0 || !keys[0].private() {
		return nil, errors.New("the first key of the key file is no private JWK")
	}
	return keys, nil
}

// compose writes a JWKS, or the JWK that the file was.
func compose(keys []Key) ([]byte, error) {
	var set struct {
		Keys []map[string]json.RawMessage `json:"keys"`
	}
	for _, k := range keys {
		set.Keys = append(set.Keys, k.mark().members)
	}
	var document any = set
	if len(keys) == 1 && keys[0].alone {
		document = set.Keys[0]
	}
	raw, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return nil, errors.New("composing the key file: a key is no JSON")
	}
	if raw = append(raw, '\n'); len(raw) > maxFile {
		return nil, errors.New("composing the key file: it would be larger than 64 KiB; take keys out that are no longer used")
	}
	again, err := parse(raw)
	if err != nil || again[0].ID != keys[0].ID || len(again) != len(keys) {
		return nil, errors.New("BUG: the key file would not read as it was meant")
	}
	return raw, nil
}

// unchanged reports whether the file still is what was read.
func (f *file) unchanged() bool {
	now, _, err := content(f.path)
	return err == nil && bytes.Equal(now, f.content)
}
