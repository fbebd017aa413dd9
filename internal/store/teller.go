package store

import "context"

// Teller is a [Store] by which those who share it tell each other of something at once,
// all of them, each through one subscription. A message may be lost, and one who can
// write to the store can repeat an old one: so it is a hint to look again, never more.
type Teller interface {
	// Tell tells an ID to all who hear of this kind, this process among them.
	Tell(ctx context.Context, kind, id string) error
	// Hear has heard called with each ID that is told, one after the other, until stop or
	// the end of the store. It waits for nothing: while the store can't be reached, what
	// is told there is missed.
	Hear(kind string, heard func(id string)) (stop func())
}
