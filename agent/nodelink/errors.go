package nodelink

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// result reads the node's answer.
func result(name string, m wamp.Message) (any, error) {
	switch m := m.(type) {
	case *wamp.Yield:
		switch len(m.Arguments) {
		case 0:
			return nil, nil
		case 1:
			return m.Arguments[0], nil
		}
		return m.Arguments, nil
	case *wamp.Error:
		return nil, translate(name, m)
	}
	return nil, cfcerr.New(cfcerr.Internal, "cannot read the node's answer to %s", name)
}

// renamed are errors of the node that say the same as a kind but are spelled
// otherwise.
var renamed = map[string]cfcerr.Kind{
	"crossbar.error.worker_already_running": cfcerr.AlreadyRunning,
	"crossbar.error.already_exists":         cfcerr.AlreadyRunning,
	"crossbar.error.already_started":        cfcerr.AlreadyRunning,
	"crossbar.error.worker_not_running":     cfcerr.NotRunning,
	"crossbar.error.not_started":            cfcerr.NotRunning,
	"crossbar.error.stop_worker_failed":     cfcerr.CannotStop,
	"crossbar.error.invalid_argument":       cfcerr.InvalidArgument,
	"wamp.error.invalid_argument":           cfcerr.InvalidArgument,
	"crossbar.error.feature_unavailable":    cfcerr.NotSupported,
}

// Python's text for a call of the wrong shape.
var wrongShape = regexp.MustCompile(`^[\w.<>]+\(\) (missing|takes|got)|^[\w.<>]+\(\) .* positional argument|unexpected keyword argument`)

// translate makes an error of the node one that a caller can act on. Those
// that the table of kinds has, and other crossbar.error.* ones, stay what they are.
func translate(name string, m *wamp.Error) error {
	e := cfcerr.FromWamp(string(m.Error), m.Arguments, m.ArgumentsKw)
	e.Message = brief(e.Message)
	if k, ok := renamed[string(m.Error)]; ok {
		return cfcerr.New(k, "%s", e.Message)
	}
	switch m.Error {
	case wamp.ErrCanceled:
		// The node's own router says so when its worker dies during the call;
		// nobody ever cancels a call at the node.
		return cfcerr.New(cfcerr.ConnectionLost, "cannot tell how %s ended: the worker went away during the call", name)
	case "wamp.error.runtime_error":
		if wrongShape.MatchString(e.Message) {
			return cfcerr.New(cfcerr.InvalidArgument, "cannot call %s: the node refuses the arguments: %s", name, e.Message)
		}
		failed := cfcerr.FromWamp(string(m.Error), wamp.List{"cannot carry out " + name + ": it failed on the node: " + e.Message}, nil)
		return failed.With("text", e.Message)
	}
	return e
}

// exception is the last line of a traceback, without the module of its class.
var exception = regexp.MustCompile(`\n(?:[\w.]+\.)?(\w+(?:Error|Exception): [^\n]+)$`)

// brief keeps an error text readable: of the traceback that Python may append
// the exception alone, and at most a kilobyte.
func brief(s string) string {
	if i := strings.Index(s, "Traceback (most recent call last)"); i > 0 {
		trace := strings.TrimSpace(s[i:])
		s = strings.TrimSpace(s[:i])
		if m := exception.FindStringSubmatch(trace); m != nil {
			s += ": " + m[1]
		}
	}
	s = strings.TrimSpace(s)
	if len(s) > 1024 {
		s = strings.ToValidUTF8(s[:1024], "") + "…"
	}
	return s
}

// unanswered is the error of a call whose context ended first.
func unanswered(ctx context.Context, name string) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return cfcerr.New(cfcerr.Canceled, "canceled: the node may still finish %s", name)
	}
	return cfcerr.New(cfcerr.Timeout, "cannot finish in time: the node has not answered %s before the deadline and may still finish it", name)
}

// unbegun is the error of a call that the node never saw.
func unbegun(ctx context.Context, name string) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return cfcerr.New(cfcerr.Canceled, "canceled before %s was begun", name)
	}
	return cfcerr.New(cfcerr.Timeout, "cannot finish in time: %s was not begun before the deadline", name)
}
