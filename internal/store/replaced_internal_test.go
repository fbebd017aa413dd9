//go:build unix

package store

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// startReplica has a new node follow one of a cluster's masters.
func startReplica(t *testing.T, nodes []*redisServer, master *redisServer) *redisServer {
	t.Helper()
	bus := freePort(t)
	replica := startRedisTCP(t, "--cluster-enabled", "yes", "--cluster-port", bus)
	for _, n := range append([]*redisServer{replica}, nodes...) {
		n.cli(t, "CONFIG", "SET", "cluster-node-timeout", "1000", "repl-diskless-sync-delay", "0")
	}
	host, port, _ := net.SplitHostPort(replica.address)
	master.cli(t, "CLUSTER", "MEET", host, port, bus)
	id := master.cli(t, "CLUSTER", "MYID")
	within(t, 10*time.Second, "the replica follows its master", func() bool {
		_ = replica.tryCommand("CLUSTER REPLICATE " + id)
		return strings.Contains(replica.tryCommand("INFO replication"), "master_link_status:up")
	})
	for _, n := range append([]*redisServer{replica}, nodes...) {
		within(t, 10*time.Second, "all know the replica", func() bool {
			return strings.Contains(n.tryCommand("CLUSTER NODES"), "slave "+id) &&
				strings.Contains(n.tryCommand("CLUSTER INFO"), "cluster_state:ok")
		})
	}
	return replica
}

// place is where the node is that holds a name, as a store has it.
func place(t *testing.T, r *Redis, name string) string {
	t.Helper()
	node, err := r.engine.node(t.Context(), name)
	must(t, err)
	return node.Options().Addr
}

// keepMap has a store ask for the map of its cluster only when something has shown that
// it is wrong, and not by time.
func keepMap(r *Redis) *Redis {
	o := *r.engine.cluster.Options()
	o.ClusterStateReloadInterval = time.Hour
	_ = r.engine.cluster.Close()
	r.engine.cluster = redis.NewClusterClient(&o)
	r.engine.UniversalClient = r.engine.cluster
	return r
}

// Whose node is replaced by another, as planned or because it died, is served again soon, and
// hears again: at the new node, since one that is a replica now takes listeners, too.
func TestRedisNodeReplaced(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t)
	url := "redis://" + nodes[0].address + "?cluster=true&addr=" + nodes[1].address + "&addr=" + nodes[2].address
	teller := openTest(t, url)
	channel := teller.channel("session")
	first := nodes[slices.IndexFunc(nodes, func(n *redisServer) bool { return n.address == place(t, teller, channel) })]
	second := startReplica(t, nodes, first)
	busy, ears, idle := keepMap(openTest(t, url)), openTest(t, url), openTest(t, url)
	key := Key{"session", "all"} // beside the channel
	var heard listener
	defer ears.Hear("session", heard.take)()
	wantTold(t, teller, &heard, "before")

	replaces := func(how string, by *redisServer, replace func()) {
		changed, stop, err := teller.Watch(t.Context(), key)
		must(t, err)
		defer stop()
		_, err = idle.Get(t.Context(), key)
		if refusal(err) != "" {
			t.Fatal(err)
		}
		replace()
		begun := time.Now()
		wantClosed(t, changed, "who watches is woken")
		within(t, 8*time.Second, "the name is served again", func() bool {
			_, err := busy.Get(t.Context(), key)
			return refusal(err) == ""
		})
		t.Logf("%s: served again after %v", how, time.Since(begun))
		if at := busy.State().Resting; !at.IsZero() {
			t.Errorf("%s: rests since %v, though nobody asks the server of before", how, at)
		}
		wantHeardAt(t, by, channel)
		wantTold(t, teller, &heard, how)
		t.Logf("%s: heard again after %v", how, time.Since(begun))
		wantWatched(t, busy, teller, key)
	}
	leavesWrongNode(t, ears, key)
	replaces("planned", second, func() { second.cli(t, "CLUSTER", "FAILOVER") })
	within(t, 5*time.Second, "the master of before follows", func() bool {
		return strings.Contains(first.tryCommand("INFO replication"), "master_link_status:up")
	})
	replaces("killed", first, second.kill)
	// Who asked nothing meanwhile has an old map, and finds that out by one call.
	_, _ = idle.Get(t.Context(), key)
	within(t, 200*time.Millisecond, "who was idle is served", func() bool {
		time.Sleep(100 * time.Millisecond)
		_, err := idle.Get(t.Context(), key)
		return refusal(err) == ""
	})
}

func wantClosed(t *testing.T, ch <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(5 * time.Second):
		t.Fatal("not in time:", what)
	}
}

// leavesWrongNode has a store listen at a server that is not the one of the map, and does not
// say so, and waits until it leaves. At the right one it stays.
func leavesWrongNode(t *testing.T, r *Redis, key Key) {
	t.Helper()
	right, stop, err := r.Watch(t.Context(), key)
	must(t, err)
	defer stop()
	server, name := startRedisTCP(t), r.seal.name(key)
	client := redis.NewClient(&redis.Options{Addr: server.address})
	defer client.Close()
	l, err := r.hub.lineTo(client)
	must(t, err)
	listens, wrong := l.join(name, nil)
	wantClosed(t, listens.ready, "the wrong node takes a listener")
	wantClosed(t, wrong, "who listens is told")
	within(t, 5*time.Second, "nobody listens at the wrong node", func() bool {
		return strings.Contains(server.tryCommand("PUBSUB SHARDNUMSUB "+name), ":0\r\n")
	})
	select {
	case <-right:
		t.Error("who listens at the right node was told to leave")
	default:
	}
}

// wantHeardAt waits until somebody listens to a channel at a server.
func wantHeardAt(t *testing.T, s *redisServer, channel string) {
	t.Helper()
	within(t, 10*time.Second, "the channel is listened to at its new node", func() bool {
		return strings.Contains(s.tryCommand("PUBSUB SHARDNUMSUB "+channel), ":1\r\n")
	})
}

// wantWatched waits until a change that another makes is seen by who watches.
func wantWatched(t *testing.T, r, other *Redis, key Key) {
	t.Helper()
	within(t, 5*time.Second, "a change is seen", func() bool {
		changed, stop, err := r.Watch(t.Context(), key)
		if err != nil || other.Put(t.Context(), key, nil, time.Hour) != nil {
			return false
		}
		defer stop()
		select {
		case <-changed:
			return true
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
}
