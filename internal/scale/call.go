package scale

// call is one call of a pair: its session, then its token.
func (g *game) call(pair int) {
	if stop := g.p.Stop.Seconds(); stop > 0 && g.now > stop {
		return
	}
	g.later(g.pause(), event{kind: aCall, what: pair})
	g.count(&g.seen.Calls)
	at, who := g.dice.IntN(g.f.Pods), pair/g.f.Tenants
	if g.f.Sticky {
		at = who % g.f.Pods
	}
	if !g.f.Machines && !g.f.Alone && !g.session(at, who) {
		return
	}
	h, ok := g.pods[at].tokens.Get(pair)
	if !ok || g.left(h) < g.f.leeway() {
		g.launch(at, pair, false)
		return
	}
	h.used = true
	if g.left(h) <= h.soon {
		g.launch(at, pair, true)
	}
}

// session is what session.(*Manager).ByHandle does.
func (g *game) session(at, who int) bool {
	p, s := g.pods[at], &g.persons[who]
	if s.ended {
		return false
	}
	known, ok := p.sessions.Get(who)
	again := ok && g.now-known.called < believed.Seconds()
	if ok {
		known.called = g.now
	}
	if !ok || g.now > known.until || known.version != s.version {
		g.cost(recordRead)
		fresh := &seat{version: s.version, called: g.now, touched: -noted.Seconds()}
		if ok {
			fresh.touched = known.touched
		}
		if again {
			g.follow(at, who)
			fresh.until = g.now + believed.Seconds()
		}
		p.sessions.Add(who, fresh)
		known = fresh
	}
	if every := min(noted.Seconds(), g.f.Idle.Seconds()/10); g.now-known.touched >= every {
		g.cost(noteRead)
		if g.now-s.used >= every {
			g.cost(useNoted)
			s.used = g.now
		}
		known.touched = s.used
		g.watchToo(at, who)
	}
	return true
}

// follow has a pod told of the next change.
func (g *game) follow(at, who int) {
	if s := &g.persons[who]; !s.listening[at] {
		s.listening[at] = true
		g.listens++
		g.cost(subscribed)
	}
}

// unfollow is for a record that leaves a pod's memory.
func (g *game) unfollow(at, who int) {
	if s := &g.persons[who]; s.listening[at] {
		delete(s.listening, at)
		g.listens--
		g.cost(unsubscribed)
	}
}

// changed tells all who listen to a session.
func (g *game) changed(who int) {
	s := &g.persons[who]
	s.version++
	for range s.listening {
		g.cost(woken)
	}
	g.listens -= len(s.listening)
	clear(s.listening)
}

func (g *game) watch(at, who int, after float64) {
	g.pods[at].watched[who] = true
	g.later(after, event{kind: aLook, pod: at, what: who, flight: &flight{starts: g.pods[at].starts}})
}

// watchToo is for a session that was used at a pod.
func (g *game) watchToo(at, who int) {
	if !g.pods[at].watched[who] {
		g.watch(at, who, g.f.Idle.Seconds())
	}
}

// look is session.(*Manager).look.
func (g *game) look(at, who, starts int) {
	p, s := g.pods[at], &g.persons[who]
	if p.starts != starts {
		return
	}
	g.count(&g.seen.Looks)
	g.cost(looked)
	idle := g.f.Idle.Seconds()
	if again := s.used + idle - g.now; again > 0 && !s.ended {
		g.watch(at, who, again+idle/100+g.dice.Float64()*idle*0.08)
		return
	}
	delete(p.watched, who)
	if !s.ended {
		s.ended = true
		g.cost(afterSent) // the record is read and written as ended
		g.changed(who)
	}
}
