package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Query parameters of the address. No others are taken: the client library knows
// some that would break what this room promises (its retries, reading from
// replicas).
const (
	queryMaster  = "master_name" // sentinel: the name of the master
	queryCluster = "cluster"     // true: the nodes are a cluster
	queryAddr    = "addr"        // a further sentinel or node, once for each
	queryWait    = "wait_replicas"
)

var queries = []string{
	queryMaster, queryCluster, queryAddr, queryWait,
	"db", "username", "password", "pool_size", "min_idle_conns", "max_active_conns",
}

// AddressError says what is wrong with the address of a shared store. It never holds
// the address itself, in which a password may stand.
type AddressError struct{ Problem string }

func (e *AddressError) Error() string { return "the address of the shared store " + e.Problem }

// engine is a client of one of three kinds.
type engine struct {
	redis.UniversalClient
	single  *redis.Client        // nil for a cluster
	cluster *redis.ClusterClient // nil otherwise
	// replicas is how many replicas should have what a lock's holder wrote.
	replicas int
	kind     string // as in State
	tls      bool
}

// dial makes the client for an address. It connects to nothing yet.
func dial(o RedisOptions) (*engine, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, &AddressError{"can't be read; special characters of a password must be percent-encoded"}
	}
	if !slices.Contains([]string{"redis", "rediss", "unix"}, u.Scheme) {
		return nil, &AddressError{"must begin with redis://, rediss:// or unix://"}
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, &AddressError{"has a query that can't be read"}
	}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		if !slices.Contains(queries, name) {
			return nil, &AddressError{fmt.Sprintf("has the parameter %.40q; known are %s", name, strings.Join(queries, ", "))}
		}
	}
	replicas := 0
	if q.Has(queryMaster) {
		replicas = 1 // who has sentinels has a replica, and will come to need it
	}
	if text := q.Get(queryWait); text != "" {
		if replicas, err = strconv.Atoi(text); err != nil || replicas < 0 {
			return nil, &AddressError{"has a parameter wait_replicas that is no number"}
		}
	}
	e, err := dialKind(u, q, o)
	if err == nil {
		e.replicas, e.tls = replicas, u.Scheme == "rediss"
	}
	return e, err
}

// dialKind tells the three kinds apart.
func dialKind(u *url.URL, q url.Values, o RedisOptions) (*engine, error) {
	clustered := q.Get(queryCluster)
	q.Del(queryCluster)
	q.Del(queryWait)
	for name, value := range fixed(o.Timeout) {
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	silence()
	switch {
	case clustered != "" && clustered != "true" && clustered != "false":
		return nil, &AddressError{"has a parameter cluster that is neither true nor false"}
	case clustered == "true" && q.Has(queryMaster):
		return nil, &AddressError{"has both cluster and master_name"}
	case clustered == "true":
		return dialCluster(u, o)
	case q.Has(queryMaster):
		return dialSentinel(u, o)
	case q.Has(queryAddr):
		return nil, &AddressError{"has several servers (addr); say whether they are a cluster (cluster=true) or sentinels (master_name=NAME)"}
	}
	return dialSingle(u, o)
}

// fixed is what no address may say otherwise, in the words of the library's addresses:
// it has a type of options for each kind of server, and reads all three from an address.
// What it does not take there stands with each kind.
func fixed(timeout time.Duration) map[string]string {
	return map[string]string{
		"max_retries":        "-1", // it would repeat what must happen once
		"dial_timeout":       timeout.String(),
		"read_timeout":       timeout.String(),
		"write_timeout":      timeout.String(),
		"pool_timeout":       timeout.String(),
		"protocol":           "2",
		"pipeline_pool_size": "-1",
	}
}

var errUnread = &AddressError{"can't be read; the forms are redis://USER:PASSWORD@HOST:PORT/DB, rediss://… and unix:///PATH?db=DB"}

func dialSingle(u *url.URL, o RedisOptions) (*engine, error) {
	c, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, errUnread // the library's error may quote the address
	}
	c.DialerRetries, c.ContextTimeoutEnabled, c.DisableIdentity = 1, true, true
	c.TLSConfig = trusting(c.TLSConfig, o)
	client := redis.NewClient(c)
	return &engine{UniversalClient: client, single: client, kind: "server"}, nil
}

func dialSentinel(u *url.URL, o RedisOptions) (*engine, error) {
	c, err := redis.ParseFailoverURL(u.String())
	if err != nil {
		return nil, errUnread
	}
	c.DialerRetries, c.ContextTimeoutEnabled, c.DisableIdentity = 1, true, true
	c.TLSConfig = trusting(c.TLSConfig, o)
	client := redis.NewFailoverClient(c)
	return &engine{UniversalClient: client, single: client, kind: "sentinel"}, nil
}

// mapAge is how old the map of a cluster, which node holds what, may be before a call has
// the client ask for it again; by itself it would use one for a minute, and so ask a node
// that died long after another has its place. It costs each process a CLUSTER SLOTS every
// two seconds or so: one small answer of any node, for which no call waits.
const mapAge = 2 * time.Second

// mapAgain is how long after something has shown that a map is wrong it is asked for a
// second time.
const mapAgain = 150 * time.Millisecond

func dialCluster(u *url.URL, o RedisOptions) (*engine, error) {
	if u.Scheme == "unix" || strings.Trim(u.Path, "/0") != "" {
		return nil, &AddressError{"names a socket or a database; a cluster has neither"}
	}
	c, err := redis.ParseClusterURL(u.String())
	if err != nil {
		return nil, errUnread
	}
	c.DialerRetries, c.ContextTimeoutEnabled, c.DisableIdentity = 1, true, true
	c.ClusterStateReloadInterval = mapAge
	c.DisableRoutingPolicies = true // every command of ours has one key, or keys of one slot
	c.TLSConfig = trusting(c.TLSConfig, o)
	client := redis.NewClusterClient(c)
	return &engine{UniversalClient: client, cluster: client, kind: "cluster"}, nil
}

// trusting is the TLS configuration of rediss://, nil for the others.
func trusting(c *tls.Config, o RedisOptions) *tls.Config {
	if c != nil {
		c.MinVersion, c.RootCAs = tls.VersionTLS12, o.Roots
	}
	return c
}

// silence keeps the library from writing to standard error. Its logger is one for
// the whole process, and nobody else here uses it.
var silence = sync.OnceFunc(func() { redis.SetLogger(mute{}) })

type mute struct{}

func (mute) Printf(context.Context, string, ...any) {}

// node is the server that holds a name: where it is, and a client for it alone.
func (e *engine) node(ctx context.Context, name string) (*redis.Client, error) {
	if e.cluster == nil {
		return e.single, nil
	}
	return e.cluster.MasterForKey(ctx, name)
}

// replaced says whether another node of a cluster has what a server had, by the map that
// the client has.
func (e *engine) replaced(ctx context.Context, server, name string) bool {
	if e.cluster == nil {
		return false
	}
	node, err := e.cluster.MasterForKey(ctx, name)
	return err == nil && node.Options().Addr != server
}

// renew has the map of a cluster asked for, and once more a moment later: the nodes do not
// all learn at once what has changed. It waits for nothing: who calls at once may still
// be sent to the node of before.
func (e *engine) renew() {
	if e.cluster != nil {
		e.cluster.ReloadState(context.Background())
		time.AfterFunc(mapAgain, func() { e.cluster.ReloadState(context.Background()) })
	}
}

// masters calls f for each server that is written to, one after the other.
func (e *engine) masters(ctx context.Context, f func(*redis.Client) error) error {
	if e.cluster == nil {
		return f(e.single)
	}
	var mu sync.Mutex
	return e.cluster.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		return f(c)
	})
}

// once is a command that a cluster's client must not send a second time after a
// connection broke. One that a node did not take (MOVED, ASK) goes to the right one.
type once struct{ *redis.Cmd }

func (once) NoRetry() bool { return true }

// call sends a command and returns its answer, nil where that is nothing.
func (e *engine) call(ctx context.Context, args ...any) (any, error) {
	cmd := once{redis.NewCmd(ctx, args...)}
	_ = e.Process(ctx, cmd) // the command has the error, too
	answer, err := cmd.Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return answer, err
}

// callFrom sends a command to one server and waits, on the same connection, until
// replicas have what it wrote, but not longer than limit. It returns how many have.
func callFrom(ctx context.Context, c *redis.Client, replicas int, limit time.Duration, args ...any) (any, int, error) {
	pipe := c.Pipeline()
	cmd, have := pipe.Do(ctx, args...), pipe.Do(ctx, "wait", replicas, milliseconds(limit))
	_, _ = pipe.Exec(ctx) // the commands have the errors, too
	answer, err := cmd.Result()
	n, _ := have.Int()
	return answer, n, err
}
