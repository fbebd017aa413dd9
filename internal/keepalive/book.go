package keepalive

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
)

// Book is what replicas share: a page for each person's session that has SFM sessions,
// and when its keeper must have acted. Times in it are told as how long from now, and
// measured by one clock. Methods must not take long. Errors are those of a store
// that may be down for a while.
type Book interface {
	// Read gives a person's page; without one, nil and 0.
	Read(ctx context.Context, session string) (page []byte, version uint64, err error)
	// Write replaces a page that still has this version, 0 for none, and is
	// [ErrTurned] otherwise.
	Write(ctx context.Context, session string, page []byte, life time.Duration, version uint64) error
	// Remove removes a page, whatever its version.
	Remove(ctx context.Context, session string) error
	// Due notes by when the keeper must have acted. The mark is the note's own.
	Due(ctx context.Context, session string, in time.Duration) (mark uint64, err error)
	// Settle removes a note, unless it has another mark.
	Settle(ctx context.Context, session string, mark uint64) error
	// Claim gives some sessions whose keepers have not acted in time. Nobody else gets
	// them for the length of the lease. again is when to ask again.
	Claim(ctx context.Context, lease time.Duration) (sessions []string, again time.Duration, err error)
}

// ErrTurned says that a page was written meanwhile. [Book.Write] returns it, or wraps it.
var ErrTurned = errors.New("the page was written meanwhile")

// page is what stands in the book of one person's session. Moments in it are by the
// clock that replicas have in common, [Options.Now].
type page struct {
	// Keeper is the replica that keeps the sessions: the one whose EPJ spoke of them
	// last, or that took them over.
	Keeper string `json:"keeper,omitempty"`
	// Poster may be calling SFM until Until; nobody else does meanwhile.
	Poster string    `json:"poster,omitempty"`
	Until  time.Time `json:"until,omitzero"`
	Lines  []line    `json:"sessions,omitempty"`
}

// line is one SFM session.
type line struct {
	Parent   string `json:"parent"`
	Child    string `json:"child,omitempty"`
	Journal  string `json:"journal"`
	Upstream string `json:"upstream"`
	Path     string `json:"path"`
	State    State  `json:"state"`
	// Since is when it came to be open.
	Since time.Time `json:"since"`
	// Sum is a hash of the token that SFM holds, Expires its end.
	Sum     string    `json:"sum"`
	Expires time.Time `json:"expires"`
}

// sum is a hash of a token, which has more than enough chance in it.
func sum(accessToken string) string {
	if accessToken == "" {
		return ""
	}
	s := sha256.Sum256([]byte(accessToken))
	return base64.RawURLEncoding.EncodeToString(s[:])
}

// readPage decodes a page. One that can't be read is as good as none.
func readPage(b []byte) page {
	var p page
	if len(b) == 0 || json.Unmarshal(b, &p) != nil {
		return page{}
	}
	return p
}

func (p page) bytes() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic("BUG: " + err.Error()) // strings, and times of this century
	}
	return b
}

func (l line) key(session string) Key {
	return Key{Session: session, Tenant: Tenant{l.Parent, l.Child, l.Journal}, Upstream: l.Upstream}
}

func (p page) find(key Key) (line, bool) {
	i := p.index(key)
	if i < 0 {
		return line{}, false
	}
	return p.Lines[i], true
}

// index is where a session stands, by its folded key.
func (p page) index(key Key) int {
	return slices.IndexFunc(p.Lines, func(l line) bool { return l.key(key.Session).folded() == key.folded() })
}

// put writes or replaces a session's line.
func (p *page) put(key Key, l line) {
	if i := p.index(key); i >= 0 {
		p.Lines[i] = l
		return
	}
	p.Lines = append(p.Lines, l)
}

// strike removes a session's line, if there is one.
func (p *page) strike(key Key) {
	if i := p.index(key); i >= 0 {
		p.Lines = slices.Delete(p.Lines, i, i+1)
	}
}

// prune removes what need not be remembered any more.
func (p *page) prune(now time.Time) {
	p.Lines = slices.DeleteFunc(p.Lines, func(l line) bool { return now.Sub(l.Expires) >= remembered })
}

// life is how long the page is worth keeping.
func (p page) life(now time.Time) time.Duration {
	var end time.Time
	for _, l := range p.Lines {
		if l.Expires.After(end) {
			end = l.Expires
		}
	}
	return max(end.Add(remembered).Sub(now), time.Second)
}

// open says that one of the sessions is.
func (p page) open(now time.Time) bool {
	return slices.ContainsFunc(p.Lines, func(l line) bool { return l.status(now).State == Open })
}

// busy says that another replica may be calling SFM.
func (p page) busy(me string, now time.Time) bool {
	return p.Poster != "" && p.Poster != me && p.Until.After(now)
}

// clone is a page that can be changed without changing this one.
func (p page) clone() page {
	p.Lines = slices.Clone(p.Lines)
	return p
}

// same says that two pages say the same.
func (p page) same(q page) bool {
	return p.Keeper == q.Keeper && p.Poster == q.Poster && p.Until.Equal(q.Until) &&
		slices.EqualFunc(p.Lines, q.Lines, func(a, b line) bool {
			since, expires := a.Since.Equal(b.Since), a.Expires.Equal(b.Expires)
			a.Since, a.Expires = b.Since, b.Expires
			return since && expires && a == b
		})
}

// status is where a line's session stands, by the common clock.
func (l line) status(now time.Time) Status {
	s := Status{Tenant: Tenant{l.Parent, l.Child, l.Journal}, State: l.State, Since: l.Since}
	if l.State == Lost || !l.Expires.After(now) {
		s.State, s.Since = Lost, l.Expires
	}
	return s
}

// byState sorts what an EPJ is told, the oldest state first.
func byState(a, b Status) int {
	if c := a.Since.Compare(b.Since); c != 0 {
		return c
	}
	return strings.Compare(a.Tenant.Parent+" "+a.Tenant.Child+" "+a.Tenant.Journal, b.Tenant.Parent+" "+b.Tenant.Child+" "+b.Tenant.Journal)
}
