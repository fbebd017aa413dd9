package store

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// silent is how long a line may say nothing before it is asked whether it lives,
	// and how long it then has to answer.
	silent = 3 * time.Second
	// looksAgain is how often a line of a cluster looks whether its server still has what
	// it listens to.
	looksAgain = time.Second
	// sample is at how much of that, as chance has it, unless some of it is gone.
	sample = 200
)

// hub is where changes are heard of: one line (a connection that only listens) for
// the process, in a cluster one for each node, however many watch. A line that
// fails wakes everybody who watches through it; they read again, and the next who
// watches opens another. So a message is lost to nobody who does not know it.
type hub struct {
	life    context.Context
	engine  *engine
	timeout time.Duration

	mu    sync.Mutex // guards lines
	lines map[string]*line
	work  group
}

func newHub(life context.Context, e *engine, timeout time.Duration) *hub {
	return &hub{life: life, engine: e, timeout: timeout, lines: map[string]*line{}}
}

var errLineLost = errors.New("the connection that tells of changes was lost")

// watch returns when the server has confirmed that it will tell: what happens from
// now on closes the channel.
func (h *hub) watch(ctx context.Context, name string) (<-chan struct{}, func(), error) {
	heard, err := h.hear(ctx, name, nil)
	if err != nil {
		return nil, nil, err
	}
	return heard.lost, heard.leave, nil
}

// hearing is somebody's hearing of messages, through one line.
type hearing struct {
	lost  <-chan struct{} // closed when the line tells no more, or once it told who is woken once
	leave func()
	since time.Time // when the server confirmed that it tells here, on this connection
}

// hear is watch for one who is called with each message instead, until the line tells no
// more. heard must neither wait nor call the hub.
func (h *hub) hear(ctx context.Context, name string, heard func(message string)) (*hearing, error) {
	l, err := h.line(ctx, name)
	if err != nil {
		return nil, err
	}
	asked := time.Now()
	t, ch := l.join(name, heard)
	if t == nil {
		return nil, errLineLost
	}
	select {
	case <-t.ready:
		return &hearing{ch, func() { l.leave(name, ch) }, t.since}, nil
	case <-l.lost:
		return nil, l.why
	case <-ctx.Done():
		l.leave(name, ch)
		// Its server may be paused, or cut off, and another be master by now.
		if time.Since(asked) >= h.timeout*9/10 && l.heard.Load() < asked.UnixNano() {
			l.fail(errLineLost)
		}
		return nil, ctx.Err()
	}
}

// line is the line to the server that holds a name.
func (h *hub) line(ctx context.Context, name string) (*line, error) {
	client, err := h.engine.node(ctx, name)
	if err != nil {
		return nil, err
	}
	return h.lineTo(client)
}

// lineTo is the line to a server.
func (h *hub) lineTo(client *redis.Client) (*line, error) {
	server := client.Options().Addr
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.lines[server]; l != nil {
		return l, nil
	}
	l := &line{
		hub: h, server: server, conn: client.Subscribe(h.life), sharded: h.engine.cluster != nil,
		lost: make(chan struct{}), more: make(chan struct{}, 1), topics: map[string]*topic{},
	}
	if !h.work.start(l.listen) || !h.work.start(l.tell) {
		_ = l.conn.Close()
		return nil, errLineLost
	}
	h.lines[server] = l
	return l, nil
}

func (h *hub) drop(l *line) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lines[l.server] == l {
		delete(h.lines, l.server)
	}
}

// wait ends all lines; the hub's life has ended before.
func (h *hub) wait() {
	h.mu.Lock()
	lines := h.lines
	h.lines = map[string]*line{}
	h.mu.Unlock()
	for _, l := range lines {
		_ = l.conn.Close()
	}
	h.work.wait()
}

// line is one connection that listens.
type line struct {
	hub     *hub
	server  string
	conn    *redis.PubSub
	sharded bool
	lost    chan struct{} // closed when it failed
	why     error         // read after lost is closed
	more    chan struct{} // there are orders
	heard   atomic.Int64  // when the server last said something, in Unix nanoseconds

	mu     sync.Mutex // guards what follows
	ended  bool
	topics map[string]*topic
	orders []order
}

// topic is a channel of the server that somebody here watches, or did just now. It
// is given up only once it is confirmed: so that answers can be told apart.
type topic struct {
	ready     chan struct{} // closed when the server has confirmed
	confirmed bool
	since     time.Time                              // when it did; read after ready is closed
	watchers  map[chan struct{}]func(message string) // nil for one who is woken once
}

// order is what the server is to be told: to listen to a channel or not, or, where
// there is none, to answer.
type order struct {
	name   string
	listen bool
}

// join adds a watcher; no topic when the line has failed.
func (l *line) join(name string, heard func(message string)) (*topic, chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return nil, nil
	}
	t := l.topics[name]
	if t == nil {
		t = &topic{ready: make(chan struct{}), watchers: map[chan struct{}]func(string){}}
		l.topics[name] = t
		l.order(order{name, true})
	}
	ch := make(chan struct{})
	t.watchers[ch] = heard
	return t, ch
}

func (l *line) leave(name string, ch chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.topics[name]
	if t == nil {
		return
	}
	delete(t.watchers, ch)
	l.tidy(name, t)
}

// tidy gives up a topic that nobody watches; l.mu is held.
func (l *line) tidy(name string, t *topic) {
	if t.confirmed && len(t.watchers) == 0 {
		delete(l.topics, name)
		l.order(order{name, false})
	}
}

// order has something told to the server; l.mu is held.
func (l *line) order(o order) {
	l.orders = append(l.orders, o)
	select {
	case l.more <- struct{}{}:
	default: // it is about to look
	}
}

// tell carries orders out, as many at a time as are of one sort.
func (l *line) tell() {
	looks := time.NewTicker(looksAgain)
	defer looks.Stop()
	for {
		select {
		case <-l.more:
		case <-looks.C:
			if l.sharded {
				l.look()
			}
			continue
		case <-l.lost:
			return
		}
		l.mu.Lock()
		orders := l.orders
		l.orders = nil
		l.mu.Unlock()
		for len(orders) > 0 {
			n := 1
			for n < len(orders) && orders[n].listen == orders[0].listen && orders[n].name != "" && orders[0].name != "" {
				n++
			}
			if err := l.send(orders[:n]); err != nil {
				l.fail(err)
				return
			}
			orders = orders[n:]
		}
	}
}

func (l *line) send(orders []order) error {
	ctx, cancel := context.WithTimeout(l.hub.life, l.hub.timeout)
	defer cancel()
	if orders[0].name == "" {
		return l.conn.Ping(ctx)
	}
	names := make([]string, len(orders))
	for i, o := range orders {
		names[i] = o.name
	}
	switch {
	case l.sharded && orders[0].listen:
		return l.conn.SSubscribe(ctx, names...)
	case l.sharded:
		return l.conn.SUnsubscribe(ctx, names...)
	case orders[0].listen:
		return l.conn.Subscribe(ctx, names...)
	default:
		return l.conn.Unsubscribe(ctx, names...)
	}
}

// listen takes what the server says, until the connection fails or has been silent
// for too long.
func (l *line) listen() {
	asked := false
	for {
		message, err := l.conn.ReceiveTimeout(l.hub.life, silent)
		timeout, isNet := errors.AsType[net.Error](err)
		switch {
		case err == nil:
			asked = false
			l.heard.Store(time.Now().UnixNano())
			l.hear(message)
		case isNet && timeout.Timeout() && !asked && l.hub.life.Err() == nil:
			asked = true
			l.mu.Lock()
			l.order(order{})
			l.mu.Unlock()
		default:
			l.fail(err)
			return
		}
	}
}

func (l *line) hear(message any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch m := message.(type) {
	case *redis.Message:
		l.wake(m.Channel, m.Payload)
	case *redis.Subscription:
		t := l.topics[m.Channel]
		switch {
		case t == nil:
		case (m.Kind == "subscribe" || m.Kind == "ssubscribe") && !t.confirmed:
			t.confirmed, t.since = true, time.Now()
			close(t.ready)
			l.tidy(m.Channel, t)
		case m.Kind == "sunsubscribe" && t.confirmed:
			// Nobody asked for that: the channel has moved to another node.
			l.hub.engine.renew()
			l.letGo(m.Channel, t)
		}
	}
}

// look lets go of what another node has by now. This one may be its replica: that takes
// listeners, but it is not asked who listens.
func (l *line) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen, found := 0, false
	for name, t := range l.topics {
		if seen++; seen > sample && !found {
			return
		}
		if t.confirmed && l.hub.engine.replaced(l.hub.life, l.server, name) {
			found = true
			l.letGo(name, t)
			l.order(order{name, false})
		}
	}
}

// letGo wakes those who watch what the server has no more; l.mu is held.
func (l *line) letGo(name string, t *topic) {
	for ch := range t.watchers {
		close(ch)
	}
	delete(l.topics, name)
}

// wake wakes those who watch a channel; l.mu is held. A message that comes before
// the confirmation is about what was before: the server still had an earlier order.
func (l *line) wake(name, message string) {
	t := l.topics[name]
	if t == nil || !t.confirmed {
		return
	}
	for ch, heard := range t.watchers {
		if heard != nil {
			heard(message)
			continue
		}
		close(ch)
		delete(t.watchers, ch)
	}
	l.tidy(name, t)
}

// fail ends the line and wakes everybody.
func (l *line) fail(why error) {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return
	}
	l.ended = true
	if l.hub.life.Err() == nil {
		l.hub.engine.renew() // another node may have its place
	}
	for _, t := range l.topics {
		for ch := range t.watchers {
			close(ch)
		}
	}
	clear(l.topics)
	l.why = why
	close(l.lost)
	l.mu.Unlock()
	l.hub.drop(l)
	_ = l.conn.Close()
}
