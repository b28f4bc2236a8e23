package crossbar

import (
	"context"
	"strings"
	"time"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// components are the components in a router worker. The node cannot stop one,
// and goes on listing those that have ended. What there is of a component is
// its session in a realm: that is looked for, watched and ended through the
// realm's meta API. See owners.go for which session is whose.
type components struct{}

func (components) probe() string { return "get_router_components" }

func (components) ids(ctx context.Context, s *site) ([]string, error) {
	return s.listed(ctx, "get_router_components")
}

func (components) get(ctx context.Context, s *site, id string) (catalog.Dict, error) {
	return s.dict(ctx, "get_router_component", id)
}

// start starts the component. The node says that one is ready whose onJoin
// has failed: its log alone tells, before it tells that the component is ready.
func (c components) start(ctx context.Context, s *site, id string, config map[string]any) error {
	name, _ := config["realm"].(string)
	if realm, err := s.realmNamed(ctx, name); err != nil {
		return err
	} else if realm == "" {
		return cfcerr.Argument("component_config.realm", "the name of a realm that runs on the worker")
	}
	defer s.n.memory.hold(s.place(), id)() // what is seen of it meanwhile is half of it
	failed, ready := s.n.overhear(s.id, "While firing onJoin"), s.n.overhear(s.id, "component ready:")
	unknown := s.n.overhear(s.id, "Failed to import package")
	defer failed.end()
	defer ready.end()
	defer unknown.end()
	// It may take as long as the caller has patience: so no shorter deadline.
	_, err := s.n.cfg.Link.Call(ctx, ops.WorkerProcedure(s.id, "start_router_component"), wamp.List{id, wamp.Dict(config)}, nil)
	if strings.Trim(nodeText(err), "'") == "pythonpath" { // the node stumbles over its own error
		text := unknown.wait(ctx)
		first, _, _ := strings.Cut(text, "\n")
		return cfcerr.New(cfcerr.InvalidConfiguration, "cannot start the component: %s: %s", plain(first), lastLine(text))
	}
	if err != nil {
		return badComponent(err)
	}
	ready.wait(ctx)
	if text := failed.soFar(); text != "" {
		return cfcerr.New(cfcerr.CannotStart, "cannot start the component: it failed when it had joined: %s", lastLine(text))
	}
	// Now it is clear which session is its own. If this fails it is tried
	// again whenever somebody looks.
	_, _ = s.owners(ctx)
	return nil
}

func badComponent(err error) error {
	if cfcerr.KindOf(err) != cfcerr.NodeError {
		return err
	}
	if e, _ := cfcerr.Public(err); strings.HasSuffix(e.URI(), "class_import_failed") {
		return badConfig(err, "component")
	}
	return cfcerr.New(cfcerr.CannotStart, "cannot start the component: %w", err)
}

// lastLine is the exception of a traceback.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimPrefix(plain(lines[len(lines)-1]), "builtins.")
}

// stop ends the component's session, and waits until it has left.
func (c components) stop(ctx context.Context, s *site, id string, _ ops.StopOptions) (fate, error) {
	all, err := s.owners(ctx)
	if err != nil {
		return burnt, err
	}
	o, listed := all[id]
	if !listed || o.dead || o.absent {
		return burnt, nil
	}
	if o.session == 0 {
		e := cfcerr.New(cfcerr.NotSupported, "cannot stop the component: %s", o.unknown)
		return burnt, e.With("reason", o.unknown)
	}
	m := meta{s.n, s.id, o.realm}
	err = m.kill(ctx, wamp.List{o.session, string(wamp.CloseNormal), "the component was stopped"}, nil)
	if unfinished(err) || cfcerr.KindOf(err) == cfcerr.ConnectionLost {
		return burnt, err
	}
	// Another error says that it has just left by itself.
	leaving, cancel := context.WithTimeout(ctx, share(ctx, sessionsWait))
	defer cancel()
	for {
		there, err := s.sessions(ctx, o.realm)
		if err != nil {
			return burnt, err
		}
		if !there[o.session] {
			return burnt, nil
		}
		if !pause(leaving, 10*time.Millisecond) {
			return burnt, cfcerr.New(cfcerr.CannotStop, "cannot stop the component: it does not leave its realm")
		}
	}
}

// alive are those of the components that have not ended; what is known of
// others is dropped.
func (c components) alive(ctx context.Context, s *site, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	all, err := s.owners(ctx)
	if err != nil {
		return nil, err
	}
	var living []string
	for _, id := range ids {
		if !all[id].dead || s.n.memory.held(s.place(), id) {
			living = append(living, id)
		} else if err := s.n.memory.stopped(s.place(), id); err != nil {
			return nil, err
		}
	}
	return living, nil
}
