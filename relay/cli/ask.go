package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"golang.org/x/sync/errgroup"
)

// realmOf is the realm to join for a row: the users realm, or "" for the
// management realm of the place.
func realmOf(o *catalog.Op) string {
	if o.Realm == catalog.Users {
		return wire.UsersRealm
	}
	return ""
}

// do calls a row with arguments that are checked. A remote row's node stands
// in args[0].
func (a *app) do(ctx context.Context, s Session, o *catalog.Op, args wamp.List, kwargs wamp.Dict) (any, error) {
	timeout := a.flags.timeout
	if timeout <= 0 {
		timeout = o.Deadline()
	}
	options := session.CallOptions{Timeout: timeout}
	if o.Progress != "" && isTerminal(a.Stderr) {
		b := &bar{w: a.Stderr}
		options.Progress = b.take
		defer b.clear()
	}
	res, err := s.Call(ctx, o.URI(), args, kwargs, options)
	if err != nil {
		return nil, err
	}
	return resultOf(res), nil
}

// check decodes the arguments of a row as the far side will, so that a bad call
// costs no way to the relay.
func check(o *catalog.Op, args wamp.List, kwargs wamp.Dict) error {
	if o.Realm == catalog.Remote {
		if node, _ := args[0].(string); !catalog.NodeRef(node).Valid() {
			return cfcerr.Argument("node_id", catalog.NodeRef("").Form())
		}
		args = args[1:]
	}
	return o.Check(args, kwargs)
}

// ask calls a row and reads its result into the row's type; raw is the result
// as it came.
func ask[In, Out any](ctx context.Context, a *app, s Session, row catalog.Spec[In, Out], args ...any) (out Out, raw any, err error) {
	if raw, err = a.do(ctx, s, row.Op, args, nil); err != nil {
		return out, nil, err
	}
	b, err := json.Marshal(raw)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		err = fmt.Errorf("cannot read the answer of %s: %w", row.URI(), err)
	}
	return out, raw, err
}

// one is a command that is one call of a relay's row. The result is printed by
// its type; show, where there is one, prints it for people instead.
func one[In, Out any](ctx context.Context, a *app, p place, row catalog.Spec[In, Out], show func(Out) error, args ...any) error {
	if err := check(row.Op, args, nil); err != nil {
		return err
	}
	return a.at(ctx, p, realmOf(row.Op), func(s Session) error {
		out, raw, err := ask(ctx, a, s, row, args...)
		if err != nil {
			return err
		}
		if show == nil || a.flags.json {
			return a.print(raw, row.Result())
		}
		return show(out)
	})
}

// listed shows what a row lists by names: each as another row has it, which is
// called with of and the name.
func listed[LsIn, In, Out any](ctx context.Context, a *app, s Session, ls catalog.Spec[LsIn, []string], args []any, get catalog.Spec[In, Out], of []any, head []string, line func(Out) []string) error {
	names, _, err := ask(ctx, a, s, ls, args...)
	if err != nil {
		return err
	}
	found, raw, err := each(names, func(name string) (Out, any, error) { return ask(ctx, a, s, get, slices.Concat(of, []any{name})...) })
	if err != nil {
		return err
	}
	if a.flags.json {
		return writeJSON(a.Stdout, raw)
	}
	tab := table{head: head}
	for _, x := range found {
		tab.add(line(x)...)
	}
	return tab.write(a.Stdout)
}

// each asks for every name at once, at most 16 at a time, and keeps the order:
// what ask gives for it, as its type and as it came. What has gone meanwhile is
// left out.
func each[T any](names []string, f func(name string) (T, any, error)) (all []T, raw []any, err error) {
	type answer struct {
		value T
		raw   any
	}
	found := make([]*answer, len(names))
	var g errgroup.Group
	g.SetLimit(16)
	for i, name := range names {
		g.Go(func() error {
			v, raw, err := f(name)
			switch kind := cfcerr.KindOf(err); {
			case kind == cfcerr.NoSuchNode || kind == cfcerr.NoSuchRealm || kind == cfcerr.NoSuchObject:
				return nil
			case err != nil:
				return err
			}
			found[i] = &answer{v, raw}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	raw = []any{} // a list in JSON, also when it is empty
	for _, a := range found {
		if a != nil {
			all, raw = append(all, a.value), append(raw, a.raw)
		}
	}
	return all, raw, nil
}
