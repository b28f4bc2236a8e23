package crossbar

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// handling is what is particular to one kind of object on a stock node. All
// ids are the node's. What is common to all kinds is in site: ids that can not be
// used again, starts that nobody awaited, stops whose answer was lost.
type handling interface {
	// probe is a procedure that a worker has when it can have such objects.
	probe() string
	// ids are those that the node lists, the dead among them.
	ids(ctx context.Context, s *site) ([]string, error)
	get(ctx context.Context, s *site, id string) (catalog.Dict, error)
	// start starts the object and all that its configuration holds. What it
	// leaves behind when it fails is taken back by stop.
	start(ctx context.Context, s *site, id string, config map[string]any) error
	stop(ctx context.Context, s *site, id string, options ops.StopOptions) (fate, error)
}

// picky is a handling some of whose objects cannot be stopped, or only by a
// restart of the worker.
type picky interface {
	mayStop(ctx context.Context, s *site, id string, options ops.StopOptions) (anew bool, err error)
}

// mortal are kinds of objects that can end by themselves without the node
// noticing: alive are those of the ids that have not.
type mortal interface {
	alive(ctx context.Context, s *site, ids []string) ([]string, error)
}

// numbering is a handling whose ids the node gives: nth is the one that it
// gives next when it has given n.
type numbering interface{ nth(n int) string }

// fate is what has become of the id of a stopped object.
type fate uint8

const (
	freed   fate = iota + 1 // it may be used again
	burnt                   // the node goes on listing it, and never takes it again
	pending                 // the object is none for callers, but can be ended later only
)

// handlingOf is how a stock node's objects of the kind are handled.
func handlingOf(k *ops.Kind) handling {
	switch k {
	case ops.RouterRealm:
		return realms{}
	case ops.RealmRole:
		return roles{}
	case ops.RouterTransport:
		return transports{k.Worker}
	case ops.TransportPath, ops.ProxyPath:
		return paths{k.Worker}
	case ops.ContainerComponent:
		return hosted{}
	case ops.RouterComponent:
		return components{}
	case ops.ProxyTransport:
		return proxyTransports{transports{k.Worker}}
	case ops.ProxyConnection:
		return connections{}
	case ops.ProxyRoute:
		return routes{}
	}
	panic("crossbar: nothing handles objects of kind " + k.Key)
}

// Procedure implements ops.Node.
func (n *Node) Procedure(k *ops.Kind) string { return handlingOf(k).probe() }

// worker is a worker as one operation sees it.
type worker struct {
	n    *Node
	id   string
	life life // the process that the memory is of
}

func workerSeen(n *Node, w ops.Worker) *worker {
	return &worker{n: n, id: w.ID, life: life{PID: w.PID, Created: w.Created}}
}

func (w *worker) call(ctx context.Context, procedure string, args ...any) (any, error) {
	return w.n.call(ctx, quick, ops.WorkerProcedure(w.id, procedure), args...)
}

// dict is call where the answer is a dict.
func (w *worker) dict(ctx context.Context, procedure string, args ...any) (catalog.Dict, error) {
	v, err := w.call(ctx, procedure, args...)
	if err != nil {
		return nil, err
	}
	d, ok := wamp.AsDict(v)
	if !ok {
		return nil, cfcerr.New(cfcerr.NotSupported, "cannot use the node's answer to %s: it is no dict", procedure)
	}
	return catalog.Dict(wamp.NormalizeDict(d)), nil
}

func (w *worker) strings(ctx context.Context, procedure string, args ...any) ([]string, error) {
	v, err := w.call(ctx, procedure, args...)
	if err != nil {
		return nil, err
	}
	return stringList(procedure, v)
}

// site is where objects of one kind are: a worker, or an object of it.
type site struct {
	*worker
	kind   *ops.Kind
	parent string // the node's id of the object that they belong to
	public string // the id that callers use for it
	handling
}

// site finds the place; no_such_object when the parent is not there.
func (n *Node) site(ctx context.Context, k *ops.Kind, id, parent string) (*site, error) {
	seen, err := n.Worker(ctx, id)
	if err != nil {
		return nil, err
	}
	s := workerSeen(n, seen).site(k, "", parent)
	if k.Parent == nil {
		return s, nil
	}
	s.parent, err = s.site(k.Parent, "", "").find(ctx, parent)
	return s, err
}

func (w *worker) site(k *ops.Kind, parent, public string) *site {
	return &site{worker: w, kind: k, parent: parent, public: public, handling: handlingOf(k)}
}

func (s *site) place() place {
	return place{s.id, s.life, partsOf(s.kind, s.parent)}
}

// partsOf is what the memory calls objects of the kind k that belong to parent.
func partsOf(k *ops.Kind, parent string) string {
	if k.Parent == nil {
		return k.Key
	}
	return k.Key + "/" + parent
}

// living are the node's ids of the objects that run.
func (s *site) living(ctx context.Context) ([]string, error) {
	ids, err := s.ids(ctx, s)
	ids = slices.DeleteFunc(ids, func(id string) bool { return s.n.memory.hidden(s.place(), id) })
	if m, ok := s.handling.(mortal); ok && err == nil {
		return m.alive(ctx, s, ids)
	}
	return ids, err
}

// find is the node's id of an object that runs.
func (s *site) find(ctx context.Context, public string) (string, error) {
	living, err := s.living(ctx)
	if err != nil {
		return "", err
	}
	if id := s.n.memory.node(s.place(), public); id != "" && slices.Contains(living, id) {
		return id, nil
	}
	return "", ops.Ref{Kind: s.kind, Worker: s.id, Parent: s.public, ID: public}.NoSuch()
}

// show is an object by the node's id for it, under the id that callers use.
func (s *site) show(ctx context.Context, id string) (catalog.Dict, error) {
	d, err := s.get(ctx, s, id)
	if err != nil {
		return nil, err
	}
	d["id"] = s.n.memory.public(s.place(), id)
	return d, nil
}

// objects are those that run, by the ids that callers use.
func (s *site) objects(ctx context.Context) ([]ops.Object, error) {
	living, err := s.living(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]ops.Object, 0, len(living))
	for _, id := range living {
		name, born, err := s.known(ctx, id)
		if cfcerr.KindOf(err) == cfcerr.NoSuchObject {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, ops.Object{Kind: s.kind, Parent: s.public, ID: s.n.memory.public(s.place(), id), Name: name, Born: born})
	}
	slices.SortFunc(list, func(a, b ops.Object) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// Objects implements ops.Node.
func (n *Node) Objects(ctx context.Context, k *ops.Kind, worker, parent string) ([]ops.Object, error) {
	s, err := n.site(ctx, k, worker, parent)
	if err != nil {
		return nil, err
	}
	return s.objects(ctx)
}

// Object implements ops.Node.
func (n *Node) Object(ctx context.Context, r ops.Ref) (catalog.Dict, error) {
	s, err := n.site(ctx, r.Kind, r.Worker, r.Parent)
	if err != nil {
		return nil, err
	}
	id, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	return s.show(ctx, id)
}

// About implements ops.Node.
func (n *Node) About(ctx context.Context, r ops.Ref, procedure string, args ...any) (any, error) {
	s, err := n.site(ctx, r.Kind, r.Worker, r.Parent)
	if err != nil {
		return nil, err
	}
	id, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	return s.call(ctx, procedure, append([]any{id}, args...)...)
}

// Start implements ops.Node.
func (n *Node) Start(ctx context.Context, _ string, r ops.Ref, config map[string]any) (catalog.Dict, error) {
	s, err := n.site(ctx, r.Kind, r.Worker, r.Parent)
	if err != nil {
		return nil, err
	}
	listed, err := s.ids(ctx, s)
	if err != nil {
		return nil, err
	}
	// Kept before the node is asked: otherwise a crash in between would show
	// the object under an id that nobody gave it.
	id, err := n.memory.assign(s.place(), r.ID, listed, s.candidates(r.ID))
	if err != nil {
		return nil, err
	}
	if err = s.start(ctx, s, id, config); err != nil {
		s.takeBack(ctx, r.ID, id, err)
		if unfinished(err) {
			err = givenUp(err, r.Kind.Noun+" "+r.ID)
		}
		return nil, err
	}
	return s.show(ctx, n.memory.node(s.place(), r.ID))
}

// candidates are what the node may call an object.
func (s *site) candidates(public string) func(n int) string {
	if x, ok := s.handling.(numbering); ok {
		return x.nth
	}
	return func(n int) string {
		if n == 0 {
			return public
		}
		return fmt.Sprintf("r_%s_%d", public, n)
	}
}

// takeBack removes what a failed start has left on the node: nothing, an
// object without some of its parts, or an id that is burnt. A start that was not
// awaited may yet come true: it is remembered as one to be stopped.
func (s *site) takeBack(ctx context.Context, public, id string, cause error) {
	var err error
	var listed []string
	if unfinished(cause) {
		err = s.n.memory.unwanted(s.place(), public, id)
	} else if listed, err = s.ids(ctx, s); err == nil {
		if slices.Contains(listed, id) {
			err = s.end(ctx, id, ops.StopOptions{})
		} else {
			err = s.n.memory.release(s.place(), public)
		}
	}
	if err != nil {
		s.n.log.Warn("cannot take back a start", zap.String("worker", s.id), zap.String(s.kind.Noun, public), zap.Error(err))
	}
	s.n.wake()
}

// MayStop implements ops.Node.
func (n *Node) MayStop(ctx context.Context, r ops.Ref, options ops.StopOptions) (anew bool, err error) {
	s, err := n.site(ctx, r.Kind, r.Worker, r.Parent)
	if err != nil {
		return false, err
	}
	id, err := s.find(ctx, r.ID)
	if p, ok := s.handling.(picky); ok && err == nil {
		return p.mayStop(ctx, s, id, options)
	}
	return false, err
}

// MayStart implements ops.Node.
func (n *Node) MayStart(ctx context.Context, r ops.Ref, config map[string]any, options ops.StopOptions) (anew bool, err error) {
	s, err := n.site(ctx, r.Kind, r.Worker, r.Parent)
	if err != nil {
		return false, err
	}
	if x, ok := s.handling.(routes); ok {
		return x.mayStart(ctx, s, config, options)
	}
	return false, nil
}

// Stop implements ops.Node.
func (n *Node) Stop(ctx context.Context, by string, r ops.Ref, options ops.StopOptions) (catalog.Dict, error) {
	s, err := n.site(ctx, r.Kind, r.Worker, r.Parent)
	if err != nil {
		return nil, err
	}
	id, err := s.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	d, err := s.show(ctx, id)
	if err != nil {
		return nil, err
	}
	if err = s.end(ctx, id, options); err != nil {
		return nil, err
	}
	d["stopped"], d["who"] = wire.Time(time.Now()), by
	return d, nil
}

// end takes an object down. The intent is kept first, so that a crash in
// between neither hides a living object nor shows a dead one.
func (s *site) end(ctx context.Context, id string, options ops.StopOptions) error {
	m, p := s.n.memory, s.place()
	defer m.hold(p, id)()
	if err := m.stopping(p, id); err != nil {
		return err
	}
	fate, err := s.stop(ctx, s, id, options)
	s.forgetName(id)
	switch {
	case err == nil && fate == burnt:
		err = m.stopped(p, id)
	case err == nil && fate == pending:
		s.n.notBefore(nameKey{p, id})
		return m.pending(p, id)
	case err == nil, cfcerr.KindOf(err) == cfcerr.NoSuchObject:
		err = m.freed(p, id)
	case cfcerr.KindOf(err) == cfcerr.NotSupported: // and never will be
		return errors.Join(err, m.pardoned(p, id))
	case !unfinished(err) && cfcerr.KindOf(err) != cfcerr.ConnectionLost:
		return errors.Join(err, m.spared(p, id))
	default:
		return err
	}
	return errors.Join(err, m.forgetWithin(p, s.parts(id)...))
}

// parts are the places of what belongs to one of the objects.
func (s *site) parts(id string) []string {
	var kinds []string
	for _, k := range ops.Kinds {
		if k.Parent == s.kind {
			kinds = append(kinds, partsOf(k, id))
		}
	}
	return kinds
}

// finishStops completes stops whose answer nobody has seen, and ends objects
// whose start came true after it was given up.
func (n *Node) finishStops(ctx context.Context, workers []ops.Worker) {
	for _, seen := range workers {
		w := workerSeen(n, seen)
		if !seen.Ready || !n.due(w.silent()) {
			continue
		}
		for _, k := range ops.KindsOf(seen.Type) {
			for _, parent := range n.memory.parents(w.id, w.life, k) {
				w.site(k, parent, parent).finishStops(ctx)
			}
		}
	}
}

func (s *site) finishStops(ctx context.Context) {
	ids := s.n.memory.unfinished(s.place())
	if len(ids) == 0 {
		return
	}
	listed, err := s.ids(ctx, s)
	half := s.n.memory.half(s.place())
	for _, id := range ids {
		if err == nil && s.n.due(nameKey{s.place(), id}) && (slices.Contains(listed, id) || slices.Contains(half, id)) {
			err = s.end(ctx, id, ops.StopOptions{})
		}
	}
	if err != nil {
		s.n.log.Warn("cannot finish stops", zap.String("worker", s.id), zap.String("kind", s.kind.Key), zap.Strings("ids", ids), zap.Error(err))
	}
}
