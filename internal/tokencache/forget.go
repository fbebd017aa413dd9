package tokencache

// ForgetSubject drops every token and every remembered refusal of a subject that has ended, those that replicas share
// too. Flights of its keys that are under way end undisturbed and tell those who wait for them, but their tokens are not
// kept.
func (c *Cache) ForgetSubject(subject string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetAll(subject)
	c.unshareAll(subject)
}

// ForgetHere is ForgetSubject for a subject that ended at another replica: tokens that replicas share are left to that
// one. Of a subject that is not known it costs next to nothing.
func (c *Cache) ForgetHere(subject string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.subjects[subject]) > 0 || c.flying[subject] > 0 {
		c.forgetAll(subject)
	}
}

// forgetAll drops what is held of a subject. It is called with mu held.
func (c *Cache) forgetAll(subject string) {
	for k := range c.flights {
		if k.Subject == subject {
			delete(c.flights, k) // what lands without being listed here is not kept
		}
	}
	for k := range c.subjects[subject] {
		c.entries.Remove(k)
	}
	for _, k := range c.refusals.Keys() {
		if k.Subject == subject {
			c.refusals.Remove(k)
		}
	}
}
