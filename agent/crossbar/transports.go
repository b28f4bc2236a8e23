package crossbar

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// transports are the transports of a router worker or of a proxy, whose
// procedures have the type of worker in their names.
type transports struct{ worker string }

func (x transports) probe() string { return "get_" + x.worker + "_transports" }

func (x transports) ids(ctx context.Context, s *site) ([]string, error) {
	return s.listed(ctx, x.probe())
}

func (x transports) get(ctx context.Context, s *site, id string) (catalog.Dict, error) {
	return s.dict(ctx, "get_"+x.worker+"_transport", id)
}

// start starts the transport and then its paths: the node starts the root
// alone, whatever it is told.
func (x transports) start(ctx context.Context, s *site, id string, config map[string]any) error {
	if err := s.spare(ctx, config); err != nil {
		return err
	}
	said := s.n.overhear(s.id, "Cannot listen on transport endpoint")
	_, err := s.call(ctx, "start_"+x.worker+"_transport", id, wamp.Dict(config))
	if cfcerr.KindOf(err) == cfcerr.CannotListen && strings.Contains(err.Error(), "{log_failure}") {
		return cannotListen(said.wait(ctx))
	}
	said.end() // a proxy says it in its answer
	if err != nil {
		return badConfig(err, "transport")
	}
	given, _ := ops.Paths(config)
	for _, path := range slices.Sorted(maps.Keys(given)) {
		if path == ops.Root {
			continue
		}
		service, _ := wamp.AsDict(given[path])
		if err := x.paths().start(ctx, s.site(x.pathKind(), id, ""), path, service); err != nil {
			return err
		}
	}
	return nil
}

func (x transports) paths() paths { return paths(x) }

func (x transports) pathKind() *ops.Kind {
	if x.worker == ops.ProxyPath.Worker {
		return ops.ProxyPath
	}
	return ops.TransportPath
}

func (transports) stop(ctx context.Context, s *site, id string, _ ops.StopOptions) (fate, error) {
	_, err := s.call(ctx, "stop_router_transport", id)
	if cfcerr.KindOf(err) == cfcerr.NotRunning {
		return freed, nil
	}
	return freed, err
}

// spare refuses a Unix socket in the place of something else: the node would
// remove what is there, a folder with all that is in it.
func (s *site) spare(ctx context.Context, config map[string]any) error {
	endpoint, _ := wamp.AsDict(config["endpoint"])
	if endpoint["type"] != "unix" || !s.n.here() {
		return nil
	}
	path, _ := wamp.AsString(endpoint["path"])
	if strings.Contains(path, "$") {
		return cfcerr.Argument("transport_config.endpoint.path", "a path without variables: the node removes what is there, so it is looked at before")
	}
	if !filepath.IsAbs(path) {
		v, err := s.n.call(ctx, quick, "get_status")
		if err != nil {
			return err
		}
		status, _ := wamp.AsDict(v)
		dir, _ := wamp.AsString(status["directory"])
		path = filepath.Join(dir, path)
	}
	if i, err := os.Lstat(path); err == nil && i.Mode().Type() != fs.ModeSocket {
		return cfcerr.New(cfcerr.CannotListen, "cannot listen on the transport's endpoint: %s is there and is no socket; the node would remove it", path)
	}
	return nil
}

var failure = regexp.MustCompile(`(?s)<class '[^']*'>: (.*)`)

// cannotListen says why a transport does not listen. The node's answer has
// the name of a variable in place of the reason, which only its log tells.
func cannotListen(logged string) error {
	why := "the node does not say why; its log may"
	if m := failure.FindStringSubmatch(logged); m != nil {
		why, _, _ = strings.Cut(m[1], "\n")
		why = strings.TrimRight(strings.TrimSpace(why), ".]")
	}
	return cfcerr.New(cfcerr.CannotListen, "cannot listen on the transport's endpoint: %s", why)
}

// listed are the ids of a list of dicts, or of ids alone.
func (w *worker) listed(ctx context.Context, procedure string, args ...any) ([]string, error) {
	v, err := w.call(ctx, procedure, args...)
	if err != nil {
		return nil, err
	}
	list, ok := wamp.AsList(v)
	ids := make([]string, 0, len(list))
	for _, x := range list {
		d, _ := wamp.AsDict(x)
		id, isString := wamp.AsString(d["id"])
		if d == nil {
			id, isString = wamp.AsString(x)
		}
		ok = ok && isString
		ids = append(ids, id)
	}
	if !ok {
		return nil, cfcerr.New(cfcerr.NotSupported, "cannot use the node's answer to %s: it is not a list of dicts with ids", procedure)
	}
	return ids, nil
}
