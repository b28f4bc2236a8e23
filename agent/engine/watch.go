package engine

import (
	"encoding/base64"
	"strings"
	"sync"
	"time"

	"fabric.center/cfc/shared/catalog"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/pkg/jsonmessage"
)

// tellEvery is how often at most the progress of a pull is told.
const tellEvery = 200 * time.Millisecond

// teller tells the state of a pull when it has changed: at once, or when the
// last time is long enough ago, so that the newest is told even if the pull then
// stands still.
type teller struct {
	name     string
	progress func(catalog.DockerPull)

	mu    sync.Mutex
	watch watch
	told  time.Time
	later *time.Timer // nil while nothing waits to be told
	ended bool
}

func (t *teller) take(m jsonmessage.JSONMessage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch wait := tellEvery - time.Since(t.told); {
	case !t.watch.see(m) || t.later != nil:
	case wait <= 0:
		t.tell()
	default:
		t.later = time.AfterFunc(wait, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			if t.later = nil; !t.ended {
				t.tell()
			}
		})
	}
}

func (t *teller) tell() {
	t.told = time.Now()
	t.progress(t.watch.state(t.name))
}

// end tells the last state if the pull was well; nothing is told after it.
func (t *teller) end(well bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.later != nil {
		t.later.Stop()
	}
	if t.ended = true; well && len(t.watch.order) > 0 {
		t.watch.share = 1
		t.tell()
	}
}

// mostLayers is of how many layers is told: more than the engine takes, but a
// registry may name more before it is refused.
const mostLayers = 256

// watch adds up what the engine tells of a pull, layer by layer.
type watch struct {
	layers map[string]*catalog.DockerPullLayer
	order  []string
	share  float64
}

// exists is the status of a layer that was here before.
const exists = "already exists"

// weights are how much of a layer's way is behind it when a part begins, and
// how much that part is.
var weights = map[string]struct{ from, part float64 }{
	"pulling fs layer": {0, 0}, "waiting": {0, 0}, "downloading": {0, 0.8}, "verifying checksum": {0.8, 0}, "download complete": {0.8, 0},
	"extracting": {0.8, 0.2}, "pull complete": {1, 0}, exists: {1, 0},
}

// see takes one message, and reports whether it is of a layer.
func (w *watch) see(m jsonmessage.JSONMessage) bool {
	status := strings.ToLower(m.Status)
	weight, known := weights[status]
	if !known || m.ID == "" {
		return false
	}
	l := w.layers[m.ID]
	if l == nil && len(w.order) == mostLayers {
		return false
	}
	if l == nil {
		l = &catalog.DockerPullLayer{ID: m.ID}
		w.layers[m.ID], w.order = l, append(w.order, m.ID)
	}
	l.Status = status
	switch {
	case status == "downloading" && m.Progress != nil:
		l.Bytes = m.Progress.Current
		l.Total = max(l.Total, m.Progress.Total, l.Bytes)
	case status == "extracting" && m.Progress != nil: // of the same bytes
		l.Total = max(l.Total, m.Progress.Total)
	case weight.from >= 0.8:
		l.Bytes = l.Total
	}
	w.share = max(w.share, w.done(m))
	return true
}

// done is the share of the layers that is behind, by what is known of each. Those
// that were here do not count: the engine names them first, when nothing is done.
func (w *watch) done(m jsonmessage.JSONMessage) float64 {
	sum, pulled := 0.0, 0
	for _, l := range w.layers {
		if l.Status == exists {
			continue
		}
		pulled++
		weight := weights[l.Status]
		sum += weight.from
		switch {
		case l.Status == "downloading" && l.Total > 0:
			sum += weight.part * float64(l.Bytes) / float64(l.Total)
		case l.Status == "extracting" && l.ID == m.ID && m.Progress != nil && m.Progress.Total > 0:
			sum += weight.part * float64(m.Progress.Current) / float64(m.Progress.Total)
		}
	}
	return min(1, sum/float64(max(1, pulled)))
}

func (w *watch) state(name string) catalog.DockerPull {
	p := catalog.DockerPull{Image: name, Share: w.share, Layers: []catalog.DockerPullLayer{}}
	for _, id := range w.order {
		l := *w.layers[id]
		p.Layers = append(p.Layers, l)
		p.Bytes += l.Bytes
		p.Total += l.Total
	}
	return p
}

// decoded reads the one text in which config.json has user and password.
func decoded(a registry.AuthConfig) registry.AuthConfig {
	b, err := base64.StdEncoding.DecodeString(a.Auth)
	if user, password, ok := strings.Cut(string(b), ":"); err == nil && ok && a.Username == "" {
		a.Username, a.Password = user, strings.TrimRight(password, "\x00")
	}
	a.Auth = ""
	return a
}
