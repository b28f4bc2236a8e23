package crossbar

import (
	"context"
	"errors"
	"maps"
	"slices"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// paths are the paths of a Web transport. The node lists those that the
// transport's configuration names, whether they run or not, and tells nothing
// of the others: so what was started is kept here, and the node is asked of
// each whether it is there.
type paths struct{ worker string }

func (p paths) probe() string { return transports(p).probe() }

// named are the services that may be there, by path; ok is false where the
// transport can have none.
func (p paths) named(ctx context.Context, s *site) (services map[string]any, ok bool, err error) {
	d, err := transports(p).get(ctx, s, s.parent)
	if err != nil {
		return nil, false, err
	}
	config, _ := wamp.AsDict(d["config"])
	given, ok := ops.Paths(config)
	services = maps.Clone(given)
	if services == nil {
		services = map[string]any{}
	}
	for path, service := range s.n.memory.kept(s.place()) {
		services[path] = service
	}
	return services, ok, nil
}

func (p paths) ids(ctx context.Context, s *site) ([]string, error) {
	services, ok, err := p.named(ctx, s)
	if err != nil || !ok {
		return nil, err
	}
	var ids []string
	for _, path := range slices.Sorted(maps.Keys(services)) {
		there, err := p.there(ctx, s, path)
		if err != nil {
			return nil, err
		}
		if there {
			ids = append(ids, path)
		}
	}
	return ids, nil
}

// there reports whether a path that is named runs. The root runs as long as
// its transport, which the node does not know when it is asked for it.
func (paths) there(ctx context.Context, s *site, path string) (bool, error) {
	if path == ops.Root {
		return true, nil
	}
	_, err := s.call(ctx, "get_web_transport_service", s.parent, path)
	if cfcerr.KindOf(err) == cfcerr.NotRunning {
		return false, nil
	}
	return err == nil, err
}

func (p paths) get(ctx context.Context, s *site, id string) (catalog.Dict, error) {
	services, _, err := p.named(ctx, s)
	if err != nil {
		return nil, err
	}
	there := services[id] != nil
	if there {
		if there, err = p.there(ctx, s, id); err != nil {
			return nil, err
		}
	}
	if !there {
		return nil, ops.Ref{Kind: s.kind, Worker: s.id, Parent: s.public, ID: id}.NoSuch()
	}
	config, _ := wamp.AsDict(services[id])
	return catalog.Dict{"id": id, "transport_id": s.public, "path": id, "config": config}, nil
}

func (p paths) start(ctx context.Context, s *site, id string, config map[string]any) error {
	services, ok, err := p.named(ctx, s)
	if err != nil {
		return err
	}
	if !ok {
		return cfcerr.Argument("transport_id", "a transport with paths: of type web, or universal with a Web part")
	}
	if id == ops.Root {
		return rootIsFixed("start")
	}
	if root, _ := wamp.AsDict(services[ops.Root]); ops.Leaf(root) {
		return cfcerr.New(cfcerr.InvalidConfiguration, "cannot start path %s: the root of transport %s is a %v, which answers for all paths below it", id, s.public, root["type"])
	}
	// Kept first: otherwise a crash in between would leave a path of which
	// nobody knows.
	if err = s.n.memory.started(s.place(), id, config); err != nil {
		return err
	}
	_, err = s.call(ctx, "start_web_transport_service", s.parent, id, wamp.Dict(config))
	if err == nil || unfinished(err) || cfcerr.KindOf(err) == cfcerr.ConnectionLost {
		return err
	}
	return errors.Join(badConfig(err, "path"), s.n.memory.freed(s.place(), id))
}

func (paths) stop(ctx context.Context, s *site, id string, _ ops.StopOptions) (fate, error) {
	if id == ops.Root {
		return freed, rootIsFixed("stop")
	}
	_, err := s.call(ctx, "stop_web_transport_service", s.parent, id)
	if cfcerr.KindOf(err) == cfcerr.NotRunning {
		return freed, nil
	}
	return freed, err
}

func rootIsFixed(what string) error {
	reason := "the root of a Web transport comes and goes with the transport"
	return cfcerr.New(cfcerr.NotSupported, "cannot %s the path /: %s", what, reason).With("reason", reason)
}
