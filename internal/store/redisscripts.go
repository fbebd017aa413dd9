package store

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"time"

	"github.com/redis/go-redis/v9"
)

// script runs in the server, in one step. All its keys have one tag.
type script struct {
	source, sum string
	keys        int
}

func newScript(keys int, source string) *script {
	sum := sha1.Sum([]byte(source))
	return &script{source, hex.EncodeToString(sum[:]), keys}
}

// run sends the script's hash, and the script itself to a server that does not
// know it (yet, or after a restart): that server has done nothing then.
func (s *script) run(ctx context.Context, e *engine, args ...any) (any, error) {
	answer, err := e.call(ctx, append([]any{"evalsha", s.sum, s.keys}, args...)...)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		return e.call(ctx, append([]any{"eval", s.source, s.keys}, args...)...)
	}
	return answer, err
}

// runFrom is run at one server, waiting for its replicas as callFrom does.
func (s *script) runFrom(ctx context.Context, c *redis.Client, replicas int, limit time.Duration, args ...any) (any, int, error) {
	answer, have, err := callFrom(ctx, c, replicas, limit, append([]any{"evalsha", s.sum, s.keys}, args...)...)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		return callFrom(ctx, c, replicas, limit, append([]any{"eval", s.source, s.keys}, args...)...)
	}
	return answer, have, err
}

// The scripts that write entries end with a message to those who watch, who
// listen at a channel with the entry's name. An entry of a newer format is left
// alone: byte 1 of an entry is its format, bytes 6-13 its fence, 14-21 its version. What
// is no entry, text or a list, say, is as good as missing.
var (
	// ARGV: entry, ttl in ms, version or '', fence or '', format, publish or spublish
	putScript = newScript(1, `
local old = redis.pcall('GETRANGE', KEYS[1], 0, 20)
if type(old) ~= 'string' then old = 'x' end
if #old > 0 and old:byte(1) > tonumber(ARGV[5]) and old:byte(1) < 32 then return 'newer' end
local entry, fence, version = ARGV[1], ('\0'):rep(8), ('\0'):rep(8)
if #old == 21 then
	fence, version = old:sub(6, 13), old:sub(14, 21)
elseif #old > 0 then
	version = 'damaged'
end
if ARGV[3] ~= '' and ARGV[3] ~= version then return 'changed' end
if ARGV[4] ~= '' then
	if struct.unpack('>I8', ARGV[4]) < struct.unpack('>I8', fence) then return 'fenced' end
	fence = ARGV[4]
end
redis.call('SET', KEYS[1], entry:sub(1, 5) .. fence .. entry:sub(14), 'PX', ARGV[2])
redis.call(ARGV[6], KEYS[1], '')
return 'ok'`)

	// ARGV: format, publish or spublish
	takeScript = newScript(1, `
local old = redis.pcall('GET', KEYS[1])
if not old then return false end
if type(old) ~= 'string' then old = '' end
if #old > 0 and old:byte(1) > tonumber(ARGV[1]) and old:byte(1) < 32 then return old end
redis.call('DEL', KEYS[1])
redis.call(ARGV[2], KEYS[1], '')
return old`)

	// ARGV: publish or spublish, what must be there or ''. What is of another type goes.
	deleteScript = newScript(1, `
local old = redis.pcall('GET', KEYS[1])
if ARGV[2] ~= '' and type(old) ~= 'table' and old ~= ARGV[2] then return 0 end
if redis.call('DEL', KEYS[1]) == 0 then return 0 end
redis.call(ARGV[1], KEYS[1], '')
return 1`)

	// ARGV: publish or spublish. Every command of the other scripts, on a name of its own.
	rightsScript = newScript(1, `
redis.call('TIME')
redis.call('SET', KEYS[1], '', 'PX', 1000)
redis.call('PEXPIRE', KEYS[1], 1000)
redis.call('PTTL', KEYS[1])
redis.call('GET', KEYS[1])
redis.call('GETRANGE', KEYS[1], 0, 0)
redis.call('DEL', KEYS[1])
redis.call('ZADD', KEYS[1], 1, '')
redis.call('PEXPIRE', KEYS[1], 1000)
redis.call('ZSCORE', KEYS[1], '')
redis.call('ZRANGE', KEYS[1], 0, 0)
redis.call('ZRANGEBYSCORE', KEYS[1], 0, 0)
redis.call('ZREM', KEYS[1], '')
redis.call(ARGV[1], KEYS[1], '')
return 'ok'`)

	// ARGV: the note, its life in ms. Another note is left as it is, and returned.
	noteScript = newScript(1, `
local old = redis.call('GET', KEYS[1])
if not old or old == ARGV[1] then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return old`)
)

// The lock is a key whose value is its holder. Its fence follows the server's
// clock, in microseconds, and never goes back while the fence's own key lives: so
// that key need not stay for ever.
var (
	// KEYS: lock, fence. ARGV: holder, lease in ms, life of the fence in ms.
	// Returns the fence, or 0 and how long the other's lease is. What no sidecar wrote,
	// by its type, its life or its size, neither holds the lock nor is a fence.
	obtainScript = newScript(2, `
local holder, left = redis.pcall('GET', KEYS[1]), redis.call('PTTL', KEYS[1])
if type(holder) == 'string' and holder ~= ARGV[1] and left >= 0 and left <= 100 * ARGV[2] then return {0, left} end
local now = redis.call('TIME')
local fence = now[1] * 1000000 + now[2]
local last = redis.pcall('GET', KEYS[2])
last = type(last) == 'string' and tonumber(last) or 0
if last < 9e15 and fence <= last then fence = last + 1 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], string.format('%.0f', fence), 'PX', ARGV[3])
return {fence, 0}`)

	// KEYS: lock. ARGV: holder, lease in ms.
	renewScript = newScript(1, `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`)

	// KEYS: lock. ARGV: holder, publish or spublish.
	releaseScript = newScript(1, `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call(ARGV[2], KEYS[1], '')
return 1`)
)
