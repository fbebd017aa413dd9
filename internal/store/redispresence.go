package store

import "context"

var _ Presence = (*Redis)(nil)

// The IDs of processes that attend are channels of their own. Who listens to one is
// counted by the server that carries a message, so no further right is needed.
func (r *Redis) presence(id string) string { return r.seal.name(Key{"present", id}) }

// Attend implements [Presence].
func (r *Redis) Attend(id string) (attends func() bool, stop func()) {
	ctx, stop := context.WithCancel(r.life)
	e := &ear{store: r, name: r.presence(id), heard: func(string) {}, messages: make(chan string, 1)}
	r.work.start(func() { e.listen(ctx) })
	return e.hears.Load, stop
}

// Attended implements [Presence]. The message is empty, and nothing to who hears it.
func (r *Redis) Attended(ctx context.Context, id string) (bool, error) {
	name := r.presence(id)
	answer, err := r.do(ctx, "present", name, func(ctx context.Context) (any, error) {
		return tellScript.run(ctx, r.engine, name, r.publish, "")
	})
	if err != nil {
		return false, err
	}
	n, ok := answer.(int64)
	if !ok {
		return false, notUnderstood("present")
	}
	return n > 0, nil
}
