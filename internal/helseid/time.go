package helseid

import "context"

// LearnTime asks HelseID what time it is, unless an answer has told it already: who makes no request of its own, since
// others fetched its tokens, would go by the machine's clock, and have its proofs refused. It waits no longer than ctx
// lives. Where HelseID does not answer, the time stays as it is.
func (c *Client) LearnTime(ctx context.Context) {
	c.clock.mu.Lock()
	learned := len(c.clock.samples) > 0
	c.clock.mu.Unlock()
	if !learned {
		_, _ = c.metadata.get(ctx) // its header tells the time
	}
}
