package ops

import (
	"context"
	"maps"
	"slices"
	"strings"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// RouterComponent is a component in Python, in a router worker.
var RouterComponent = &Kind{Key: "router_component", Noun: "component", Worker: "router", Prefix: "component_",
	Life: catalog.RouterComponentLife, Check: checkRouterComponent}

func (o *Ops) bindComponents() {
	k := RouterComponent
	bindLook(o, k, catalog.RouterGetComponents, catalog.RouterGetComponent)
	catalog.Bind(o.table, catalog.RouterStartComponent, func(ctx context.Context, c catalog.Caller, in catalog.StartComponentIn) (catalog.Dict, error) {
		return o.startObject(ctx, c, k.at(in.Place()), in.Settings())
	})
	catalog.Bind(o.table, catalog.RouterStopComponent, func(ctx context.Context, c catalog.Caller, in catalog.StopComponentIn) (catalog.Dict, error) {
		r := k.at(in.Place())
		if r.ID == "" {
			ids, err := o.listObjects(ctx, r)
			if err != nil {
				return nil, err
			}
			if len(ids) != 1 {
				return nil, theOnly(r, ids)
			}
			r.ID = ids[0]
		}
		return o.stopObject(ctx, c, r, StopOptions{})
	})
}

// theOnly is the error of an object that was not named, where there are none
// or several.
func theOnly(r Ref, ids []string) error {
	have := "there is none"
	if len(ids) > 0 {
		have = "one of " + strings.Join(ids, ", ")
	}
	return cfcerr.Argument(r.Kind.argument(), have).With("worker_id", r.Worker).With("running", ids)
}

var callbackNames = []string{"join", "leave", "connect", "disconnect"}

// checkRouterComponent refuses what the node would fail at without saying why.
func checkRouterComponent(config map[string]any) error {
	const at = "component_config"
	switch config["type"] {
	case "class":
		if name, _ := config["classname"].(string); !dotted(name) {
			return cfcerr.Argument(at+".classname", "a module and a class of it, with a dot between")
		}
	case "function":
		if err := checkCallbacks(at+".callbacks", config["callbacks"]); err != nil {
			return err
		}
	default:
		return cfcerr.Argument(at+".type", "class or function")
	}
	if realm, _ := config["realm"].(string); realm == "" {
		return cfcerr.Argument(at+".realm", "the name of a realm that runs on the worker")
	}
	if role, given := config["role"]; given {
		if name, _ := role.(string); name == "" {
			return cfcerr.Argument(at+".role", "the name of a role of the realm")
		}
	}
	if extra, given := config["extra"]; given {
		if d, ok := wamp.AsDict(extra); !ok || d == nil {
			return cfcerr.Argument(at+".extra", "a dict")
		}
	}
	return nil
}

func checkCallbacks(at string, v any) error {
	callbacks, ok := wamp.AsDict(v)
	if !ok || len(callbacks) == 0 {
		return cfcerr.Argument(at, "a dict of functions: "+strings.Join(callbackNames, ", "))
	}
	if err := onlyKeys(at, callbacks, callbackNames); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(callbacks)) {
		if name, _ := callbacks[key].(string); !dotted(name) {
			return cfcerr.Argument(at+"."+key, "a module and a function of it, with a dot between")
		}
	}
	return nil
}

// dotted reports whether the name has a module and something in it.
func dotted(name string) bool {
	i := strings.LastIndex(name, ".")
	return i > 0 && i < len(name)-1 && !strings.ContainsAny(name, " /")
}
