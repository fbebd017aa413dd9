package telemetry

import "sync/atomic"

// StoreResting makes store_resting show whether the store that replicas share is left
// alone for moments. Where there is none it is 0.
func (m *Metrics) StoreResting(resting func() bool) { m.storeResting.Store(&resting) }

// OwnDPoPKey makes own_dpop_key show whether this replica uses a DPoP key of its own,
// where replicas share one. Where they don't it is 0.
func (m *Metrics) OwnDPoPKey(own func() bool) { m.ownDPoPKey.Store(&own) }

func (m *Metrics) showStore() {
	m.live("store_resting", "1 while the store that replicas share fails and is left alone for moments.", oneWhile(&m.storeResting))
	m.live("own_dpop_key", "1 while this replica uses a DPoP key of its own and shares no tokens with the others.", oneWhile(&m.ownDPoPKey))
}

// oneWhile is 1 while what is asked holds, and 0 while there is nobody to ask.
func oneWhile(holds *atomic.Pointer[func() bool]) func() int {
	return func() int {
		if f := holds.Load(); f != nil && (*f)() {
			return 1
		}
		return 0
	}
}
