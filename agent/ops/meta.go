package ops

import (
	"context"
	"strings"

	"fabric.center/cfc/shared/catalog"
	"github.com/gammazero/nexus/v3/wamp"
)

// bindMeta binds the meta API: every row is the procedure of WAMP's name,
// which the realm itself answers.
func (o *Ops) bindMeta() {
	for _, op := range catalog.All() {
		if _, ok := op.MetaProcedure(); ok {
			o.table.Set(op, o.meta)
		}
	}
}

func (o *Ops) meta(ctx context.Context, c catalog.Call) (any, error) {
	worker, args, kwargs := take("worker_id", c.Args, c.Kwargs)
	realm, args, kwargs := take("realm_id", args, kwargs)
	r := Ref{Kind: RouterRealm, Worker: worker, ID: realm}
	if err := o.needKind(ctx, r); err != nil {
		return nil, err
	}
	name, _ := c.Op.MetaProcedure()
	return o.cfg.Node.Meta(ctx, r, name, args, kwargs)
}

// take takes the next argument out of a call's, by position or by name.
func take(name string, args wamp.List, kwargs wamp.Dict) (string, wamp.List, wamp.Dict) {
	if v, named := kwargs[name]; named {
		s, _ := wamp.AsString(v)
		return s, args, without(kwargs, name)
	}
	if len(args) == 0 {
		return "", args, kwargs
	}
	s, _ := wamp.AsString(args[0])
	return s, args[1:], kwargs
}

// metaEvents are the events of the meta API by WAMP's names for them.
func metaEvents() map[string]*catalog.Event {
	byTopic := map[string]*catalog.Event{}
	for _, e := range catalog.Events() {
		if topic, ok := e.MetaTopic(); ok {
			byTopic[topic] = e
		}
	}
	return byTopic
}

// Meta implements Changes. What the router has told too much of is dropped,
// and what is missing is null.
func (v *Inventory) Meta(worker, realm, topic string, lost uint64, args wamp.List) {
	e := v.metaEvents[topic]
	if e == nil {
		return
	}
	names := e.Args[len([]string{"node_id", "worker_id", "realm_id"}) : len(e.Args)-1]
	told := []any{worker, realm}
	for i, name := range names {
		var x any
		if i < len(args) {
			x = mask(args[i], below(name, e.Secrets))
		}
		told = append(told, x)
	}
	v.emit(e, details(catalog.Dict{"lost": lost}), told...)
}

// below are the paths that lead into name, from there on.
func below(name string, paths []string) []string {
	var rest []string
	for _, p := range paths {
		if p, ok := strings.CutPrefix(p, name+"."); ok {
			rest = append(rest, p)
		}
	}
	return rest
}
