package register

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	maxUnit = 1 << 20 // bytes of one unit's answer; real ones have a few thousand
	// maxLevels bounds the way up. Enhetsregisteret has four or five levels in the largest public bodies.
	maxLevels = 16
)

// Brreg is Enhetsregisteret of Brønnøysundregistrene, by its open API. Safe for concurrent use.
type Brreg struct {
	asker *asker
	units memory[Unit]
}

// Unit is one unit of Enhetsregisteret.
type Unit struct {
	Orgnr, Name string
	// Parent is the organization number of the unit right above; "" = none, or none is known of a struck-off one.
	Parent string
	// SubUnit says that it is one of the underenheter: a place where work is done, never an entity of its own.
	SubUnit bool
	// Deleted says that it has been struck off; DeletedOn is the day, zero where the register does not say.
	Deleted   bool
	DeletedOn time.Time
}

// Top reports a unit with no other above it: what may be a parent at HelseID.
func (u Unit) Top() bool { return !u.SubUnit && u.Parent == "" }

// NewBrreg checks the options. It asks nothing yet.
func NewBrreg(o Options) (*Brreg, error) {
	a, err := newAsker("Enhetsregisteret", o)
	return &Brreg{asker: a}, err
}

// Unit looks up an organization number: among the top-level units and their parts first, then among the sub-units.
// ErrUnknown says that it is neither; another error that the register could not be asked. Answers are kept.
func (b *Brreg) Unit(ctx context.Context, orgnr string) (Unit, error) {
	if !isNumber(orgnr, 9) {
		return Unit{}, fmt.Errorf("looking up %q in Enhetsregisteret: it has not nine digits: %w", orgnr, ErrUnknown)
	}
	return b.units.get(ctx, orgnr, func() (Unit, error) {
		unit, err := b.look(ctx, "enheter", orgnr)
		if errors.Is(err, ErrUnknown) {
			unit, err = b.look(ctx, "underenheter", orgnr)
			unit.SubUnit = true
		}
		if err != nil {
			return Unit{}, err
		}
		return unit, nil
	})
}

// look asks one of the two collections.
func (b *Brreg) look(ctx context.Context, collection, orgnr string) (Unit, error) {
	got, err := b.asker.ask(ctx, question{method: http.MethodGet, path: collection + "/" + orgnr, limit: maxUnit})
	switch {
	case err != nil:
		return Unit{}, err
	case got.status == http.StatusGone:
		return Unit{Orgnr: orgnr, Deleted: true}, nil
	case got.status != http.StatusOK:
		return Unit{}, ErrUnknown
	}
	unit, ok := readUnit(got.body)
	if !ok || unit.Orgnr != orgnr {
		return Unit{}, &Error{Register: b.asker.name, Status: got.status, Problem: "its answer is not about the unit that was asked for", Mend: "check its address"}
	}
	return unit, nil
}

// readUnit reads the members that matter of a unit.
func readUnit(body []byte) (Unit, bool) {
	var read struct {
		Orgnr   string `json:"organisasjonsnummer"`
		Name    string `json:"navn"`
		Parent  string `json:"overordnetEnhet"`
		Deleted string `json:"slettedato"`
	}
	if json.Unmarshal(body, &read) != nil || !isNumber(read.Orgnr, 9) || read.Parent != "" && !isNumber(read.Parent, 9) {
		return Unit{}, false
	}
	unit := Unit{Orgnr: read.Orgnr, Name: strings.ToValidUTF8(strings.TrimSpace(read.Name), "\uFFFD"), Parent: read.Parent, Deleted: read.Deleted != ""}
	if unit.Deleted {
		unit.DeletedOn, _ = time.Parse(time.DateOnly, read.Deleted) // the day is for people; without it it is struck off all the same
	}
	return unit, true
}

// Lineage is a unit and what is above it.
type Lineage struct {
	// Units begins with the unit asked about; each next one is right above.
	Units []Unit
	// Whole says that the last unit has none above it. It is false when the register's units lead in a circle, name one
	// that it does not know, or go up for more than 16 levels.
	Whole bool
}

// Under reports whether the unit asked about is really below another, over however many levels.
func (l Lineage) Under(orgnr string) bool {
	for i, unit := range l.Units {
		if i > 0 && unit.Orgnr == orgnr {
			return true
		}
	}
	return false
}

// Lineage follows a unit upwards. ErrUnknown says that the register does not know the unit itself.
func (b *Brreg) Lineage(ctx context.Context, orgnr string) (Lineage, error) {
	var l Lineage
	seen := make(map[string]bool)
	for next := orgnr; len(l.Units) < maxLevels; {
		unit, err := b.Unit(ctx, next)
		switch {
		case errors.Is(err, ErrUnknown) && len(l.Units) > 0:
			return l, nil
		case err != nil:
			return Lineage{}, err
		}
		l.Units, seen[next] = append(l.Units, unit), true
		if unit.Parent == "" {
			l.Whole = true
			return l, nil
		}
		if next = unit.Parent; seen[next] {
			return l, nil
		}
	}
	return l, nil
}

// Below reports whether child is really below parent, over however many levels. See [Brreg.Lineage], which also tells
// what is above instead.
func (b *Brreg) Below(ctx context.Context, child, parent string) (bool, error) {
	l, err := b.Lineage(ctx, child)
	return l.Under(parent), err
}

// isNumber reports whether s is so many digits.
func isNumber(s string, digits int) bool {
	return len(s) == digits && strings.Trim(s, "0123456789") == ""
}
