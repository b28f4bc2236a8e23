package crossbar

import (
	"context"
	"errors"
	"slices"
	"time"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// hosted are the components of a container.
type hosted struct{}

func (hosted) probe() string { return "get_components" }

func (hosted) ids(ctx context.Context, s *site) ([]string, error) {
	return s.strings(ctx, "get_components")
}

func (hosted) get(ctx context.Context, s *site, id string) (catalog.Dict, error) {
	return s.dict(ctx, "get_component", id)
}

// start waits for as long as the caller does: the node answers when the
// component has joined its realm and is ready, and never when it cannot connect.
func (hosted) start(ctx context.Context, s *site, id string, config map[string]any) error {
	s.n.listen(s.id)
	defer s.n.deaf(s.id)
	_, err := s.n.cfg.Link.Call(ctx, ops.WorkerProcedure(s.id, "start_component"), wamp.List{id, wamp.Dict(config)}, nil)
	var e *cfcerr.Error
	switch {
	case err == nil:
		return stays(ctx, s, id)
	case !errors.As(err, &e):
		return err
	case unfinished(err):
		return e.With("log", short(s.n.tail(s.id)))
	case e.URI() == classImportFailed:
		return badConfig(err, "component")
	case e.Kind == cfcerr.NodeError:
		return notReady(e, s.n.tail(s.id)).With("error", e.URI())
	}
	return err
}

// stays waits a moment: the node calls a component ready, too, that has failed
// in its onJoin and is about to close its connection.
func stays(ctx context.Context, s *site, id string) error {
	for end := time.Now().Add(settled); time.Now().Before(end) || slices.ContainsFunc(s.n.tail(s.id), isFatal); {
		_, err := s.call(ctx, "get_component", id)
		switch {
		case cfcerr.KindOf(err) == cfcerr.NoSuchObject:
			return notReady(errEndedAtOnce, s.n.tail(s.id))
		case err != nil:
			return err
		case !pause(ctx, 20*time.Millisecond):
			return ctx.Err()
		}
	}
	return nil
}

const settled = 200 * time.Millisecond

var errEndedAtOnce = errors.New("it ended as soon as it had joined")

const classImportFailed = "crossbar.error.class_import_failed"

// notReady is the error of a component that ended, or was refused, before it
// was ready. Why is often said in the worker's log alone.
func notReady(err error, log []string) *cfcerr.Error {
	const begin = "cannot start the component: it has not become ready"
	if len(log) == 0 {
		return cfcerr.New(cfcerr.CannotStart, begin+": %w", err)
	}
	return cfcerr.New(cfcerr.CannotStart, begin+": %w; its worker's log: %s", err, short(log))
}

// restartsAlways is the option of a container that starts again whatever ends.
const restartsAlways = "restart-always"

// mayStop implements picky.
func (hosted) mayStop(_ context.Context, s *site, _ string, _ ops.StopOptions) (anew bool, err error) {
	if options, _ := s.n.memory.optionsOf(s.id, s.life); options["restart"] != restartsAlways {
		return false, nil
	}
	reason := "its container, of " + restartsAlways + ", would start it again at once; stop the worker"
	return false, cfcerr.New(cfcerr.NotSupported, "cannot stop the component: %s", reason).With("reason", reason)
}

func (hosted) stop(ctx context.Context, s *site, id string, _ ops.StopOptions) (fate, error) {
	_, err := s.call(ctx, "stop_component", id)
	if nodeText(err) != "wamp.error.runtime_error" { // else it says nothing: there is no connection to close
		return freed, err
	}
	d, err := s.get(ctx, s, id)
	if err != nil {
		return freed, err
	}
	if neverWill(d) {
		return burnt, nil
	}
	return pending, nil
}

// neverWill reports whether a component that has not connected cannot do so
// any more: the node ends a WebSocket connection that is not open in time. A
// RawSocket one opens whenever its far side answers.
func neverWill(d catalog.Dict) bool {
	config, _ := wamp.AsDict(d["config"])
	transport, _ := wamp.AsDict(config["transport"])
	uptime, _ := wamp.AsFloat64(d["uptime"])
	return transport["type"] == "websocket" && uptime > handshakeWait.Seconds()
}

const handshakeWait = 30 * time.Second // the node's own bound is 5 s
