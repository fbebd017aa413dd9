package store

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Whatever the kind of the server, the library repeats nothing, takes no longer than it
// is told, and sends nothing of its own.
func TestKindsAreSetAlike(t *testing.T) {
	const timeout = 321 * time.Millisecond
	for kind, address := range map[string]string{
		"server":   "rediss://localhost:1/?pool_size=3",
		"sentinel": "rediss://localhost:1/?pool_size=3&master_name=m",
		"cluster":  "rediss://localhost:1/?pool_size=3&cluster=true",
	} {
		t.Run(kind, func(t *testing.T) {
			e, err := dial(RedisOptions{URL: address, Timeout: timeout})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			o := e.nodeOptions(t)
			if o.MaxRetries > 0 || o.DialerRetries != 1 {
				t.Errorf("%d retries, %d of dialling", o.MaxRetries, o.DialerRetries)
			}
			for _, d := range []time.Duration{o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout} {
				if d != timeout {
					t.Errorf("a limit of %v, want %v", d, timeout)
				}
			}
			if !o.ContextTimeoutEnabled || !o.DisableIdentity || o.Protocol != 2 || o.PipelinePoolSize >= 0 {
				t.Errorf("deadlines of calls: %v, silent: %v, protocol %d, %d connections for pipelines",
					o.ContextTimeoutEnabled, o.DisableIdentity, o.Protocol, o.PipelinePoolSize)
			}
			if o.PoolSize != 3 || o.TLSConfig == nil {
				t.Errorf("pool of %d, TLS %v", o.PoolSize, o.TLSConfig != nil)
			}
		})
	}
}

// nodeOptions are those of the client of one server; of a cluster those that its nodes get.
func (e *engine) nodeOptions(t *testing.T) *redis.Options {
	t.Helper()
	if e.single != nil {
		return e.single.Options()
	}
	c := e.cluster.Options()
	return &redis.Options{
		MaxRetries: c.MaxRetries, DialerRetries: c.DialerRetries, ContextTimeoutEnabled: c.ContextTimeoutEnabled,
		DialTimeout: c.DialTimeout, ReadTimeout: c.ReadTimeout, WriteTimeout: c.WriteTimeout, PoolTimeout: c.PoolTimeout,
		DisableIdentity: c.DisableIdentity, Protocol: c.Protocol, PipelinePoolSize: c.PipelinePoolSize,
		PoolSize: c.PoolSize, TLSConfig: c.TLSConfig,
	}
}
