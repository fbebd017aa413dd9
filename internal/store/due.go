package store

import (
	"context"
	"time"
)

// Agenda is a [Store] that knows when something is to be done about an entry, and
// gives that work to one of those who ask. Times are those of the store's own clock;
// who asks says how long from now. That an entry is due is noted apart from the entry:
// write the note first, so that no entry is ever without one.
type Agenda interface {
	// Due notes that something is to be done about an entry so long from now, in place
	// of what was noted before. The mark tells this note from later ones.
	Due(ctx context.Context, key Key, in time.Duration) (mark uint64, err error)
	// Settle removes a note, unless it has another mark.
	Settle(ctx context.Context, key Key, mark uint64) error
	// Claim gives some entries of a kind that have fallen due, and moves them on by
	// lease: nobody else gets them before, and somebody does after that, unless they are
	// noted anew. A note of an entry that is not there any more is removed. again is when
	// to ask again: when something else falls due, or sooner, for what is noted meanwhile;
	// later where many ask.
	Claim(ctx context.Context, kind string, lease time.Duration) (keys []Key, again time.Duration, err error)
}
