package telemetry

// StoreResting makes store_resting show whether the store that replicas share is left
// alone for moments. Where there is none it is 0.
func (m *Metrics) StoreResting(resting func() bool) { m.storeResting.Store(&resting) }

func (m *Metrics) showStore() {
	m.live("store_resting", "1 while the store that replicas share fails and is left alone for moments.", func() int {
		if resting := m.storeResting.Load(); resting != nil && (*resting)() {
			return 1
		}
		return 0
	})
}
