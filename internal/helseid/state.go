package helseid

import "time"

// State is what the client knows of HelseID without asking it.
type State struct {
	// Measured says that HelseID's clock has been seen at all.
	Measured bool
	// Offset is how far HelseID's clock is ahead of this machine's, Applied what of that is added to the time of whatever
	// is sent.
	Offset, Applied time.Duration
	// Refused is the code of the refusal by which HelseID turned down the client itself, "" if it did not; Until is when
	// it is asked again, perhaps in the past.
	Refused string
	Until   time.Time
}

// State tells what is known now.
func (c *Client) State() State {
	s := State{Applied: c.clock.offset()}
	s.Offset, s.Measured = c.clock.known()
	s.Refused, s.Until = c.brake.pulled(c.opt.Keys.generationNow())
	return s
}

// known is the median offset, and whether there is one.
func (c *clock) known() (offset time.Duration, measured bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return median(c.samples), len(c.samples) > 0
}

// pulled is the code of the remembered refusal, "" where there is none or it was about a key that has been replaced since.
func (b *brake) pulled(keys int) (code string, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refusal == nil || b.keys != keys {
		return "", time.Time{}
	}
	return b.refusal.code, b.until
}

func (r *KeyRing) generationNow() int {
	_, generation := r.use()
	return generation
}
