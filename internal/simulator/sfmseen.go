package simulator

import (
	"slices"
	"strings"
	"sync"
)

// seenCap is how many accepted calls are kept for looking at.
const seenCap = 100

// Seen is what SFM read in one accepted call: the claims of its token and of its proof, with everything that
// identifies a person by number masked. It is for people to look at; tests of numbers and order use [Operation].
type Seen struct {
	Method      string         `json:"method"`
	Path        string         `json:"path"`
	TokenClaims map[string]any `json:"token_claims"`
	ProofClaims map[string]any `json:"proof_claims,omitempty"`
}

type seenList struct {
	mu   sync.Mutex
	last []Seen // guarded by mu
}

func (l *seenList) add(s Seen) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.last) >= seenCap {
		l.last = slices.Delete(l.last, 0, len(l.last)-seenCap+1)
	}
	l.last = append(l.last, s)
}

// Seen returns the last hundred accepted calls, oldest first. The maps must not be changed.
func (s *Simulator) Seen() []Seen {
	s.sfm.seen.mu.Lock()
	defer s.sfm.seen.mu.Unlock()
	return slices.Clone(s.sfm.seen.last)
}

// redacted copies claims and masks what names a person: the claims about pid, and every text of eleven digits
// wherever it stands.
func redacted(claims map[string]any) map[string]any {
	if claims == nil {
		return nil
	}
	clean := make(map[string]any, len(claims))
	for name, value := range claims {
		clean[name] = redactedValue(name, value)
	}
	return clean
}

func redactedValue(name string, value any) any {
	switch value := value.(type) {
	case string:
		if isDigits(value, 11) || strings.Contains(name, "/pid") {
			return strings.Repeat("*", len(value))
		}
		return value
	case map[string]any:
		return redacted(value)
	case []any:
		list := make([]any, len(value))
		for i, entry := range value {
			list[i] = redactedValue(name, entry)
		}
		return list
	default:
		return value
	}
}
