package telemetry

import "github.com/prometheus/client_golang/prometheus"

// SFMSessions makes sfm_sessions show, by state, what the function returns whenever it
// is asked for. It panics when called twice.
func (m *Metrics) SFMSessions(count func() (open, lost int)) {
	m.registry.MustRegister(sfmSessions{
		prometheus.NewDesc(namespace+"_sfm_sessions", "Sessions at SFM that were opened through the sidecar.", []string{"state"}, nil),
		count,
	})
}

// sfmSessions collects both states with one question.
type sfmSessions struct {
	desc  *prometheus.Desc
	count func() (open, lost int)
}

// Describe implements [prometheus.Collector].
func (s sfmSessions) Describe(descs chan<- *prometheus.Desc) { descs <- s.desc }

// Collect implements [prometheus.Collector].
func (s sfmSessions) Collect(metrics chan<- prometheus.Metric) {
	open, lost := s.count()
	metrics <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, float64(open), "open")
	metrics <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, float64(lost), "lost")
}

// SFMSessionRefresh counts what became of giving SFM a new token for an open session:
// refreshed, failed (it is tried again) or lost.
func (m *Metrics) SFMSessionRefresh(outcome string) { m.sfmRefreshes.WithLabelValues(outcome).Inc() }
