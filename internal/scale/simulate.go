package scale

import (
	"cmp"
	"container/heap"
	"math"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Play is how a fleet is played.
type Play struct {
	// Warm is played first and not counted, Lasts is what is counted.
	Warm, Lasts time.Duration
	// Stop is when nobody calls any more, from the beginning; if 0, that does not happen.
	Stop time.Duration
	// Deploy restarts all pods one after the other, evenly over the time that is counted.
	Deploy bool
	// Within is the time in which all make their first call; if 0, a token's lifetime.
	Within time.Duration
	// Seed chooses what happens.
	Seed uint64
}

// Seen is what happened while a fleet was played.
type Seen struct {
	Seconds float64
	// Calls, HelseID, Waits and Looks are counts; Store are counts, too.
	Calls, HelseID, Waits, Looks float64
	Store                        Ops
	// Subscriptions is how many there were, as a mean over time.
	Subscriptions float64
	// HelseIDSeconds and StoreSeconds are what came in each second.
	HelseIDSeconds, StoreSeconds []float64
	// MostTokens and MostSessions are what the fullest pod held at the end.
	MostTokens, MostSessions int
}

// Add adds the counts of another play, weighed.
func (s *Seen) Add(other Seen, weight float64) {
	s.Calls += weight * other.Calls
	s.HelseID += weight * other.HelseID
	s.Waits += weight * other.Waits
	s.Looks += weight * other.Looks
	s.Subscriptions += weight * other.Subscriptions
	s.Store.plus(other.Store, weight)
}

// held is a token in the memory of a pod; which is the number of the fetch it came by.
type held struct {
	which int
	sent  float64
	soon  float64 // the life that is left when it is renewed
	used  bool
}

// seat is what a pod knows of a session.
type seat struct {
	version int     // of the record as it was read; -1 of one written here
	until   float64 // believed
	called  float64
	touched float64
}

type pod struct {
	tokens   *simplelru.LRU[int, *held]
	sessions *simplelru.LRU[int, *seat]
	flying   map[int]bool
	watched  map[int]bool
	starts   int // how many times it was started
}

// person is what the store knows of one.
type person struct {
	version   int
	used      float64      // when that was noted
	listening map[int]bool // pods
	refresh   lock
	ended     bool
}

type lock struct {
	holder  *flight
	waiters []*flight
}

// flight is one fetch of one pod.
type flight struct {
	pod, pair, starts int
	renewal           bool
	inside            bool // has the token's lock, and wants the session's
	waited            bool
}

type kind int

const (
	aCall kind = iota
	aDue
	anAsk
	aLanding
	aRelease
	aLook
	aRestart
)

type event struct {
	at        float64
	kind      kind
	pod, what int
	flight    *flight
}

type queue []event

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// game is a fleet that is being played. The store answers at once.
type game struct {
	f       Fleet
	p       Play
	dice    *rand.Rand
	now     float64
	events  queue
	pods    []*pod
	persons []person
	stored  []held // tokens in the store, by pair; which 0 = none
	locks   []lock // of tokens, by pair
	fetched int
	listens int // how many subscriptions there are
	seen    Seen
}

// Simulate plays a fleet. It must have passed [Fleet.Check].
func Simulate(f Fleet, p Play) Seen {
	g := &game{f: f, p: p, dice: rand.New(rand.NewPCG(p.Seed, 1)), stored: make([]held, f.Pairs), locks: make([]lock, f.Pairs)}
	seconds := int(math.Ceil(p.Lasts.Seconds()))
	g.seen = Seen{Seconds: p.Lasts.Seconds(), HelseIDSeconds: make([]float64, seconds), StoreSeconds: make([]float64, seconds)}
	g.persons = make([]person, f.persons())
	for i := range g.persons {
		g.persons[i] = person{used: -noted.Seconds(), listening: map[int]bool{}}
	}
	for i := range f.Pods {
		g.pods = append(g.pods, nil)
		g.start(i)
		if p.Deploy {
			g.later(p.Warm.Seconds()+p.Lasts.Seconds()*float64(i)/float64(f.Pods), event{kind: aRestart, pod: i})
		}
	}
	within := cmp.Or(p.Within, f.Lifetime).Seconds()
	for pair := range f.Pairs {
		g.later(g.dice.Float64()*within, event{kind: aCall, what: pair})
	}
	g.play()
	return g.seen
}

func (g *game) start(i int) {
	p := &pod{flying: map[int]bool{}, watched: map[int]bool{}}
	if before := g.pods[i]; before != nil {
		p.starts = before.starts + 1
	}
	p.tokens, _ = simplelru.NewLRU[int, *held](g.f.Entries, nil) // fails for a size of 0 only
	p.sessions, _ = simplelru.NewLRU(g.f.Sessions, func(who int, _ *seat) { g.unfollow(i, who) })
	g.pods[i] = p
}

// play goes from event to event, until the time is over.
func (g *game) play() {
	for len(g.events) > 0 {
		e := heap.Pop(&g.events).(event)
		if e.at > (g.p.Warm + g.p.Lasts).Seconds() {
			break
		}
		if counted := e.at - max(g.now, g.p.Warm.Seconds()); counted > 0 {
			g.seen.Subscriptions += counted * float64(g.listens) / g.seen.Seconds
		}
		g.now = e.at
		switch e.kind {
		case aCall:
			g.call(e.what)
		case aDue:
			g.due(e.pod, e.what, e.flight)
		case anAsk:
			g.ask(e.flight)
		case aLanding:
			g.land(e.flight)
		case aRelease:
			g.unlock(e.flight)
		case aLook:
			g.look(e.pod, e.what, e.flight.starts)
		case aRestart:
			g.restart(e.pod)
		}
	}
	for _, p := range g.pods {
		g.seen.MostTokens = max(g.seen.MostTokens, p.tokens.Len())
		g.seen.MostSessions = max(g.seen.MostSessions, p.sessions.Len())
	}
}

func (g *game) later(after float64, e event) {
	e.at = g.now + after
	heap.Push(&g.events, e)
}

// pause is the time to a pair's next call.
func (g *game) pause() float64 { return g.dice.ExpFloat64() * 60 / g.f.Calls }

// second is the place in the counts of now, and whether it is counted.
func (g *game) second() (int, bool) {
	at := g.now - g.p.Warm.Seconds()
	return min(int(at), len(g.seen.StoreSeconds)-1), at >= 0
}

// cost counts what the store is asked.
func (g *game) cost(o Ops) {
	if second, counts := g.second(); counts {
		g.seen.Store.plus(o, 1)
		g.seen.StoreSeconds[second] += o.Commands()
	}
}

func (g *game) count(what *float64) {
	if _, counts := g.second(); counts {
		*what++
	}
}

// restart gives a pod a new process: the store is told that nobody listens there by the
// end of the connection, which costs no command.
func (g *game) restart(i int) {
	for who := range g.persons {
		if g.persons[who].listening[i] {
			delete(g.persons[who].listening, i)
			g.listens--
		}
	}
	for pair := range g.locks {
		g.abandon(&g.locks[pair], i)
	}
	for who := range g.persons {
		g.abandon(&g.persons[who].refresh, i)
	}
	g.start(i)
}

// abandon gives back what a pod holds that ends in good order.
func (g *game) abandon(l *lock, i int) {
	kept := l.waiters[:0]
	for _, w := range l.waiters {
		if w.pod != i {
			kept = append(kept, w)
		}
	}
	l.waiters = kept
	if l.holder != nil && l.holder.pod == i {
		g.free(l)
	}
}

// Load is what was seen, in a second, without what is weighed.
func (s *Seen) Load() Load {
	l := Load{Calls: s.Calls / s.Seconds, HelseID: s.HelseID / s.Seconds, Waits: s.Waits / s.Seconds, Subscriptions: s.Subscriptions}
	l.Store.plus(s.Store, 1/s.Seconds)
	return l
}
