package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// readiness is whether new work should be sent here: everything is loaded, the
// store serves, and no stop is under way. The process being alive is another
// question, which /healthz answers.
type readiness struct {
	mu    sync.Mutex
	phase string
	store func() error
}

const (
	phaseStarting = "starting"
	phaseReady    = "ready"
	phaseStopping = "stopping"
)

func (r *readiness) enter(phase string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase = phase
}

// obstacles are the reasons against sending work here, none when ready.
func (r *readiness) obstacles() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	if r.phase != phaseReady {
		out = append(out, "the relay is "+r.phase)
	}
	if err := r.store(); err != nil {
		out = append(out, err.Error())
	}
	return out
}

func (r *readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if o := r.obstacles(); len(o) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "not ready: "+strings.Join(o, "; "))
		return
	}
	fmt.Fprintln(w, phaseReady)
}

// Ready asks a relay of this configuration, which runs on this host, whether it
// is ready for sessions; the error says why it is not.
func Ready(ctx context.Context, cfg Config) error {
	fail := func(why error) error {
		return fmt.Errorf("cannot tell that the relay is ready: %w", why)
	}
	if cfg.Monitor.Listen == "" {
		return fail(errors.New("monitor.listen is empty, so that nothing can be asked"))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+cfg.Monitor.Listen+"/readyz", nil)
	if err != nil {
		return fail(err)
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return fail(err)
	}
	defer res.Body.Close()
	if said, err := io.ReadAll(io.LimitReader(res.Body, 4<<10)); err != nil {
		return fail(err)
	} else if res.StatusCode != http.StatusOK {
		return fail(errors.New(strings.TrimSpace(string(said))))
	}
	return nil
}

// monitorHandler serves health, readiness and metrics. None of them shows a
// name, a key or an address of a user or node.
func monitorHandler(ready *readiness, metrics *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.Handle("GET /readyz", ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	return mux
}

// newMetrics is the registry with what is the relay's own and not a part's.
func newMetrics(version string, ready *readiness, cert *certificate) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "cfc_relay_build_info", Help: "Version of the relay; always 1.",
			ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()}}, func() float64 { return 1 }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "cfc_relay_ready", Help: "1 while the relay takes new sessions and its store serves."},
			func() float64 {
				if len(ready.obstacles()) > 0 {
					return 0
				}
				return 1
			}))
	if cert != nil {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "cfc_relay_certificate_expiry_seconds",
			Help: "When the certificate in use expires, as a Unix time."}, func() float64 { return float64(cert.leaf().NotAfter.Unix()) }))
	}
	return r
}
