package scale

import "math"

// Load is what a fleet asks for while all are at work, as a mean over time.
type Load struct {
	Calls   float64 // in a second
	HelseID float64 // token requests in a second
	Store   Ops     // in a second
	// Waits is how many times in a second a pod waits for another's fetch.
	Waits float64
	// Subscriptions is how many the store keeps.
	Subscriptions float64
	// Looks is how many times a day pods look whether sessions are used still.
	Looks float64
	// StoreBytes is what the entries take, ListenBytes what the store keeps for the
	// connections and subscriptions.
	StoreBytes, ListenBytes float64
	// Connections to the store: the least (one that listens, one that asks), and the
	// most on a machine of two cores.
	Connections, MostConnections int
	// PodBytes is what tokens and sessions take in one pod.
	PodBytes float64
}

// reach is one pod's view: calls that come to it, each at a rate, and a memory.
type reach struct {
	pods float64 // to which one caller's calls may go
	rate float64 // of one caller's calls at one of them, in a second
	// life is how long what is not called stays in the memory (Che's approximation of
	// an LRU), kept the share of calls that find it still there.
	life, kept float64
}

// at describes callers who call at a rate, and whose memory has room for so many.
func (f Fleet) at(rate float64, callers, room int) reach {
	r := reach{pods: float64(f.Pods), rate: rate / float64(f.Pods), life: math.Inf(1), kept: 1}
	each := float64(callers)
	if f.Sticky {
		r.pods, r.rate = 1, rate
		each /= float64(f.Pods)
	}
	if each > float64(room) {
		r.kept = float64(room) / each
		r.life = -math.Log(1-r.kept) / r.rate
	}
	return r
}

// fresh is the expected number of calls at a pod that come after another, need nothing,
// because something lasts for so many seconds.
func (r reach) fresh(lasts float64) float64 {
	mean := r.rate * lasts
	if r.life >= lasts {
		return mean
	}
	return r.kept * (1 - math.Exp(-mean*(1-r.kept))) / (1 - r.kept)
}

// Predict is the load of a fleet in the long run, by formulas. The fleet must have
// passed [Fleet.Check].
func Predict(f Fleet) Load {
	calls := f.Calls / 60
	pairs, persons := float64(f.Pairs), float64(f.persons())
	l := Load{Calls: calls * pairs}
	tokens := f.at(calls, f.Pairs, f.Entries)
	cycle := f.cycle(calls, tokens)
	l.HelseID = pairs / cycle
	if f.Alone {
		l.HelseID = pairs * tokens.pods * f.flights(tokens, true)
		f.weigh(&l, tokens, reach{})
		return l
	}
	flights := pairs * tokens.pods * f.flights(tokens, false)
	l.Store.plus(tokenRead, max(flights, l.HelseID))
	l.Store.plus(f.refreshed(), l.HelseID)
	f.addWaits(&l, calls, cycle, tokens)
	if f.Machines {
		f.weigh(&l, tokens, reach{})
		return l
	}
	sessions := f.at(calls*float64(f.Tenants), f.persons(), f.Sessions)
	listening := f.addSessions(&l, sessions, cycle)
	l.Subscriptions = persons * sessions.pods * listening
	l.Looks = persons * f.looks(sessions)
	l.Store.plus(asked, f.asks())
	f.weigh(&l, tokens, sessions)
	return l
}

// addSessions adds what calls cost beside their tokens, and returns the part of time in
// which a pod listens for changes of one session. Each of the person's tokens changes
// the record once in a cycle.
func (f Fleet) addSessions(l *Load, s reach, cycle float64) (listening float64) {
	people := float64(f.persons()) * s.pods * s.rate // calls in a second
	read, written := f.notes(s)
	l.Store.plus(noteRead, read)
	l.Store.plus(useNoted, written)
	// A record that is followed is believed for a minute, or until it changes.
	tenants := float64(min(f.Tenants, f.Pairs))
	minute := min(believed.Seconds()/cycle, 1)
	known := cycle / (tenants + 1) * (1 - math.Pow(1-minute, tenants+1))
	again, reads := s.follows(known)
	l.Store.plus(recordRead, people*reads)
	// A subscription stays until the next change, or until the record leaves the memory.
	following := s
	following.rate *= again
	listening = following.unchanged(cycle, tenants)
	each := people * again * (1 - listening)
	l.Store.plus(subscribed, each)
	evicted := min(each, people*again*math.Exp(-s.rate*s.life)*math.Pow(1-min(s.life/cycle, 1), tenants))
	l.Store.plus(unsubscribed, evicted)
	l.Store.plus(woken, each-evicted)
	return listening
}

// follows is the share of calls at a pod that come within a minute after another, and the
// share that reads the record: those that don't, and of the others those that find it not
// believed any more, which it is for so many seconds.
func (r reach) follows(known float64) (again, reads float64) {
	minute := believed.Seconds()
	again = 1 - math.Exp(-r.rate*min(minute, r.life))
	free := r.fresh(known)
	// After a record was read for one call, again is how likely the next one follows it; after
	// it was followed and believed, next is.
	next := max(0, 1-math.Exp(-r.rate*min(minute, r.life))*(1+free))
	followed := again / (1 - next) // for each that is not
	return again, (1 + followed) / (1 + followed*(1+free))
}

// asks is how often in a second pods ask what falls due, of SFM's sessions.
func (f Fleet) asks() float64 {
	pods := float64(f.Pods) / dueJitter
	inTurn := min(pods/dueEvery.Seconds(), 1/dueApart.Seconds())
	return max(inTurn, pods/dueSeldom.Seconds())
}

// notes is how often in a second pods read notes of use, and write them. One pod writes in
// a minute; who reads what another wrote reads again when that is a minute old.
func (f Fleet) notes(s reach) (read, written float64) {
	persons := float64(f.persons())
	people := persons * s.pods * s.rate
	written = persons / (noted.Seconds() + 1/(s.pods*s.rate))
	read = people
	for range 20 { // reads less fresh are more, and more reads are less fresh
		wrote := min(1, written/read)
		read = people / (1 + s.fresh(noted.Seconds()*(1+wrote)/2))
	}
	return max(read, written), written
}

// unchanged is how likely it is that, since the last call of a person at a pod, none of
// its tokens was renewed, each of which is once in a cycle, and the record is still in
// the memory.
func (r reach) unchanged(cycle, tenants float64) float64 {
	const steps = 1000
	end := min(cycle, r.life, 40/r.rate)
	sum, step := 0.0, end/steps
	for i := range steps {
		gap := (float64(i) + 0.5) * step
		sum += step * r.rate * math.Exp(-r.rate*gap) * math.Pow(1-gap/cycle, tenants)
	}
	return sum
}

// cycle is the mean time between two tokens of a pair. A token that was used since it
// came is renewed when it is soon to expire; one that was not waits for a call.
func (f Fleet) cycle(calls float64, t reach) float64 {
	users := max(1, t.pods*(1-math.Exp(-t.rate*f.Lifetime.Seconds()*0.8)))
	// The first of those who used it renews it: the largest of their throws.
	low, high := f.soon(0), max(f.soon(0.5), f.soon(1))
	soon := low + (high-low)*users/(users+1)
	due := f.Lifetime.Seconds() - soon
	unused := math.Exp(-calls * min(due, t.life)) // nobody has it any more who used it
	expired := unused * math.Exp(-calls*(soon-f.leeway()))
	return due + unused/calls/(1+expired)
}

// flights is how often in a second one pod needs a token of one pair that it does not
// have: from the store, or from HelseID. A token of its own begins its life here, one
// of the store's is of any age.
func (f Fleet) flights(t reach, own bool) float64 {
	low, high := f.soon(0), max(f.soon(0.5), f.soon(1))
	soon := (low + high) / 2
	due := f.Lifetime.Seconds() - soon
	unused := math.Exp(-t.rate * due)
	expired := unused * math.Exp(-t.rate*(soon-f.leeway()))
	first := due
	if !own && t.pods > 1 {
		first = due / 2
	}
	rate := 1 / ((first*expired + due + unused/t.rate) / (1 + expired))
	if t.kept == 1 {
		return rate
	}
	// What leaves the memory early is fetched at each call, and renewed only if it would
	// have been soon after.
	reaches := min(1, t.life/due)
	return t.rate*(1-t.kept)*(1+reaches) + t.kept*reaches*rate
}

// addWaits adds what it costs that pods want the same token while it is being fetched.
func (f Fleet) addWaits(l *Load, calls, cycle float64, t reach) {
	users := t.pods * (1 - math.Exp(-t.rate*cycle))
	width := max(f.soon(0.5), f.soon(1)) - f.soon(0)
	waits := max(users-1, 0) * f.HelseID.Seconds() / width
	if t.pods > 1 {
		waits += calls * f.HelseID.Seconds() * math.Exp(-t.rate*cycle)
	}
	l.Waits = l.HelseID * waits
	for _, step := range []Ops{refused, wokenFor, obtained, tokenRead, released, unsubscribed} {
		l.Store.plus(step, l.Waits)
	}
}

// looks is how many times in a day pods look after one person's session: each that saw
// it, when it may be idle for the first time, and when it may be again, by then. Who is
// at work for longer than that is looked after more often.
func (f Fleet) looks(s reach) float64 {
	shift := f.Shift.Seconds()
	seen := s.pods * (1 - math.Exp(-s.rate*shift))
	return seen * (2 + math.Floor(shift/f.Idle.Seconds()))
}
