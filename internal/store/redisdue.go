package store

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"
)

const (
	// dueShards are the parts of the notes of one kind, which lie on different nodes of a
	// cluster. All replicas must agree.
	dueShards = 4
	// dueAtOnce is how many entries of a part one claim gives.
	dueAtOnce = 16
	// dueLife is how long notes stay that nobody claims.
	dueLife = time.Hour
	// dueNever is when the next entry falls due where none is noted.
	dueNever = time.Hour
	// dueEvery is how often somebody should ask what is due. Where many do, they ask one
	// after the other, dueApart; but each at least once in dueSeldom, since some of those
	// who have a turn may be gone.
	dueEvery  = 5 * time.Second
	dueApart  = 250 * time.Millisecond
	dueSeldom = time.Minute
)

// The notes of a part are a sorted set: by the hashes of the entries' IDs, the moment
// in microseconds of the server's clock, which is the mark, too. An entry lies in
// another slot than its note, so no script sees both.
var (
	// KEYS: part. ARGV: member, in us, least life of the part in ms. Returns the moment.
	dueScript = newScript(1, `
local now = redis.call('TIME')
local at = string.format('%.0f', now[1] * 1000000 + now[2] + ARGV[2])
redis.call('ZADD', KEYS[1], at, ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return at`)

	// KEYS: part. ARGV: member, the moment that was noted.
	settleScript = newScript(1, `
local at = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not at or tonumber(at) ~= tonumber(ARGV[2]) then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])`)

	// KEYS: part. ARGV: how many, lease in us, least life of the part in ms. Returns the
	// new moment, how long nothing else falls due, in us, and the members.
	claimScript = newScript(1, `
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local at = string.format('%.0f', now + ARGV[2])
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[1])
for _, member in ipairs(due) do redis.call('ZADD', KEYS[1], at, member) end
if #due > 0 and redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local next = -1
if first[2] then next = math.max(0, tonumber(first[2]) - now) end
return {at, string.format('%.0f', next), due}`)

	// KEYS: the last turn that was given. ARGV: least, apart and most, in us. Returns how
	// long it is until the caller's turn, in us.
	turnScript = newScript(1, `
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local last = redis.pcall('GET', KEYS[1])
last = type(last) == 'string' and tonumber(last) or 0
local at = math.min(math.max(now + ARGV[1], last + ARGV[2]), now + ARGV[3])
redis.call('SET', KEYS[1], string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000))
return string.format('%.0f', at - now)`)
)

var _ Agenda = (*Redis)(nil)

// part is the name of the notes that an entry's note is among, and the note's own.
func (r *Redis) part(key Key) (part, member string) {
	member = strings.Trim(r.seal.tag(key.ID), "{}")
	return r.partName(key.Kind, int(member[0])%dueShards), member
}

func (r *Redis) partName(kind string, shard int) string {
	return r.seal.name(Key{"due-" + kind, "notes " + strconv.Itoa(shard)})
}

// Due implements [Agenda].
func (r *Redis) Due(ctx context.Context, key Key, in time.Duration) (mark uint64, err error) {
	part, member := r.part(key)
	answer, err := r.do(ctx, "due", part, func(ctx context.Context) (any, error) {
		return dueScript.run(ctx, r.engine, part, member, max(0, in).Microseconds(), milliseconds(in+dueLife))
	})
	if err != nil {
		return 0, err
	}
	return moment("due", answer)
}

// moment reads one that a script gave.
func moment(op string, answer any) (uint64, error) {
	text, _ := answer.(string)
	at, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, notUnderstood(op)
	}
	return at, nil
}

// Settle implements [Agenda].
func (r *Redis) Settle(ctx context.Context, key Key, mark uint64) error {
	part, member := r.part(key)
	return r.settle(ctx, part, member, mark)
}

func (r *Redis) settle(ctx context.Context, part, member string, mark uint64) error {
	_, err := r.do(ctx, "settle", part, func(ctx context.Context) (any, error) {
		return settleScript.run(ctx, r.engine, part, member, strconv.FormatUint(mark, 10))
	})
	return err
}

// Claim implements [Agenda]. What one part's node does not answer is left to the next
// claim.
func (r *Redis) Claim(ctx context.Context, kind string, lease time.Duration) (keys []Key, again time.Duration, err error) {
	next := dueNever
	var failures []error
	for shard := range dueShards {
		c, err := r.claim(ctx, r.partName(kind, shard), lease)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		next = min(next, c.next)
		for _, member := range c.members {
			key, err := r.claimed(ctx, kind, c, member)
			if err != nil {
				failures = append(failures, err)
			} else if key != nil {
				keys = append(keys, *key)
			}
		}
	}
	turn, err := r.turn(ctx, kind)
	if err != nil {
		return keys, dueEvery, errors.Join(append(failures, err)...)
	}
	switch {
	case next == 0: // more is due than one claim gives
		again = 0
	case turn > 2*dueEvery: // enough others ask meanwhile
		again = turn
	default:
		again = min(next, turn)
	}
	return keys, again, errors.Join(failures...)
}

// turn is when the caller should ask again, so that all who ask are not too many.
func (r *Redis) turn(ctx context.Context, kind string) (time.Duration, error) {
	name := r.seal.name(Key{"turn-" + kind, "turn"})
	answer, err := r.do(ctx, "turn", name, func(ctx context.Context) (any, error) {
		return turnScript.run(ctx, r.engine, name, dueEvery.Microseconds(), dueApart.Microseconds(), dueSeldom.Microseconds())
	})
	if err != nil {
		return 0, err
	}
	us, err := moment("turn", answer)
	return time.Duration(us) * time.Microsecond, err
}

// claim is what was got of one part.
type claim struct {
	part    string
	mark    uint64
	next    time.Duration
	members []string
}

func (r *Redis) claim(ctx context.Context, part string, lease time.Duration) (claim, error) {
	answer, err := r.do(ctx, "claim", part, func(ctx context.Context) (any, error) {
		return claimScript.run(ctx, r.engine, part, dueAtOnce, lease.Microseconds(), milliseconds(lease+dueLife))
	})
	if err != nil {
		return claim{}, err
	}
	c := claim{part: part, next: dueNever}
	parts, _ := answer.([]any)
	if len(parts) != 3 {
		return claim{}, notUnderstood("claim")
	}
	if c.mark, err = moment("claim", parts[0]); err != nil {
		return claim{}, err
	}
	text, _ := parts[1].(string)
	us, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return claim{}, notUnderstood("claim")
	}
	if us >= 0 {
		c.next = time.Duration(us) * time.Microsecond
	}
	members, _ := parts[2].([]any)
	for _, m := range members {
		if member, ok := m.(string); ok {
			c.members = append(c.members, member)
		}
	}
	return c, nil
}

// claimed is the key of an entry that was claimed, which only the entry itself tells.
// It is nil where there is none (then the note goes, too), or none that this sidecar
// can open: others may.
func (r *Redis) claimed(ctx context.Context, kind string, c claim, member string) (*Key, error) {
	name := namePrefix(kind) + "{" + member + "}"
	sealed, err := r.bytes(ctx, "get", name, func(ctx context.Context) (any, error) {
		return r.engine.call(ctx, "get", name)
	})
	if errors.Is(err, ErrMissing) {
		return nil, r.settle(ctx, c.part, member, c.mark)
	}
	if err != nil {
		return nil, err
	}
	id, _, err := r.seal.open(name, sealed)
	switch {
	case errors.Is(err, errDamaged) || err == nil && r.seal.name(Key{kind, id}) != name:
		r.discard(ctx, name, sealed)
		return nil, r.settle(ctx, c.part, member, c.mark)
	case err != nil:
		return nil, nil //nolint:nilerr // see above
	}
	return &Key{kind, id}, nil
}
