package ops

import (
	"slices"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
)

// Kind is a kind of object that is started and stopped in a worker.
type Kind struct {
	Key    string // names it in files: "router_realm"
	Noun   string // in sentences: "realm"
	Worker string // the type of worker that has it
	Parent *Kind  // what it belongs to; nil for the worker itself
	Prefix string // of ids that are made up
	Life   catalog.Life
	// Check refuses a configuration that the node would start half, or fail at
	// without saying why. It may be nil.
	Check func(config map[string]any) error
	// Code says what of a configuration runs code of its author's on the host,
	// which takes the role owner; empty where nothing does. It may be nil.
	Code func(config map[string]any) string
	// Name is what of its configuration names it beside its id, if anything: no
	// two of one parent may have the same.
	Name func(config map[string]any) string
	// Shared says that several may have the same name all the same.
	Shared bool
	// Born is when the node made an object, as it shows it, of a kind that the
	// node starts anew by itself: it tells one from the next. Else nil.
	Born func(object catalog.Dict) string
}

// Kinds are all of them, each parent before what belongs to it.
var Kinds = []*Kind{RouterRealm, RealmRole, RouterTransport, TransportPath, RouterComponent, ContainerComponent,
	ProxyConnection, ProxyRoute, ProxyTransport, ProxyPath}

// children are the kinds that belong to objects of k; those of nil belong to a
// worker.
func children(k *Kind) []*Kind {
	return slices.DeleteFunc(slices.Clone(Kinds), func(c *Kind) bool { return c.Parent != k })
}

// KindsOf are the kinds of objects in workers of a type.
func KindsOf(worker string) []*Kind {
	return slices.DeleteFunc(slices.Clone(Kinds), func(k *Kind) bool { return k.Worker != worker })
}

func kindByKey(key string) *Kind {
	i := slices.IndexFunc(Kinds, func(k *Kind) bool { return k.Key == key })
	if i < 0 {
		return nil
	}
	return Kinds[i]
}

// Ref names an object.
type Ref struct {
	Kind   *Kind
	Worker string
	Parent string // id of what it belongs to; empty for the worker itself
	ID     string
}

func (k *Kind) at(p catalog.Place) Ref { return Ref{k, p.Worker, p.Parent, p.ID} }

// ids are those in its events.
func (r Ref) ids() []string {
	if r.Kind.Parent == nil {
		return []string{r.Worker, r.ID}
	}
	return []string{r.Worker, r.Parent, r.ID}
}

// NoSuch is the error of an object that is not there.
func (r Ref) NoSuch() *cfcerr.Error {
	e := cfcerr.New(cfcerr.NoSuchObject, "cannot find %s %s: %s has no such %s", r.Kind.Noun, r.ID, r.where(), r.Kind.Noun)
	return r.InDetail(e)
}

func (r Ref) where() string {
	if r.Kind.Parent == nil {
		return "worker " + r.Worker
	}
	return r.Kind.Parent.Noun + " " + r.Parent + " of worker " + r.Worker
}

// InDetail adds to an error which object it is about.
func (r Ref) InDetail(e *cfcerr.Error) *cfcerr.Error {
	e = e.With("worker_id", r.Worker)
	if r.Kind.Parent != nil {
		e = e.With(r.Kind.Parent.argument(), r.Parent)
	}
	return e.With(r.Kind.argument(), r.ID)
}

func (k *Kind) argument() string { return k.Noun + "_id" }

// Object is one that runs, by the ids that callers use.
type Object struct {
	Kind   *Kind
	Parent string
	ID     string
	Name   string // what its kind's Name gives
	Born   string // what its kind's Born gives
}

func (k *Kind) born(d catalog.Dict) string {
	if k.Born == nil {
		return ""
	}
	return k.Born(d)
}

func (o Object) ref(worker string) Ref { return Ref{o.Kind, worker, o.Parent, o.ID} }
