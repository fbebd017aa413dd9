package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// An entry of a shared store, byte by byte:
//
//	0      format
//	1-4    which key sealed it
//	5-12   fence, big endian: the server keeps and compares it
//	13-24  nonce; its first eight bytes are the version, which the server compares
//	25-    sealed: length of the ID (uvarint), ID, value; then the tag
//
// The additional data are format, key and the entry's own name. Format, fence and
// version stand in clear because the server's scripts go by them. An attacker who
// can write to the store gains nothing by that: who can write can remove, too.
const (
	// format is what this version writes. It reads every format up to this one. There
	// will be none from formats on: what begins so is no entry.
	format    = 1
	formats   = 32
	fenceAt   = 5
	nonceAt   = 13
	sealedAt  = 25
	keyLength = 32
)

// ErrUnreadable says that an entry is there which this sidecar can't open: it was
// sealed with a key that is not in the list, or by a newer version of the sidecar.
// Nothing but a Delete touches such an entry of a newer version.
var ErrUnreadable = errors.New("an entry of the shared store is sealed with an unknown key, or in a newer format")

// errDamaged says that an entry was cut off, changed, or moved from elsewhere.
var errDamaged = errors.New("an entry of the shared store is damaged, or was put there by somebody else")

// sealer names and seals the entries of a shared store.
type sealer struct {
	naming []byte // the key of the names
	space  string
	keys   []sealKey // the first seals, all open
}

type sealKey struct {
	id   string // four bytes
	root []byte
}

// newSealer derives what it needs: each key serves one purpose.
func newSealer(keys [][]byte, names []byte, space string) (*sealer, error) {
	if len(keys) == 0 {
		return nil, errors.New("a shared store needs a key")
	}
	if names == nil {
		names = keys[len(keys)-1]
	}
	if len(names) != keyLength {
		return nil, fmt.Errorf("the key of the names in the shared store has %d bytes instead of %d", len(names), keyLength)
	}
	s := &sealer{naming: derive(names, "names", keyLength), space: space}
	for i, key := range keys {
		if len(key) != keyLength {
			return nil, fmt.Errorf("key %d of the shared store has %d bytes instead of %d", i+1, len(key), keyLength)
		}
		s.keys = append(s.keys, sealKey{string(derive(key, "key id", 4)), derive(key, "seal", keyLength)})
	}
	return s, nil
}

func derive(key []byte, purpose string, size int) []byte {
	out, err := hkdf.Key(sha256.New, key, nil, "sfm-sidecar shared store: "+purpose, size)
	if err != nil {
		panic("BUG: " + err.Error()) // only for sizes beyond 8160 bytes
	}
	return out
}

// namesID tells naming keys apart. It is no secret.
func (s *sealer) namesID() string {
	return base64.RawURLEncoding.EncodeToString(derive(s.naming, "names id", 9))
}

// tag is the keyed hash that stands for an ID. In a cluster all that has one ID
// lies on one node: entries, locks, channels.
func (s *sealer) tag(id string) string {
	mac := hmac.New(sha256.New, s.naming)
	_, _ = fmt.Fprintf(mac, "%d:%s%s", len(s.space), s.space, id)
	return "{" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16]) + "}"
}

// name is what an entry is called in the store. The kind is a word of the program
// and stands in clear.
func (s *sealer) name(key Key) string { return namePrefix(key.Kind) + s.tag(key.ID) }

func namePrefix(kind string) string { return "sfm:" + kind + ":" }

// cipher is made of a key for this one entry. So an entry's nonces, which are
// random, never meet those of another, and a key is good for any number of entries.
func (k sealKey) cipher(name string) cipher.AEAD {
	mac := hmac.New(sha256.New, k.root)
	_, _ = mac.Write([]byte(name))
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return aead
}

func additional(keyID, name string) []byte { return append([]byte{format}, keyID+name...) }

// seal makes an entry; its fence is 0.
func (s *sealer) seal(name, id string, value []byte) []byte {
	k := s.keys[0]
	out := make([]byte, sealedAt, sealedAt+binary.MaxVarintLen64+len(id)+len(value)+16)
	out[0] = format
	copy(out[1:fenceAt], k.id)
	nonce := out[nonceAt:sealedAt]
	for binary.BigEndian.Uint64(nonce) == 0 { // 0 is no version
		_, _ = rand.Read(nonce) // never fails
	}
	plain := binary.AppendUvarint(nil, uint64(len(id)))
	plain = append(append(plain, id...), value...)
	return k.cipher(name).Seal(out, nonce, plain, additional(k.id, name))
}

// open is the way back: the ID, the value and its version. Its errors are
// ErrUnreadable and errDamaged.
func (s *sealer) open(name string, sealed []byte) (id string, e Entry, err error) {
	if len(sealed) > 0 && sealed[0] > format && sealed[0] < formats {
		return "", Entry{}, fmt.Errorf("%w (format %d)", ErrUnreadable, sealed[0])
	}
	if len(sealed) < sealedAt || sealed[0] != format {
		return "", Entry{}, errDamaged
	}
	keyID, nonce := string(sealed[1:fenceAt]), sealed[nonceAt:sealedAt]
	for _, k := range s.keys {
		if k.id != keyID {
			continue
		}
		plain, err := k.cipher(name).Open(nil, nonce, sealed[sealedAt:], additional(k.id, name))
		if err != nil {
			return "", Entry{}, errDamaged
		}
		size, n := binary.Uvarint(plain)
		if n <= 0 || size > uint64(len(plain)-n) {
			return "", Entry{}, errDamaged
		}
		rest := plain[n:]
		return string(rest[:size]), Entry{Value: rest[size:], Version: binary.BigEndian.Uint64(nonce)}, nil
	}
	return "", Entry{}, fmt.Errorf("%w (key %x)", ErrUnreadable, keyID)
}

// openFor opens the entry of a key.
func (s *sealer) openFor(key Key, sealed []byte) (Entry, error) {
	id, e, err := s.open(s.name(key), sealed)
	if err == nil && id != key.ID {
		return Entry{}, errDamaged
	}
	return e, err
}
