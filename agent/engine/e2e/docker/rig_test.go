// Package docker drives the rows of Docker against a real Docker Engine and a
// real registry.
package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/agent/engine"
	"fabric.center/cfc/agent/observe"
	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/agent/policy"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/enginetest"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
)

func TestMain(m *testing.M) {
	if os.Getenv(killerEnv) != "" {
		killAsSomebody()
		return
	}
	if os.Getenv(strangerEnv) != "" {
		mountAsStranger()
		return
	}
	goleak.VerifyTestMain(m)
}

// within bounds a test's work with the engine.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// start starts an engine of the test's own and the way to it. The host allows
// commands, and nothing beyond the usual.
func start(t *testing.T, o enginetest.Options) (*enginetest.Engine, *engine.Engine) {
	t.Helper()
	real := enginetest.Start(t, o)
	return real, way(t, real, func(c *engine.Config) { c.Rules = func() policy.Docker { return policy.Docker{Exec: true} } })
}

func way(t *testing.T, real *enginetest.Engine, change func(*engine.Config)) *engine.Engine {
	t.Helper()
	c := engine.Config{Socket: real.Socket, Node: func() string { return "n1" }, Realm: func() string { return "demo" }, Log: zaptest.NewLogger(t)}
	change(&c)
	e := engine.New(c)
	t.Cleanup(e.Close)
	return e
}

// host is the rows of an engine as the relay calls them, and the events of it.
type host struct {
	t    *testing.T
	real *enginetest.Engine
	rows *ops.Ops
	role wire.Role

	mu     sync.Mutex
	events []string // "name id …"
	about  []catalog.Dict
}

// newHost starts an engine with the image box:1, under these rules.
func newHost(t *testing.T, rules policy.Docker, o enginetest.Options) *host {
	t.Helper()
	real := enginetest.Start(t, o)
	real.Build("box:1", nil, "ENV SECRET=hidden", "EXPOSE 8080")
	return hostOf(t, real, func(c *engine.Config) { c.Rules = func() policy.Docker { return rules } })
}

func hostOf(t *testing.T, real *enginetest.Engine, change func(*engine.Config)) *host {
	t.Helper()
	h := &host{t: t, real: real, role: wire.Owner}
	streams := observe.NewStreams(observe.Limits{}, nil)
	h.whileRunning(streams.Run)
	var err error
	if h.rows, err = ops.NewHost(ops.Config{Docker: way(t, real, change), Publish: h.publish, NodeID: func() string { return "n1" }, Streams: streams}); err != nil {
		t.Fatal(err)
	}
	return h
}

// watch has the engine's events told until the test ends.
func (h *host) watch() {
	h.whileRunning(h.rows.WatchHost)
	// Whether it listens shows in the end of what happens now.
	probe := "probe:" + fmt.Sprint(time.Now().UnixNano())
	h.eventually("the first event", func() error {
		h.real.Tag("box:1", probe)
		h.real.Do("DELETE", "/images/"+probe, nil, nil)
		return h.heard("on_image_tag")
	})
}

// whileRunning runs a part until the test ends.
func (h *host) whileRunning(part func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	var running sync.WaitGroup
	running.Go(func() { _ = part(ctx) })
	h.t.Cleanup(func() { cancel(); running.Wait() })
}

func (h *host) publish(e *catalog.Event, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	about, _ := wamp.AsDict(args[len(args)-1])
	h.events = append(h.events, fmt.Sprint(e.Name, " ", args[1]))
	h.about = append(h.about, catalog.Dict(about))
}

// heard says whether there was an event that begins so.
func (h *host) heard(begin string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.ContainsFunc(h.events, func(s string) bool { return strings.HasPrefix(s, begin) }) {
		return fmt.Errorf("no %s among %v", begin, h.events)
	}
	return nil
}

// count is how often it was told, and about the last one.
func (h *host) count(event string) (n int, about catalog.Dict) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, s := range h.events {
		if s == event {
			n, about = n+1, h.about[i]
		}
	}
	return n, about
}

func (h *host) eventually(what string, ready func() error) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 30*time.Second)
	defer cancel()
	if err := fleet.Poll(ctx, ready); err != nil {
		h.t.Fatalf("%s: %v", what, err)
	}
}

func (h *host) caller() catalog.Caller {
	return catalog.Caller{Session: 1, AuthID: "alice", Role: h.role, Realm: "demo"}
}

// try calls a row as alice of the host's role.
func try[In, Out any](h *host, ctx context.Context, row catalog.Spec[In, Out], args ...any) (out Out, err error) {
	v, err := h.rows.Call(ctx, h.caller(), row.Key(), args, nil)
	if err != nil {
		return out, err
	}
	out, ok := v.(Out)
	if !ok {
		return out, fmt.Errorf("the result is a %T", v)
	}
	return out, nil
}

// do is try for what has to succeed within a minute.
func do[In, Out any](h *host, row catalog.Spec[In, Out], args ...any) Out {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	out, err := try(h, ctx, row, args...)
	if err != nil {
		h.t.Fatalf("%s%v: %v", row.Name, args, err)
	}
	return out
}

// refuse expects a failure, and that its sentence or details have all the words.
func refuse[In, Out any](h *host, want cfcerr.Kind, words string, row catalog.Spec[In, Out], args ...any) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	_, err := try(h, ctx, row, args...)
	var e *cfcerr.Error
	if !errors.As(err, &e) || e.Kind != want {
		h.t.Errorf("%s%v: %v, expected %s", row.Name, args, err, want.URI())
		return
	}
	for _, word := range strings.Fields(words) {
		if !strings.Contains(e.Message+fmt.Sprint(e.Details), word) {
			h.t.Errorf("%s%v: %q %v has no %q", row.Name, args, e.Message, e.Details, word)
		}
	}
}

// box is the config of a container that waits, with more.
func box(more wamp.Dict) wamp.Dict {
	d := wamp.Dict{"image": "box:1"}
	for k, v := range more {
		d[k] = v
	}
	return d
}
