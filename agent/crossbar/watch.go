package crossbar

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"fabric.center/cfc/agent/host"
	"fabric.center/cfc/agent/nodelink"
	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

const (
	lookTimeout = 10 * time.Second       // for asking the node what runs
	settle      = 20 * time.Millisecond  // a worker's many registrations come and go together
	deathPoll   = 250 * time.Millisecond // how often a detached node's process is looked at
)

// Watch tells changes what goes on at the node, and carries out what calls have
// left to do, until ctx ends.
func (n *Node) Watch(ctx context.Context, changes ops.Changes) error {
	stop := n.cfg.Link.Watch(n.noted)
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { n.tellMetas(ctx, changes) })
	wg.Go(func() { n.tellLogs(ctx, changes) })
	poll := time.NewTicker(n.cfg.Poll)
	defer poll.Stop()
	death := time.NewTicker(deathPoll)
	defer death.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-n.tasks:
			wg.Go(func() { f(ctx) })
			continue
		case <-death.C:
			n.checkDeath(ctx, changes)
			continue
		case <-n.kick:
			n.takeTurns(ctx, changes)
			if !pause(ctx, settle) {
				return nil
			}
		case <-poll.C:
		}
		n.takeTurns(ctx, changes)
		n.look(ctx, changes)
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// takeTurns tells, in order, that the node came and went.
func (n *Node) takeTurns(ctx context.Context, changes ops.Changes) {
	for {
		n.mu.Lock()
		if len(n.turns) == 0 {
			n.mu.Unlock()
			return
		}
		t := n.turns[0]
		n.mu.Unlock()
		n.takeTurn(ctx, t, changes)
		n.mu.Lock()
		n.turns = n.turns[1:]
		close(n.settled)
		n.settled = make(chan struct{})
		n.mu.Unlock()
	}
}

func (n *Node) takeTurn(ctx context.Context, t turn, changes ops.Changes) {
	if !t.ready {
		changes.Detached(t.info.Kind, t.info.Version, t.reason)
		return
	}
	n.mu.Lock()
	last := n.process
	n.mu.Unlock()
	now := controller(ctx, t.info)
	if last.PID != 0 && now != last && !last.Alive(ctx) {
		changes.NodeGone("node gone", "")
	}
	n.mu.Lock()
	n.process = now
	n.mu.Unlock()
	changes.Attached(t.info.Kind, t.info.Version, t.info.Started)
}

// Settle implements ops.Node. A worker that a call started on a node whose
// predecessor's end has not been told would be taken for one of that.
func (n *Node) Settle(ctx context.Context) error {
	for {
		n.mu.Lock()
		pending, settled := n.ready && len(n.turns) > 0, n.settled
		n.mu.Unlock()
		if !pending {
			return nil
		}
		select {
		case <-settled:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return cfcerr.New(cfcerr.Canceled, "canceled before it was begun: the node has only just come")
			}
			return cfcerr.New(cfcerr.Timeout, "cannot finish in time: it was not begun, the node has only just come")
		}
	}
}

// checkDeath ends all workers of a detached node once its process is gone:
// a lost connection alone says nothing about them.
func (n *Node) checkDeath(ctx context.Context, changes ops.Changes) {
	n.mu.Lock()
	p, ready, turns := n.process, n.ready, len(n.turns)
	n.mu.Unlock()
	if p.PID == 0 || ready || turns > 0 || p.Alive(ctx) {
		return
	}
	n.mu.Lock()
	if n.process == p {
		n.process = host.Process{}
	}
	n.mu.Unlock()
	changes.NodeGone("node gone", "")
}

// controller is the process of the node's controller, when the pid that it
// tells is that of a process that started when the node says it did, or that
// looks like one: the clock may have been set since. In another PID namespace it
// is neither.
func controller(ctx context.Context, info nodelink.NodeInfo) host.Process {
	p, err := host.Find(ctx, info.PID)
	if err != nil {
		return host.Process{}
	}
	joined, err := time.Parse(time.RFC3339, info.Started)
	if age := joined.Sub(p.Started); (err != nil || age < -3*time.Second || age > time.Minute) && !isNode(ctx, p) {
		return host.Process{}
	}
	return p
}

// look asks the node what runs and tells changes.
func (n *Node) look(ctx context.Context, changes ops.Changes) {
	n.mu.Lock()
	ready, appeared := n.ready, n.appeared
	n.appeared = nil
	n.mu.Unlock()
	if !ready {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	mark, remembered := changes.Mark(), n.memory.mark()
	all, err := n.all(ctx)
	if err != nil {
		n.log.Debug("cannot ask the node what runs", zap.Error(err))
		n.mu.Lock()
		n.appeared = append(appeared, n.appeared...)
		n.mu.Unlock()
		return
	}
	changes.Seen(mark, all, appeared)
	n.finishStops(ctx, all)
	n.memory.keepOnly(remembered, all)
	n.keepNames(all)
	n.forgetJoined(all)
}

func (n *Node) all(ctx context.Context) ([]ops.Worker, error) {
	ids, err := n.Workers(ctx, nil)
	if err != nil {
		return nil, err
	}
	workers := make([]ops.Worker, 0, len(ids))
	for _, id := range ids {
		w, err := n.Worker(ctx, id)
		if notThere(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n.leftBehind(ctx, w) {
			continue
		}
		workers = append(workers, w)
	}
	answering := n.answering(ctx, workers)
	for i := range workers {
		w := &workers[i]
		if kinds := ops.KindsOf(w.Type); !w.Ready || len(kinds) == 0 {
			continue
		} else if !answering[w.ID] {
			w.Unseen = kinds
			continue
		}
		err = n.lookInto(ctx, w)
		if gone := cfcerr.KindOf(err); gone == cfcerr.NoSuchProcedure || gone == cfcerr.ConnectionLost {
			w.Ready = false // it is about to vanish from the list
		} else if err != nil {
			return nil, err
		}
	}
	return workers, nil
}

// lookInto asks what runs in a worker. One kind of which the node cannot tell
// does not hide the others.
func (n *Node) lookInto(ctx context.Context, seen *ops.Worker) error {
	w := workerSeen(n, *seen)
	for _, k := range ops.KindsOf(seen.Type) {
		for _, s := range w.sites(k, seen.Objects) {
			found, err := s.objects(ctx)
			switch kind := cfcerr.KindOf(err); {
			case err == nil:
				seen.Objects = append(seen.Objects, found...)
				if k == ops.RouterRealm {
					n.keepJoined(ctx, w, n.memory.nodes(s.place(), found))
				}
			case kind == cfcerr.NoSuchObject: // its parent has gone meanwhile
			case kind == cfcerr.NoSuchProcedure, kind == cfcerr.ConnectionLost:
				return err
			case unfinished(err): // nor would it tell the rest
				kinds := ops.KindsOf(seen.Type)
				seen.Unseen = append(seen.Unseen, kinds[slices.Index(kinds, k):]...)
				return nil
			default:
				n.log.Debug("cannot ask the node what runs", zap.String("worker", w.id), zap.String("kind", k.Key), zap.Error(err))
				seen.Unseen = append(seen.Unseen, k)
			}
		}
	}
	return nil
}

// sites are where objects of the kind may be, given the objects of its parent.
func (w *worker) sites(k *ops.Kind, objects []ops.Object) []*site {
	if k.Parent == nil {
		return []*site{w.site(k, "", "")}
	}
	var sites []*site
	parents := w.site(k.Parent, "", "").place()
	for _, o := range objects {
		if o.Kind == k.Parent {
			sites = append(sites, w.site(k, w.n.memory.node(parents, o.ID), o.ID))
		}
	}
	return sites
}

// Workers implements ops.Node.
func (n *Node) Workers(ctx context.Context, types []string) ([]string, error) {
	filter := wamp.List{}
	for _, t := range types {
		filter = append(filter, t)
	}
	v, err := n.call(ctx, quick, "get_workers", filter)
	if err != nil {
		return nil, err
	}
	return stringList("get_workers", v)
}

func stringList(procedure string, v any) ([]string, error) {
	list, ok := wamp.AsList(v)
	out := make([]string, 0, len(list))
	for _, x := range list {
		s, isString := wamp.AsString(x)
		ok = ok && isString
		out = append(out, s)
	}
	if !ok {
		return nil, cfcerr.New(cfcerr.NotSupported, "cannot use the node's answer to %s: it is not a list of ids", procedure)
	}
	return out, nil
}

// Worker implements ops.Node.
func (n *Node) Worker(ctx context.Context, id string) (ops.Worker, error) {
	v, err := n.call(ctx, quick, "get_worker", id)
	if err != nil {
		return ops.Worker{}, err
	}
	d, ok := wamp.AsDict(v)
	if !ok {
		return ops.Worker{}, cfcerr.New(cfcerr.NotSupported, "cannot use the node's answer to get_worker: it is no dict")
	}
	w := readWorker(d)
	// The last of a native worker's procedures is there when its status says
	// so, but the node passes them on one by one.
	w.Ready = w.Status == "started" && (w.Type == "guest" || n.cfg.Link.Has(ops.WorkerProcedure(id, "utcnow")))
	return w, nil
}

// short makes what a worker has logged fit an error: where it says what was
// fatal to a component that alone, else the last lines.
func short(lines []string) string {
	if i := slices.IndexFunc(lines, isFatal); i >= 0 {
		return lines[i]
	}
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}

func isFatal(line string) bool { return strings.Contains(line, "Fatal error in component") }
