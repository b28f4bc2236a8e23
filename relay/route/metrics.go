package route

import (
	"strings"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics of a hub. Labels have few values, never names of users or nodes.
type metrics struct {
	sessions  *prometheus.GaugeVec   // kind
	dropped   *prometheus.CounterVec // kind, reason
	online    prometheus.Gauge
	calls     *prometheus.CounterVec // outcome
	inFlight  prometheus.Gauge
	refused   prometheus.Counter
	seconds   prometheus.Histogram
	outcomeOK prometheus.Counter
}

func newMetrics() *metrics {
	const ns = "cfc_relay"
	m := &metrics{
		sessions: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: ns, Name: "sessions", Help: "Sessions, by kind."}, []string{"kind"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Name: "sessions_ended_total",
			Help: "Sessions that ended, by kind and reason."}, []string{"kind", "reason"}),
		online: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Name: "nodes_online", Help: "Nodes whose agent is connected."}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Name: "calls_total",
			Help: "Calls that were answered, by outcome: ok or the kind of error."}, []string{"outcome"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Name: "calls_in_flight", Help: "Calls that wait for their answer."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Name: "publications_refused_total",
			Help: "PUBLISHes that were not allowed."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Name: "call_seconds", Help: "From CALL to its last answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}}),
	}
	m.outcomeOK = m.calls.WithLabelValues("ok")
	return m
}

// Collectors are the hub's metrics, to be registered once.
func (h *Hub) Collectors() []prometheus.Collector {
	m := h.met
	return []prometheus.Collector{m.sessions, m.dropped, m.online, m.calls, m.inFlight, m.refused, m.seconds}
}

func (m *metrics) joined(k kind) { m.sessions.WithLabelValues(kindNames[k]).Inc() }

func (m *metrics) left(k kind, reason string) {
	m.sessions.WithLabelValues(kindNames[k]).Dec()
	m.dropped.WithLabelValues(kindNames[k], reason).Inc()
}

// outcomes are the labels of errors: the last part of the kind's URI.
var outcomes = func() map[string]string {
	names := map[string]string{}
	for _, i := range cfcerr.Table {
		if i.URI != "" {
			names[i.URI] = i.URI[strings.LastIndexByte(i.URI, '.')+1:]
		}
	}
	return names
}()

// answered counts a call; uri is empty for a result.
func (m *metrics) answered(started time.Time, uri string) {
	m.inFlight.Dec()
	m.seconds.Observe(time.Since(started).Seconds())
	m.outcome(uri)
}

func (m *metrics) outcome(uri string) {
	if uri == "" {
		m.outcomeOK.Inc()
		return
	}
	label, ok := outcomes[uri]
	if !ok {
		label = "node_error"
	}
	m.calls.WithLabelValues(label).Inc()
}
