package store

import (
	"context"
	"time"
)

// Presence is a [Store] that knows which of those who share it are there: the connection
// of a process ends with it, in whatever way it dies.
type Presence interface {
	// Attend has this process be seen by the others, from soon on.
	Attend() Attendance
}

// Attendance is one process's being there. It ends with the store, too.
type Attendance interface {
	// ID is the name under which others look for this process.
	ID() string
	// Seen says whether they would find it just now.
	Seen(ctx context.Context) bool
	// Gone looks for another process for ten seconds, and says whether it has ended. It was
	// seen that long ago, or less. False may mean that nobody can tell: above all where
	// connections were broken since then, since one that was only stopped has none any
	// more. So what remains to be taken for dead is one that lives, and whose connections
	// alone were broken, for the whole time.
	Gone(ctx context.Context, id string, ago time.Duration) bool
	// Leave ends it.
	Leave()
}
