package ops

import (
	"context"
	"strings"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// ContainerComponent is a component of a container.
var ContainerComponent = &Kind{Key: "container_component", Noun: "component", Worker: "container", Prefix: "component_",
	Life: catalog.HostedLife, Check: checkHosted,
	Born: func(d catalog.Dict) string { started, _ := wamp.AsString(d["started"]); return started }}

func (o *Ops) bindContainer() {
	k := ContainerComponent
	bindLook(o, k, catalog.ContainerGetComponents, catalog.ContainerGetComponent)
	bindStop(o, k, catalog.ContainerStopComponent)
	catalog.BindCrossbar(o.table, catalog.ContainerStopComponent, o.stopHosted)
	catalog.Bind(o.table, catalog.ContainerStartComponent, o.startHosted)
	catalog.Bind(o.table, catalog.ContainerRestartComponent, func(ctx context.Context, c catalog.Caller, in catalog.OnHosted) (catalog.Dict, error) {
		return o.restartObject(ctx, c, k.at(in.Place()))
	})
}

func (o *Ops) startHosted(ctx context.Context, caller catalog.Caller, in catalog.StartHostedIn) (catalog.Dict, error) {
	id, config, err := hostedToBe(in)
	if err != nil {
		return nil, err
	}
	return o.startObject(ctx, caller, Ref{Kind: ContainerComponent, Worker: string(in.Worker), ID: id}, config)
}

// hostedToBe reads both forms of the arguments: an id and a configuration, or
// the configuration alone.
func hostedToBe(in catalog.StartHostedIn) (id string, config map[string]any, err error) {
	config = in.Config
	switch v := in.Component.(type) {
	case nil:
	case string:
		if !wire.ValidObjectID(v) {
			return "", nil, cfcerr.Argument("component_id", wire.ObjectIDForm)
		}
		id = v
	default:
		d, ok := wamp.AsDict(v)
		switch {
		case !ok:
			return "", nil, cfcerr.Argument("component_id", wire.ObjectIDForm+", null, or the configuration")
		case in.Config != nil:
			return "", nil, cfcerr.Argument("component_config", "nothing, since the configuration stands in place of component_id")
		}
		config = d
	}
	if config == nil {
		return "", nil, cfcerr.Argument("component_config", "a dict with type, classname, realm and transport")
	}
	return id, config, nil
}

// checkHosted refuses what the node would fail at without saying why.
func checkHosted(config map[string]any) error {
	at := "component_config"
	switch config["type"] {
	case "class":
		if name, _ := config["classname"].(string); !strings.Contains(strings.Trim(name, "."), ".") {
			return cfcerr.Argument(at+".classname", "a class with its module: package.module.Class")
		}
	case "function":
	default:
		return cfcerr.Argument(at+".type", "class or function")
	}
	if realm, _ := config["realm"].(string); realm == "" {
		return cfcerr.Argument(at+".realm", "the name of the WAMP realm that it joins")
	}
	if extra, ok := wamp.AsDict(config["extra"]); config["extra"] != nil && (!ok || extra == nil) {
		return cfcerr.Argument(at+".extra", "a dict")
	}
	return checkConnecting(at+".transport", config["transport"])
}

// stopHosted is a stop as Crossbar.io answers it.
func (o *Ops) stopHosted(ctx context.Context, caller catalog.Caller, in catalog.OnHosted) (catalog.Dict, error) {
	d, err := o.stopObject(ctx, caller, ContainerComponent.at(in.Place()), StopOptions{})
	if err != nil {
		return nil, err
	}
	return catalog.Dict{"component_id": d["id"], "uptime": d["uptime"],
		"caller": map[string]any{"session": caller.Session, "authid": caller.AuthID, "authrole": string(caller.Role)}}, nil
}
