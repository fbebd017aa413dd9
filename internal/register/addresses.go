package register

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"
)

const (
	bulk     = 100     // HER-ids in one question, as the register allows
	maxBulk  = 8 << 20 // bytes of its answer
	maxAbove = 4       // levels a service or person may hang below its organization
)

// Kind is what a party of Adresseregisteret is.
type Kind string

// The kinds of parties, as the register names them.
const (
	KindOrganization Kind = "Organization"
	KindService      Kind = "Service"
	KindPerson       Kind = "Person"
)

// Party is one communication party of Adresseregisteret.
type Party struct {
	HERID, Name string
	Kind        Kind // "" = the register says something else, or nothing
	// Active is whether it is in use. A register that says nothing of it means that it is.
	Active bool
	// Orgnr is the organization number it hangs on: its own, else that of the nearest party above. "" = none was found.
	Orgnr string
	// Parent is the HER-id right above; "" = none. An organization has none, services and persons do.
	Parent string
}

// Addresses is NHN's Adresseregisteret, by its CommunicationParty API. Its Transport must authorize the calls, by a token
// for the audience nhn:cp-api with the scope nhn:cp-api/access-v2-dpop, and a proof. Safe for concurrent use.
type Addresses struct {
	asker *asker

	mu   sync.Mutex        // guards kept
	kept map[string]*Party // nil value = the register does not know it
}

// NewAddresses checks the options. It asks nothing yet.
func NewAddresses(o Options) (*Addresses, error) {
	a, err := newAsker("Adresseregisteret", o)
	return &Addresses{asker: a, kept: make(map[string]*Party)}, err
}

// Parties looks up HER-ids, a hundred in one question. A HER-id that is not in the answer is unknown to the register. The
// organization that a service or a person hangs on is looked up too. Answers are kept.
func (a *Addresses) Parties(ctx context.Context, herIDs []string) (map[string]Party, error) {
	wanted := herIDs
	for range 1 + maxAbove {
		if err := a.learn(ctx, wanted); err != nil {
			return nil, err
		}
		if wanted = a.above(herIDs); len(wanted) == 0 {
			break
		}
	}
	found := make(map[string]Party, len(herIDs))
	for _, id := range herIDs {
		if party, ok := a.inherit(id); ok {
			found[id] = party
		}
	}
	return found, nil
}

// learn asks about the HER-ids that nothing is known of yet.
func (a *Addresses) learn(ctx context.Context, herIDs []string) error {
	var missing []string
	a.mu.Lock()
	for _, id := range slices.Compact(slices.Sorted(slices.Values(herIDs))) {
		if _, known := a.kept[id]; !known && isHERID(id) {
			missing = append(missing, id)
		}
	}
	a.mu.Unlock()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for ids := range slices.Chunk(missing, bulk) {
		group.Go(func() error { return a.ask(ctx, ids) })
	}
	return group.Wait()
}

// ask puts one question.
func (a *Addresses) ask(ctx context.Context, herIDs []string) error {
	numbers := make([]int, len(herIDs))
	for i, id := range herIDs {
		numbers[i], _ = strconv.Atoi(id) // isHERID has looked
	}
	body, err := json.Marshal(numbers)
	if err != nil {
		return fmt.Errorf("asking %s: %w", a.asker.name, err)
	}
	got, err := a.asker.ask(ctx, question{method: http.MethodPost, path: "communicationparty", body: body, limit: maxBulk})
	if err != nil {
		return err
	}
	parties, ok := readParties(got.body)
	if got.status != http.StatusOK || !ok {
		return &Error{Register: a.asker.name, Status: got.status, Problem: "its answer can't be understood", Mend: "check ADRESSEREGISTERET_URL; it may be of another version"}
	}
	a.keep(herIDs, parties)
	return nil
}

// keep remembers an answer; what is missing from it is unknown.
func (a *Addresses) keep(herIDs []string, parties []Party) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.kept) > maxKept {
		clear(a.kept)
	}
	for _, id := range herIDs {
		a.kept[id] = nil
	}
	for _, party := range parties {
		if slices.Contains(herIDs, party.HERID) {
			a.kept[party.HERID] = &party
		}
	}
}

// above lists the HER-ids that have to be asked about before the organization of every given one is known.
func (a *Addresses) above(herIDs []string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := make(map[string]bool)
	for _, id := range herIDs {
		for range maxAbove {
			party := a.kept[id]
			if party == nil || party.Orgnr != "" || party.Parent == "" {
				break
			}
			id = party.Parent
			if _, asked := a.kept[id]; !asked && isHERID(id) {
				next[id] = true
				break
			}
		}
	}
	return slices.Sorted(maps.Keys(next))
}

// inherit returns a known party, with the organization of the nearest one above that has one.
func (a *Addresses) inherit(herID string) (Party, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	party := a.kept[herID]
	if party == nil {
		return Party{}, false
	}
	found := *party
	for range maxAbove {
		if found.Orgnr != "" || party.Parent == "" {
			break
		}
		if party = a.kept[party.Parent]; party == nil {
			break
		}
		found.Orgnr = party.Orgnr
	}
	return found, true
}

// isHERID reports whether s can be a HER-id: a whole number above 0, written without leading zeros.
func isHERID(s string) bool {
	n, err := strconv.ParseInt(s, 10, 32)
	return err == nil && n > 0 && strconv.FormatInt(n, 10) == s
}
