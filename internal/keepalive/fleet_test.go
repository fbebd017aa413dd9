package keepalive

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// shelf is a book that judges: no page with an open session may stand without a note.
type shelf struct {
	t *testing.T

	mu     sync.Mutex // guards what follows
	pages  map[string]leaf
	notes  map[string]memo
	writes int
}

type leaf struct {
	page    []byte
	version uint64
	end     time.Time
}

type memo struct {
	at   time.Time
	mark uint64
}

// desk is a replica's way to the shelf.
type desk struct {
	shelf *shelf

	mu    sync.Mutex // guards what follows
	turns int        // so many writes find that the page was written meanwhile
	down  bool
	delay time.Duration
}

var errDown = errors.New("the book can't be had")

// reach waits as the way is long, and fails where it is closed.
func (d *desk) reach(ctx context.Context) (*shelf, error) {
	d.mu.Lock()
	down, delay := d.down, d.delay
	d.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if down {
		return nil, errDown
	}
	d.shelf.mu.Lock()
	return d.shelf, nil
}

func (d *desk) set(down bool, delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down, d.delay = down, delay
}

func (d *desk) change(how func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	how()
}

func (s *shelf) page(session string) leaf {
	p := s.pages[session]
	if !p.end.After(time.Now()) {
		delete(s.pages, session)
		return leaf{}
	}
	return p
}

func (d *desk) Read(ctx context.Context, session string) ([]byte, uint64, error) {
	s, err := d.reach(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer s.mu.Unlock()
	p := s.page(session)
	return p.page, p.version, nil
}

func (d *desk) Write(ctx context.Context, session string, page []byte, life time.Duration, version uint64) error {
	s, err := d.reach(ctx)
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	d.mu.Lock()
	turned := d.turns > 0
	d.turns--
	d.mu.Unlock()
	if turned {
		return ErrTurned
	}
	if life <= 0 {
		s.t.Errorf("a page that lives for %v", life)
	}
	if s.page(session).version != version {
		return fmt.Errorf("changed: %w", ErrTurned)
	}
	s.writes++
	s.pages[session] = leaf{slices.Clone(page), uint64(s.writes), time.Now().Add(life)}
	if _, noted := s.notes[session]; !noted && readPage(page).open(time.Now()) {
		s.t.Error("a page was written that nobody would ever look at again")
	}
	if strings.Contains(string(page), "token-") {
		s.t.Error("a token stands in the book")
	}
	return nil
}

func (d *desk) Remove(ctx context.Context, session string) error {
	s, err := d.reach(ctx)
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	delete(s.pages, session)
	return nil
}

func (d *desk) Due(ctx context.Context, session string, in time.Duration) (uint64, error) {
	s, err := d.reach(ctx)
	if err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	s.writes++
	s.notes[session] = memo{time.Now().Add(in), uint64(s.writes)}
	return uint64(s.writes), nil
}

func (d *desk) Settle(ctx context.Context, session string, mark uint64) error {
	s, err := d.reach(ctx)
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	if s.notes[session].mark == mark {
		delete(s.notes, session)
	}
	return nil
}

func (d *desk) Claim(ctx context.Context, lease time.Duration) (sessions []string, again time.Duration, err error) {
	s, err := d.reach(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer s.mu.Unlock()
	again = claimEvery
	for session, n := range s.notes {
		switch {
		case n.at.After(time.Now()):
			again = min(again, time.Until(n.at))
		case s.page(session).version == 0:
			delete(s.notes, session)
		default:
			s.writes++
			s.notes[session] = memo{time.Now().Add(lease), uint64(s.writes)}
			sessions = append(sessions, session)
		}
	}
	return sessions, again, nil
}

func (s *shelf) lines(session string) []line {
	s.mu.Lock()
	defer s.mu.Unlock()
	return readPage(s.page(session).page).Lines
}

// noted is how long the keeper still has.
func (s *shelf) noted(session string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Until(s.notes[session].at)
}

// changes is how often it was written.
func (s *shelf) changes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// left is what stands on the shelf.
func (s *shelf) left() (pages, notes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for session := range s.pages {
		s.page(session)
	}
	return len(s.pages), len(s.notes)
}

// fleet is several Keepers with one shelf, before one SFM.
type fleet struct {
	t        *testing.T
	shelf    *shelf
	begun    time.Time
	replicas []*replica

	mu       sync.Mutex // guards what follows
	tokens   map[Key]Token
	minted   int
	posts    []string
	under    map[Key]int // calls to SFM that are under way
	took     time.Duration
	fetching time.Duration // how long it takes to get a token
	taken    int
	lost     int
	status   int
	tokenErr error
	story    []string
	cutOff   time.Time // until then nobody can know what others do
}

type replica struct {
	*Keeper
	desk *desk
	name string
	dead bool
}

const fleetLife = 10 * time.Minute

// inFleet runs a test with some replicas in a bubble of its own time.
func inFleet(t *testing.T, replicas int, test func(t *testing.T, f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{
			t: t, begun: time.Now(), shelf: &shelf{t: t, pages: map[string]leaf{}, notes: map[string]memo{}},
			tokens: map[Key]Token{}, under: map[Key]int{}, took: time.Second, status: http.StatusNoContent,
		}
		for range replicas {
			f.join(Options{})
		}
		defer func() {
			for _, r := range f.replicas {
				r.Close()
			}
		}()
		test(t, f)
	})
}

// join adds a replica. HelseID's clock is an hour ahead of this machine's.
func (f *fleet) join(o Options) *replica {
	r := &replica{desk: &desk{shelf: f.shelf}, name: string(rune('a' + len(f.replicas)))}
	o.Book, o.Now = r.desk, func() time.Time { return time.Now().Add(time.Hour) }
	o.Token = func(ctx context.Context, k Key) (Token, error) {
		f.mu.Lock()
		fetching := f.fetching
		f.mu.Unlock()
		time.Sleep(fetching)
		t, err := f.token(k), ctx.Err()
		f.mu.Lock()
		defer f.mu.Unlock()
		return t, errors.Join(f.tokenErr, err)
	}
	o.Post = func(ctx context.Context, k Key, path string, t Token) (int, error) {
		return f.post(ctx, r.name, k, path, t)
	}
	o.Observe = Events{
		TakenOver: func(s string) { f.note("%s: takes %s over", r.name, s); f.count(&f.taken) },
		Lost:      func(k Key, err error) { f.note("%s: lost %s: %v", r.name, k.Session, err); f.count(&f.lost) },
	}
	var err error
	if r.Keeper, err = New(o); err != nil {
		f.t.Fatal(err)
	}
	f.replicas = append(f.replicas, r)
	return r
}

// note says what happened, for who has to find out why a test fails.
func (f *fleet) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.story = append(f.story, fmt.Sprintf("%v ", time.Since(f.begun))+fmt.Sprintf(format, args...))
}

// set changes how SFM and the token source behave.
func (f *fleet) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fleet) takeOvers() int {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.taken
}

func (f *fleet) losses() int {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lost
}

func (f *fleet) count(n *int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*n++
}

// token is what the replicas share: a new one in the last fifth of a life.
func (f *fleet) token(k Key) Token {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Until(f.tokens[k.folded()].Expires) <= fleetLife/5 {
		f.minted++
		f.tokens[k.folded()] = Token{AccessToken: fmt.Sprintf("token-%d", f.minted), Expires: time.Now().Add(fleetLife)}
	}
	return f.tokens[k.folded()]
}

// post is SFM, which sees whether two call about the same session at once.
func (f *fleet) post(ctx context.Context, who string, k Key, path string, t Token) (int, error) {
	f.note("%s: %s %s %s", who, path, k.Session, t.AccessToken)
	f.mu.Lock()
	f.posts = append(f.posts, fmt.Sprintf("%s: %s %s", who, path[strings.LastIndexByte(path, '/')+1:], t.AccessToken))
	if f.under[k.folded()]++; f.under[k.folded()] > 1 && time.Now().After(f.cutOff) {
		f.t.Errorf("%v: two at once call SFM\n%s", time.Since(f.begun), strings.Join(f.story, "\n"))
	}
	took := f.took
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.under[k.folded()]--
		f.mu.Unlock()
	}()
	select {
	case <-time.After(took):
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.status, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// create has the EPJ open a session through a replica.
func (f *fleet) create(r *replica, k Key) {
	r.Answered(k, "/api/v2/Session/create", f.token(k))
	synctest.Wait()
}

// die ends a replica that can tell nobody.
func (r *replica) die() {
	r.dead = true
	r.desk.set(true, 0)
	r.Close()
}

// sent are the calls to SFM since the last time it was asked.
func (f *fleet) sent() []string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	posts := f.posts
	f.posts = nil
	return posts
}

func (f *fleet) wantSent(want ...string) {
	f.t.Helper()
	if got := f.sent(); !slices.Equal(got, want) {
		f.t.Errorf("%v: sent %q, want %q", time.Since(f.begun), got, want)
	}
}

// wantStates wants every replica that lives to tell the same of person-1.
func (f *fleet) wantStates(want ...State) {
	f.t.Helper()
	synctest.Wait()
	for _, r := range f.replicas {
		if r.dead {
			continue
		}
		var got []State
		for _, s := range r.Of(f.t.Context(), "person-1") {
			got = append(got, s.State)
		}
		if !slices.Equal(got, want) {
			f.t.Errorf("%v: %s tells %q, want %q", time.Since(f.begun), r.name, got, want)
		}
	}
}

// wantKept wants that many open sessions to be kept by each replica.
func (f *fleet) wantKept(want ...int) {
	f.t.Helper()
	synctest.Wait()
	var got []int
	for _, r := range f.replicas {
		open, _ := r.Count()
		got = append(got, open)
	}
	if !slices.Equal(got, want) {
		f.t.Errorf("%v: kept %v, want %v", time.Since(f.begun), got, want)
	}
}

func (f *fleet) wantNothingLeft() {
	f.t.Helper()
	synctest.Wait()
	time.Sleep(10 * time.Millisecond)
	if pages, notes := f.shelf.left(); pages != 0 || notes != 0 {
		f.t.Errorf("%v: %d pages and %d notes are left", time.Since(f.begun), pages, notes)
	}
}
