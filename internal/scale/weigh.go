package scale

import "math"

// What things weigh, in bytes. What is in the store is measured by internal/store
// (TestRedisListeners) and internal/app (TestStoreMemory), what is in a pod by TestWeight of
// internal/tokencache and internal/session.
const (
	personBytes       = 3100
	pairBytes         = 2800
	machineBytes      = 2750
	subscriptionBytes = 170
	connectionBytes   = 60_000
	// In a pod.
	podTokenBytes   = 4500
	podSessionBytes = 3000
	podWatchBytes   = 300
	// leastConnections and mostConnections of one pod: one listens, and of the others
	// go-redis opens ten for each core when so many calls come at once.
	leastConnections = 2
	mostConnections  = 21
)

// What a command costs the server in processor time, in microseconds, with all that
// belongs to it: twice what BenchmarkRedisServer says (Redis 7.0.15 at a loopback port),
// for a network and TLS.
const (
	getTime    = 6
	putTime    = 22 // a note 14, a token 28
	lockTime   = 14
	listenTime = 3
)

// Processor is how much of one core the server needs for what comes in a second.
func (o Ops) Processor() float64 {
	return 1e-6 * (getTime*o.Gets + putTime*o.Puts + lockTime*(o.Obtains+o.Releases) + lockTime*(o.Claims+o.Presents) + listenTime*(o.Subscribes+o.Unsubscribes+o.Messages))
}

// weigh adds bytes and connections.
func (f Fleet) weigh(l *Load, tokens, sessions reach) {
	l.PodBytes = podTokenBytes * f.held(f.Pairs, f.Entries, tokens, f.Lifetime.Seconds())
	if f.Alone {
		return
	}
	l.Connections, l.MostConnections = f.Pods*leastConnections, f.Pods*mostConnections
	l.StoreBytes = float64(f.Pairs) * machineBytes
	l.ListenBytes = float64(l.Connections) * connectionBytes
	if f.Machines {
		return
	}
	l.StoreBytes = float64(f.Pairs)*pairBytes + float64(f.persons())*personBytes
	l.ListenBytes += l.Subscriptions * subscriptionBytes
	l.PodBytes += podSessionBytes*f.held(f.persons(), f.Sessions, sessions, f.Shift.Seconds()) +
		podWatchBytes*f.held(f.persons(), math.MaxInt, sessions, f.Shift.Seconds())
}

// held is how much of something one pod has in memory, that stays for so many seconds
// after a call and of which there is room for so much.
func (f Fleet) held(all, room int, r reach, stays float64) float64 {
	each := float64(all)
	if f.Sticky {
		each /= float64(f.Pods)
	}
	return min(float64(room), each*(1-math.Exp(-r.rate*stays)))
}
