package keepalive

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const life = time.Hour

var (
	tenantA = Tenant{Parent: "100100126", Child: "999944582", Journal: "7FBFBCBD-6F08-4E95-9F7A-9D69C40F6A35"}
	tenantB = Tenant{Parent: "100100126", Journal: "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"}
	keyA    = Key{Session: "person-1", Tenant: tenantA, Upstream: "session"}
	keyB    = Key{Session: "person-1", Tenant: tenantB, Upstream: "session"}
)

// world is a Keeper between a token source and an SFM that do as they are told.
type world struct {
	t *testing.T
	*Keeper
	begun time.Time

	mu       sync.Mutex // guards all below
	tokens   map[Key]Token
	minted   int
	tokenErr error
	asked    int
	// answer gives SFM's answer; nil is 204.
	answer func(ctx context.Context, path string) (int, error)
	posts  []string
	events []string
	slept  time.Duration // what the wall clock is ahead
}

// inBubble runs a test with a Keeper in a bubble of its own time.
func inBubble(t *testing.T, o Options, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, begun: time.Now(), tokens: make(map[Key]Token)}
		o.Token, o.Post, o.Wall = w.token, w.post, w.wall
		o.Observe = Events{
			Refreshed: func(k Key) { w.note("refreshed", nil) },
			Failed:    func(_ Key, err error) { w.note("failed", err) },
			Lost:      func(_ Key, err error) { w.note("lost", err) },
		}
		k, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		w.Keeper = k
		defer k.Close()
		test(t, w)
	})
}

func (w *world) wall() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.slept)
}

// at is a moment as the tests write it.
func (w *world) at() string { return time.Since(w.begun).Round(time.Second).String() }

func (w *world) note(what string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		what += ": " + err.Error()
	}
	w.events = append(w.events, what)
}

func (w *world) token(ctx context.Context, k Key) (Token, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	return w.tokens[k], w.tokenErr
}

func (w *world) post(ctx context.Context, _ Key, path string, t Token) (int, error) {
	w.mu.Lock()
	w.posts = append(w.posts, fmt.Sprintf("%s %s %s", w.at(), path, t.AccessToken))
	answer := w.answer
	w.mu.Unlock()
	if answer == nil {
		return http.StatusNoContent, nil
	}
	return answer(ctx, path)
}

// mint makes a new token for a key, which the token source gives from now on.
func (w *world) mint(k Key) Token {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.minted++
	w.tokens[k] = Token{AccessToken: fmt.Sprintf("token-%d", w.minted), Expires: time.Now().Add(life)}
	return w.tokens[k]
}

// create has the EPJ open an SFM session with a new token.
func (w *world) create(k Key) {
	w.Answered(k, "/api/v2/Session/create", w.mint(k))
	synctest.Wait()
}

// renew is a renewal that the Keeper is told of.
func (w *world) renew(k Key) {
	w.mint(k)
	w.Look(k)
	synctest.Wait()
}

// set changes how SFM and the token source behave.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) always(status int, err error) {
	w.set(func() { w.answer = func(context.Context, string) (int, error) { return status, err } })
}

// sent are the POSTs since the last time it was asked.
func (w *world) sent() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	posts := w.posts
	w.posts = nil
	return posts
}

func (w *world) wantSent(want ...string) {
	w.t.Helper()
	if got := w.sent(); !slices.Equal(got, want) {
		w.t.Errorf("sent %q, want %q", got, want)
	}
}

func (w *world) wantEvents(want ...string) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.events, want) {
		w.t.Errorf("events %q, want %q", w.events, want)
	}
	w.events = nil
}

// wantStates wants the states of the person's SFM sessions.
func (w *world) wantStates(want ...State) {
	w.t.Helper()
	synctest.Wait()
	var got []State
	for _, s := range w.Of(w.t.Context(), "person-1") {
		got = append(got, s.State)
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("states %q, want %q", got, want)
	}
}
