package store

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/zalando/go-keyring"
)

const (
	// itemSize bounds one item of a key store, in bytes. Windows takes 2560; what
	// macOS takes is a command line of 4096 that holds the item in base64.
	itemSize = 2048
	// inlineSize is how much text fits into the head beside its other members.
	inlineSize = itemSize - 256
	// maxParts bounds a value: half a megabyte.
	maxParts = 256
)

// errBroken says that what lies in the key store is not what was once written: a
// write was cut off, or somebody else changed it.
var errBroken = errors.New("an entry of the key store is damaged")

// keyStore is a key store of an operating system: small secrets, found by a
// service and the name of an item. A missing one is [keyring.ErrNotFound].
type keyStore interface {
	Set(service, item, secret string) error
	Get(service, item string) (string, error)
	Delete(service, item string) error
	DeleteAll(service string) error
}

// vault keeps values of any size in a key store whose items are small. A value
// has a head, and parts where it does not fit into it. The parts of a new value
// are written beside those of the old one, then the head turns to them, then the
// old parts go: a write that is cut off leaves the old value whole. The head
// carries a hash of the value, so that parts of two writes never pass for one.
//
// Items are ASCII: some key stores take secrets for text. It is not safe for
// concurrent use.
type vault struct {
	items   keyStore
	service string
}

// head is the item that stands for a value.
type head struct {
	Until time.Time `json:"until,omitzero"` // zero = for ever
	Sum   []byte    `json:"sum"`            // SHA-256 of the value
	Text  string    `json:"text,omitempty"` // the value in base64, where it fits
	Side  string    `json:"side,omitempty"` // which parts hold it otherwise: a or b
	Parts int       `json:"parts,omitempty"`
}

// get reads a value and the end of its time. Its errors are
// [keyring.ErrNotFound], errBroken, and those of a key store that does not answer.
func (v *vault) get(name string) ([]byte, time.Time, error) {
	h, err := v.head(name)
	if err != nil {
		return nil, time.Time{}, err
	}
	text := h.Text
	for i := range h.Parts {
		part, err := v.items.Get(v.service, partName(name, h.Side, i))
		if errors.Is(err, keyring.ErrNotFound) {
			return nil, time.Time{}, errBroken
		}
		if err != nil {
			return nil, time.Time{}, err
		}
		text += part
	}
	value, err := base64.StdEncoding.DecodeString(text)
	if sum := sha256.Sum256(value); err != nil || string(sum[:]) != string(h.Sum) {
		return nil, time.Time{}, errBroken
	}
	return value, h.Until, nil
}

func (v *vault) head(name string) (head, error) {
	var h head
	text, err := v.items.Get(v.service, name)
	if err != nil {
		return h, err
	}
	if json.Unmarshal([]byte(text), &h) != nil || h.Parts < 0 || h.Parts > maxParts {
		return head{}, errBroken
	}
	return h, nil
}

// put writes a value; until zero means for ever. After an error the old value is
// still there, or the new one.
func (v *vault) put(name string, value []byte, until time.Time) error {
	old, err := v.head(name)
	if unanswered(err) {
		return err
	}
	sum := sha256.Sum256(value)
	h := head{Until: until.Round(0), Sum: sum[:]}
	if text := base64.StdEncoding.EncodeToString(value); len(text) <= inlineSize {
		h.Text = text
	} else if h.Side, h.Parts, err = v.putParts(name, otherSide(old.Side), text); err != nil {
		return err
	}
	encoded, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := v.items.Set(v.service, name, string(encoded)); err != nil {
		return err
	}
	// The new value stands. What is left of the old one is the next write's, or the
	// next start's, to clear when that fails now.
	_ = v.removeParts(name, old.Side, old.Parts)
	return nil
}

func (v *vault) putParts(name, side, text string) (string, int, error) {
	if len(text) > maxParts*itemSize {
		return "", 0, fmt.Errorf("a value of %d bytes is too large for a key store", len(text))
	}
	n := 0
	for ; text != ""; n++ {
		part := text[:min(itemSize, len(text))]
		text = text[len(part):]
		if err := v.items.Set(v.service, partName(name, side, n), part); err != nil {
			return "", 0, err
		}
	}
	return side, n, nil
}

// remove takes a value away. The head goes first: without it the rest is nothing.
func (v *vault) remove(name string) error {
	h, err := v.head(name)
	if unanswered(err) {
		return err
	}
	if err := v.forget(name); err != nil {
		return err
	}
	return errors.Join(v.removeParts(name, h.Side, h.Parts), v.clear(name, "a", 0), v.clear(name, "b", 0))
}

// tidy removes parts that a write which was cut off left beside a value.
func (v *vault) tidy(name string) error {
	h, err := v.head(name)
	if err != nil {
		return err
	}
	first := map[string]int{h.Side: h.Parts}
	return errors.Join(v.clear(name, "a", first["a"]), v.clear(name, "b", first["b"]))
}

// clear removes the parts of a side from the given one on, however many there are.
func (v *vault) clear(name, side string, from int) error {
	n := from
	for ; n <= maxParts; n++ {
		_, err := v.items.Get(v.service, partName(name, side, n))
		if errors.Is(err, keyring.ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
	}
	for i := n - 1; i >= from; i-- { // from behind: what is left when this is cut off is found again
		if err := v.forget(partName(name, side, i)); err != nil {
			return err
		}
	}
	return nil
}

// removeParts removes the first n parts of a side, the last of them first.
func (v *vault) removeParts(name, side string, n int) error {
	for i := n - 1; i >= 0; i-- {
		if err := v.forget(partName(name, side, i)); err != nil {
			return err
		}
	}
	return nil
}

// forget deletes an item; one that is not there is no error.
func (v *vault) forget(item string) error {
	if err := v.items.Delete(v.service, item); !errors.Is(err, keyring.ErrNotFound) {
		return err
	}
	return nil
}

// removeAll empties the vault, of what nobody remembers too.
func (v *vault) removeAll() error { return v.items.DeleteAll(v.service) }

// unanswered says whether an error is the key store's, not the value's.
func unanswered(err error) bool {
	return err != nil && !errors.Is(err, keyring.ErrNotFound) && !errors.Is(err, errBroken)
}

func partName(name, side string, i int) string { return name + "/" + side + strconv.Itoa(i) }

func otherSide(side string) string {
	if side == "a" {
		return "b"
	}
	return "a"
}
