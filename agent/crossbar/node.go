package crossbar

import (
	"context"
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

// Link is the way to the node; *nodelink.Link is one.
type Link interface {
	Call(ctx context.Context, procedure string, args wamp.List, kwargs wamp.Dict) (any, error)
	Has(procedure string) bool
	Watch(fn func(nodelink.Notice)) (stop func())
}

// Stopper takes the node down and, on request, starts it again; *Supervisor is
// one. It returns when the node is down.
type Stopper interface {
	Shutdown(ctx context.Context, restart bool) error
}

// Config is what a Node needs.
type Config struct {
	Link Link
	// Supervisor is nil where somebody else starts the node.
	Supervisor Stopper
	// StateDir keeps which ids of objects are burnt. Empty: not kept.
	StateDir string
	// LogFile is what the node writes: it alone says how guests have ended.
	// Empty: not known.
	LogFile string
	// BootDir is the node's directory, when the node boots the workers of the
	// configuration there: it alone says with which options. Empty: not known.
	BootDir string
	// Poll is how often the node is asked what runs, without any sign of a
	// change; 2 s. Guests are only missed by asking.
	Poll time.Duration
	Log  *zap.Logger
}

// Node is a stock Crossbar.io node, its procedures repaired. It implements
// ops.Node.
type Node struct {
	cfg    Config
	log    *zap.Logger
	memory *memory
	tasks  chan func(context.Context) // what is left to do after a call has ended
	kick   chan struct{}              // something may have changed

	mu       sync.Mutex
	ready    bool
	info     nodelink.NodeInfo
	process  host.Process        // of the controller; zero where it cannot be told
	appeared []ops.Worker        // said to have started, since the node was last asked
	turns    []turn              // attachments and detachments not yet told
	settled  chan struct{}       // closed when the first of turns has been told
	tails    map[string][]string // last lines of workers that are starting
	names    map[nameKey]string
	remarks  map[*remark]bool // listeners to workers' logs
	tries    map[nameKey]try
	departed map[string]int        // pids of guests that are gone and still listed, by id
	unjoined map[nameKey]time.Time // since when components have been seen without a session
	metas    metas
	logs     logs
	told     []func(ops.Changes) // heartbeats and figures that are to be passed on
}

// turn is the node coming or going.
type turn struct {
	ready  bool
	info   nodelink.NodeInfo
	reason string
}

var _ ops.Node = (*Node)(nil)

// maxTasks bounds what may be left to do; beyond it the next question to the
// node finds out.
const maxTasks = 64

// New reads the memory; nothing runs before Watch.
func New(cfg Config) *Node {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Poll == 0 {
		cfg.Poll = 2 * time.Second
	}
	return &Node{cfg: cfg, log: cfg.Log, memory: openMemory(cfg.StateDir, cfg.Log),
		settled: make(chan struct{}), tasks: make(chan func(context.Context), maxTasks), kick: make(chan struct{}, 1),
		tails: map[string][]string{}, names: map[nameKey]string{}, tries: map[nameKey]try{}, departed: map[string]int{}, unjoined: map[nameKey]time.Time{}, remarks: map[*remark]bool{},
		metas: newMetas(), logs: newLogs()}
}

// later has f carried out soon, by Watch.
func (n *Node) later(f func(context.Context)) {
	select {
	case n.tasks <- f:
	default:
		n.log.Warn("too much is left to do on the node, something stays undone")
	}
}

func (n *Node) wake() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// call is one call of the node that takes at most d of ctx.
func (n *Node) call(ctx context.Context, d time.Duration, procedure string, args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return n.cfg.Link.Call(ctx, procedure, args, nil)
}

// quick is how long the node may take for what it does in a millisecond, and
// share what part of the time that is left a step may take.
const quick = 10 * time.Second

func share(ctx context.Context, most time.Duration) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return most
	}
	return min(most, time.Until(deadline)*2/3)
}

// tailLines is how much is kept of what a worker writes that is starting, or
// that starts something, to say why it failed.
const tailLines = 40

// listen keeps what a worker writes from now on, until deaf.
func (n *Node) listen(worker string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tails[worker] = []string{}
}

func (n *Node) deaf(worker string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.tails, worker)
}

func (n *Node) tail(worker string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tails[worker]
}

// noted hears everything from the node; it must not block.
func (n *Node) noted(x nodelink.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch x.Kind {
	case nodelink.Ready:
		n.ready, n.info = true, x.Node
		clear(n.metas.joined) // what has happened meanwhile is not known
		n.turns = append(n.turns, turn{ready: true, info: x.Node})
	case nodelink.Detached:
		n.ready = false
		n.turns = append(n.turns, turn{info: x.Node, reason: x.Reason})
	case nodelink.Registered, nodelink.Unregistered:
		if !n.ready || !strings.HasPrefix(x.Name, "worker.") {
			return
		}
	case nodelink.Event:
		if e, ok := readMeta(x); ok {
			n.noteMeta(e)
			return
		}
		if !n.noteEvent(x) {
			return
		}
	}
	n.wake()
}

// noteEvent reports whether the event is a sign of a change.
func (n *Node) noteEvent(x nodelink.Notice) bool {
	worker, topic := "", x.Name
	if rest, ok := strings.CutPrefix(x.Name, "worker."); ok {
		worker, topic, _ = strings.Cut(rest, ".")
	}
	switch {
	case topic == "on_log" && len(x.Args) > 0:
		text, _ := wamp.AsString(x.Args[0])
		text = withoutConfig(text)
		n.heard(worker, x.Args)
		n.logs.note(worker, text)
		if lines, ok := n.tails[worker]; ok {
			lines = append(lines, plain(text))
			n.tails[worker] = lines[max(0, len(lines)-tailLines):]
		}
		return false
	case topic == "on_heartbeat" && len(x.Args) > 0, topic == "on_process_stats" && len(x.Args) > 0:
		n.pass(worker, topic, x.Args[0])
		return false
	case worker == "" && strings.HasSuffix(topic, "_started") && len(x.Args) > 0:
		n.appeared = append(n.appeared, startedWorker(topic, x.Args[0]))
		return true
	}
	for _, end := range []string{"_starting", "_started", "_stop", "_stopped", "on_worker_ready"} {
		if strings.HasSuffix(topic, end) {
			return true
		}
	}
	return false
}

// mostFigures is how many heartbeats and figures may wait to be passed on.
const mostFigures = 256

// pass has a heartbeat or figures told by Watch; where too many wait, it is the
// newest that is dropped: the next one comes soon.
func (n *Node) pass(worker, topic string, v any) {
	if len(n.told) >= mostFigures {
		return
	}
	n.told = append(n.told, func(c ops.Changes) {
		if topic == "on_heartbeat" {
			c.Heartbeat(v)
		} else {
			c.Stats(worker, v)
		}
	})
	select {
	case n.metas.more <- struct{}{}:
	default:
	}
}

// startedWorker reads on_<type>_started.
func startedWorker(topic string, arg any) ops.Worker {
	d, _ := wamp.AsDict(arg)
	w := readWorker(d)
	w.Type = strings.TrimSuffix(strings.TrimPrefix(topic, "on_"), "_started")
	return w
}

func readWorker(d wamp.Dict) ops.Worker {
	var w ops.Worker
	w.ID, _ = wamp.AsString(d["id"])
	w.Type, _ = wamp.AsString(d["type"])
	w.Status, _ = wamp.AsString(d["status"])
	w.Created, _ = wamp.AsString(d["created"])
	pid, _ := wamp.AsInt64(d["pid"])
	w.PID = int(pid)
	return w
}

// ours is the process with this pid when it is the node's: a child of the
// controller, seen from here. The node may live in another PID namespace, and
// then nothing may be concluded from its pids.
func (n *Node) ours(ctx context.Context, pid int) (host.Process, bool) {
	n.mu.Lock()
	controller := n.process
	n.mu.Unlock()
	if controller.PID == 0 || !controller.Alive(ctx) {
		return host.Process{}, false
	}
	p, err := host.Find(ctx, pid)
	return p, err == nil && p.ChildOf(ctx, controller.PID)
}

// here reports whether the node's controller can be seen from here, and so its
// files too.
func (n *Node) here() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process.PID != 0
}

// notThere reports whether the error says that there is no such worker.
func notThere(err error) bool { return cfcerr.KindOf(err) == cfcerr.NoSuchWorker }
