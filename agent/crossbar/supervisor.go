package crossbar

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"go.uber.org/zap"
)

// processPoll is how soon the end of the node's process is noticed.
const processPoll = 100 * time.Millisecond

// soon is how quickly a node ends that cannot run at all.
const soon = 10 * time.Second

// SupervisorConfig is what a Supervisor needs. Zero values take the defaults.
type SupervisorConfig struct {
	Executable string // the crossbar command
	Dir        string // the node directory, prepared
	StateDir   string // where to keep which process is the node; Dir
	LogFile    string // what the node writes; Dir/node.log
	// LogSize is when the log is rotated, LogKeep how many old ones stay:
	// 10 MiB, 3.
	LogSize int64
	LogKeep int
	// KeepRunning leaves the node alone when Run ends, so that the routing
	// goes on while the agent restarts; the next Run adopts it. A service
	// manager must then not end the agent's whole process group.
	KeepRunning bool
	StopTimeout time.Duration // from SIGINT to the end of the whole group; 30 s
	KillWait    time.Duration // what a process may take to end of being killed; 10 s
	SweepAfter  time.Duration // what workers may take to follow their controller; 3 s
	BackoffMin  time.Duration // 1 s
	BackoffMax  time.Duration // 60 s
	Log         *zap.Logger

	kill func(context.Context, *running) // nil but in tests: a process in the kernel does not hear it
}

// Supervisor starts a node, watches it, starts it again when it dies and stops
// it. There is never more than one node in the directory: one that runs
// already is adopted, and a lock that the node holds guards the rest.
type Supervisor struct {
	cfg      SupervisorConfig
	log      *zap.Logger
	requests chan request

	mu     sync.Mutex
	status Status
}

type request struct {
	restart bool
	done    chan error
}

// Status is the supervised node's process, for the agent's status.
type Status struct {
	State    string // "running", "waiting" (to be started again), "stopped", "stuck" (killed and not ended)
	PID      int
	Since    time.Time
	Adopted  bool // ran before this agent did
	Restarts int
	LastEnd  string // how it ended the last time, or why it could not be started
}

// NewSupervisor checks the configuration; nothing runs before Run.
func NewSupervisor(cfg SupervisorConfig) (*Supervisor, error) {
	if cfg.Executable == "" || cfg.Dir == "" {
		return nil, errors.New("cannot supervise a node without its directory and the crossbar command")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("cannot supervise the node: %w", err)
	}
	cfg.Dir = dir
	if cfg.LogFile == "" {
		cfg.LogFile = filepath.Join(dir, "node.log")
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&cfg.StopTimeout, 30 * time.Second}, {&cfg.KillWait, 10 * time.Second}, {&cfg.SweepAfter, 3 * time.Second}, {&cfg.BackoffMin, time.Second}, {&cfg.BackoffMax, time.Minute}} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	if cfg.kill == nil {
		cfg.kill = kill
	}
	if cfg.LogSize == 0 {
		cfg.LogSize = 10 << 20
	}
	if cfg.LogKeep == 0 {
		cfg.LogKeep = 3
	}
	return &Supervisor{cfg: cfg, log: cfg.Log, requests: make(chan request), status: Status{State: "stopped", Since: time.Now()}}, nil
}

// LogFile is what the node writes.
func (s *Supervisor) LogFile() string { return s.cfg.LogFile }

// Status is how the node's process is now.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *Supervisor) set(f func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.status)
}

// Shutdown takes the node down and returns when it is; it stays down until the
// next request or run of the agent, or is started again at once. A restart of
// a node that is down starts it.
func (s *Supervisor) Shutdown(ctx context.Context, restart bool) error {
	q := request{restart: restart, done: make(chan error, 1)}
	select {
	case s.requests <- q:
	case <-ctx.Done():
		return cfcerr.New(cfcerr.Timeout, "cannot finish in time: the supervisor of the node is busy with another request")
	}
	select {
	case err := <-q.done:
		return err
	case <-ctx.Done():
		return cfcerr.New(cfcerr.Timeout, "cannot finish in time: the node was told to end and has not before the deadline")
	}
}

// Run keeps a node running until ctx ends.
func (s *Supervisor) Run(ctx context.Context) error {
	life := context.WithoutCancel(ctx) // the end of ctx must not hinder the stop
	var node *running
	var next time.Time // when to start; zero: not at all
	backoff := s.cfg.BackoffMin
	if node = s.find(ctx); node != nil {
		s.log.Info("node adopted", zap.Int("pid", node.PID))
		s.up(node)
	} else {
		next = time.Now()
	}
	tick := time.NewTicker(processPoll)
	defer tick.Stop()
	for n := 0; ; n++ {
		if node != nil {
			if how, gone := node.ended(life); gone {
				switch ran := time.Since(node.since); {
				case ran > s.cfg.BackoffMax:
					backoff = s.cfg.BackoffMin
				case ran < soon:
					how = strings.TrimSuffix(how+": "+s.lastWords(), ": ")
				}
				s.sweep(life, node)
				if node.unwanted {
					s.log.Info("node stopped at last", zap.String("how", how))
					next = time.Time{}
					s.down("stopped", how)
				} else {
					s.log.Warn("node ended", zap.String("how", how), zap.Duration("restart_in", backoff))
					next = time.Now().Add(jitter(backoff))
					backoff = min(2*backoff, s.cfg.BackoffMax)
					s.down("waiting", how)
				}
				node = nil
			}
		}
		if node == nil && !next.IsZero() && !time.Now().Before(next) {
			var err error
			if node, err = s.launch(life); err != nil {
				node = s.find(life) // somebody else may have been faster
			}
			if node == nil {
				s.log.Error("cannot start the node", zap.Error(err), zap.Duration("again_in", backoff))
				next = time.Now().Add(jitter(backoff))
				backoff = min(2*backoff, s.cfg.BackoffMax)
				s.down("waiting", err.Error())
			} else {
				s.log.Info("node started", zap.Int("pid", node.PID))
				s.up(node)
			}
		}
		if n%50 == 0 {
			s.rotate()
		}
		select {
		case <-ctx.Done():
			if node == nil || s.cfg.KeepRunning {
				return nil
			}
			how, err := s.stop(life, node)
			if err == nil {
				s.log.Info("node stopped", zap.String("how", how))
				s.down("stopped", "")
			}
			return err
		case q := <-s.requests:
			q.done <- s.obey(life, &node, !next.IsZero(), q)
			next = time.Time{}
			if q.restart {
				next = time.Now()
			}
		case <-tick.C:
		}
	}
}

// obey carries a request out; waits says that a node which is down is about to be
// started again.
func (s *Supervisor) obey(ctx context.Context, node **running, waits bool, q request) error {
	if *node == nil {
		if waits && !q.restart {
			s.down("stopped", s.Status().LastEnd)
		}
		if waits || q.restart {
			return nil
		}
		return cfcerr.New(cfcerr.NotRunning, "cannot shut the node down: it is not running")
	}
	how, err := s.stop(ctx, *node)
	if err != nil { // it is watched further, and the request obeyed when it ends
		(*node).unwanted = !q.restart
		return err
	}
	s.log.Info("node stopped on request", zap.String("how", how), zap.Bool("restart", q.restart))
	*node = nil
	s.down("stopped", how)
	return nil
}

func (s *Supervisor) up(r *running) {
	s.set(func(st *Status) {
		if st.LastEnd != "" {
			st.Restarts++
		}
		st.State, st.PID, st.Since, st.Adopted = "running", r.PID, r.since, r.adopted
	})
}

func (s *Supervisor) down(state, how string) {
	s.set(func(st *Status) { *st = Status{State: state, Since: time.Now(), Restarts: st.Restarts, LastEnd: how} })
}

// jitter keeps the nodes of many hosts from starting in step.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// rotate keeps the log bounded: the file is copied and emptied, since the node
// holds it open. It is appended to, so that emptying it leaves no hole.
func (s *Supervisor) rotate() {
	info, err := os.Stat(s.cfg.LogFile)
	if err != nil || info.Size() < s.cfg.LogSize {
		return
	}
	old := func(n int) string { return fmt.Sprintf("%s.%d", s.cfg.LogFile, n) }
	// The old ones stay what they are until there is another one. On a full disk
	// the oldest makes room, and where that is not enough the node's log itself:
	// it must not grow on.
	fresh := s.cfg.LogFile + ".new"
	err = copyFile(s.cfg.LogFile, fresh)
	if errors.Is(err, syscall.ENOSPC) && os.Remove(old(s.cfg.LogKeep)) == nil {
		err = copyFile(s.cfg.LogFile, fresh)
	}
	switch {
	case err == nil:
		for n := s.cfg.LogKeep - 1; n >= 1; n-- {
			_ = os.Rename(old(n), old(n+1)) // one that is not there is none to keep
		}
		if err = os.Rename(fresh, old(1)); err == nil {
			err = os.Truncate(s.cfg.LogFile, 0)
		}
	case errors.Is(err, syscall.ENOSPC):
		err = errors.Join(err, os.Truncate(s.cfg.LogFile, 0))
	}
	_ = os.Remove(fresh) // what is left of one that did not come about
	if err != nil {
		s.log.Warn("cannot rotate the node's log", zap.Error(err))
	}
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = out.ReadFrom(in)
	return err
}
