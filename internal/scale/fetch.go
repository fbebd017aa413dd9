package scale

// left is the life that a token has.
func (g *game) left(h *held) float64 { return h.sent + g.f.Lifetime.Seconds() - g.now }

// due is tokencache.(*Cache).wake: a token that was used is renewed.
func (g *game) due(at, pair int, of *flight) {
	p := g.pods[at]
	h, ok := p.tokens.Peek(pair)
	if ok && p.starts == of.starts && g.now+1e-6 >= h.sent+g.f.Lifetime.Seconds()-h.soon && h.used {
		g.launch(at, pair, true)
	}
}

// launch begins a fetch, unless one is under way.
func (g *game) launch(at, pair int, renewal bool) {
	p := g.pods[at]
	if p.flying[pair] {
		return
	}
	p.flying[pair] = true
	f := &flight{pod: at, pair: pair, starts: p.starts, renewal: renewal}
	if g.f.Alone {
		g.later(g.f.HelseID.Seconds(), event{kind: aLanding, flight: f})
		return
	}
	g.cost(tokenRead)
	if g.accepts(f) {
		g.keep(f, g.stored[pair])
		return
	}
	g.ask(f)
}

// accepts is tokencache.(*Cache).accepts, of what stands in the store.
func (g *game) accepts(f *flight) bool {
	s := g.stored[f.pair]
	if s.which == 0 || g.left(&s) < g.f.leeway() {
		return false
	}
	mine, ok := g.pods[f.pod].tokens.Peek(f.pair)
	if !ok || g.left(mine) < g.f.leeway() {
		return true
	}
	return mine.which != s.which && g.left(&s) > g.f.soon(g.dice.Float64())
}

// keep takes a token up in the pod.
func (g *game) keep(f *flight, token held) {
	p := g.pods[f.pod]
	delete(p.flying, f.pair)
	token.soon, token.used = g.f.soon(g.dice.Float64()), !f.renewal
	p.tokens.Add(f.pair, &token)
	g.later(max(g.left(&token)-token.soon, 0), event{kind: aDue, pod: f.pod, what: f.pair, flight: f})
}

// wanted is the lock that a fetch needs next.
func (g *game) wanted(f *flight) *lock {
	if f.inside {
		return &g.persons[f.pair/g.f.Tenants].refresh
	}
	return &g.locks[f.pair]
}

// dead says that the process of a fetch has ended.
func (g *game) dead(f *flight) bool { return g.pods[f.pod].starts != f.starts }

// ask is store.(*redisHold).wait, from one question to the next.
func (g *game) ask(f *flight) {
	if g.dead(f) {
		return
	}
	l := g.wanted(f)
	if l.holder != nil {
		if f.waited {
			g.cost(obtained)
		} else {
			g.cost(refused)
			g.count(&g.seen.Waits)
			f.waited = true
		}
		l.waiters = append(l.waiters, f)
		return
	}
	g.cost(obtained)
	l.holder = f
	if f.waited {
		g.cost(unsubscribed)
		f.waited = false
	}
	if f.inside {
		g.cost(beforeSent)
		g.later(g.f.HelseID.Seconds(), event{kind: aLanding, flight: f})
		return
	}
	g.underLock(f)
}

// underLock is the rest of tokencache.(*Cache).obtainShared.
func (g *game) underLock(f *flight) {
	g.cost(tokenRead)
	switch {
	case g.accepts(f):
		g.keep(f, g.stored[f.pair])
		g.later(roundTrip.Seconds(), event{kind: aRelease, flight: f})
	case g.f.Machines:
		g.later(g.f.HelseID.Seconds(), event{kind: aLanding, flight: f})
	default:
		f.inside = true
		g.ask(f)
	}
}

// land is HelseID's answer.
func (g *game) land(f *flight) {
	if g.dead(f) {
		return
	}
	g.fetched++
	g.count(&g.seen.HelseID)
	if second, counts := g.second(); counts {
		g.seen.HelseIDSeconds[second]++
	}
	token := held{which: g.fetched, sent: g.now - g.f.HelseID.Seconds()}
	if !g.f.Alone {
		g.share(f, token)
	}
	g.keep(f, token)
}

// share stores what came, and gives the locks back.
func (g *game) share(f *flight, token held) {
	if f.inside {
		who := f.pair / g.f.Tenants
		g.cost(afterSent)
		g.changed(who)
		if seat, ok := g.pods[f.pod].sessions.Peek(who); ok {
			seat.version = -1
		}
		g.unlock(f)
		f.inside = false
		g.cost(tokenListed)
	}
	g.cost(tokenPut)
	g.stored[f.pair] = token
	g.unlock(f)
}

// unlock is store.(*redisHold).giveBack.
func (g *game) unlock(f *flight) {
	if g.dead(f) {
		return
	}
	g.free(g.wanted(f))
}

// free wakes all who wait for a lock; each asks again within a moment.
func (g *game) free(l *lock) {
	g.cost(released)
	waiters := l.waiters
	l.holder, l.waiters = nil, nil
	for _, w := range waiters {
		g.cost(wokenFor)
		g.later(g.dice.Float64()*wakeSpread.Seconds(), event{kind: anAsk, flight: w})
	}
}
