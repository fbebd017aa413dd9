package scale

// Ops are commands that the store is sent, and what it sends of itself; in a second,
// or in all, as who holds them says.
type Ops struct {
	Gets         float64 // GET
	Puts         float64 // EVALSHA of putScript
	Obtains      float64 // EVALSHA of obtainScript
	Releases     float64 // EVALSHA of releaseScript
	Subscribes   float64
	Unsubscribes float64
	Claims       float64 // EVALSHA of claimScript and turnScript
	Presents     float64 // EVALSHA of presentScript
	Messages     float64 // that the store sends to those who are subscribed
}

// Commands is the sum of what the store is sent.
func (o Ops) Commands() float64 {
	return o.Gets + o.Puts + o.Obtains + o.Releases + o.Subscribes + o.Unsubscribes + o.Claims + o.Presents
}

// plus adds what happens, so many times.
func (o *Ops) plus(what Ops, times float64) {
	o.Gets += times * what.Gets
	o.Puts += times * what.Puts
	o.Obtains += times * what.Obtains
	o.Releases += times * what.Releases
	o.Subscribes += times * what.Subscribes
	o.Unsubscribes += times * what.Unsubscribes
	o.Claims += times * what.Claims
	o.Presents += times * what.Presents
	o.Messages += times * what.Messages
}

// The steps of which all is made, each with the function that does it.
var (
	// session.(*Manager).recordForCall: the record is read. Where it is followed, and the channel
	// is not listened to yet, subscribed comes beside it (store.(*line).join).
	recordRead = Ops{Gets: 1}
	subscribed = Ops{Subscribes: 1}
	// store.(*line).wake and tidy: a change is told once, then nobody listens.
	woken = Ops{Messages: 1, Unsubscribes: 1}
	// store.(*line).leave, when the record leaves the memory of a pod.
	unsubscribed = Ops{Unsubscribes: 1}
	// session.(*Manager).touch: unusedFor, and markUsed where no other pod did that.
	noteRead = Ops{Gets: 1}
	useNoted = Ops{Puts: 1}
	// tokencache.(*Cache).obtainShared: the first look, and the one under the lock.
	tokenRead = Ops{Gets: 1}
	// store.(*Redis).Lock when it is free, and (*redisHold).giveBack.
	obtained = Ops{Obtains: 1}
	released = Ops{Releases: 1}
	// store.(*redisHold).wait after the first refusal: it listens and asks again; then
	// it is woken, listens anew, and asks (counted as obtained).
	refused  = Ops{Obtains: 2, Subscribes: 1}
	wokenFor = Ops{Messages: 1, Unsubscribes: 1, Subscribes: 1}
	// session.(*Manager).Refresh and noteSpent: record, note of use, note of the token
	// that is sent, read and written, whether others see this replica, and the record once
	// more, before; and, in rotate, the record read and written.
	beforeSent = Ops{Gets: 4, Puts: 1, Presents: 1}
	afterSent  = Ops{Gets: 1, Puts: 1}
	// tokencache.(*Cache).share: the token, and the list of its session.
	tokenPut    = Ops{Puts: 1}
	tokenListed = Ops{Gets: 1, Puts: 1}
	// session.(*Manager).look: the record, and the note of use.
	looked = Ops{Gets: 2}
	// store.(*Redis).Claim: four parts, and the turn.
	asked = Ops{Claims: 5}
)

// refreshed is all that a token costs that is fetched, or renewed, without anybody else
// asking at the same time; the first look is not in it.
func (f Fleet) refreshed() Ops {
	var o Ops
	parts := []Ops{obtained, tokenRead, tokenPut, released}
	if !f.Machines {
		parts = append(parts, obtained, beforeSent, afterSent, released, tokenListed)
	}
	for _, part := range parts {
		o.plus(part, 1)
	}
	return o
}
