package store

import "context"

// Presence is a [Store] that knows which of those who share it are there: the connection
// of a process ends with it, in whatever way it dies. One that was stopped, or is cut off
// in silence, is still there.
type Presence interface {
	// Attend has this process known under an ID, from soon on until stop or the end of
	// the store. attends says whether it is, as far as the process knows.
	Attend(id string) (attends func() bool, stop func())
	// Attended says whether a process is known under an ID just now. One whose connection
	// broke, or whose server gave way to another, is not, for up to nine seconds: so who
	// must know looks for longer.
	Attended(ctx context.Context, id string) (bool, error)
}
