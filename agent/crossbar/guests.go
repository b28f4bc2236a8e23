package crossbar

import (
	"context"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"fabric.center/cfc/agent/host"
	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// A guest is any program. The node calls it gone when its process is and
// nobody holds the other end of its pipes any more: a child that it has left
// keeps it listed. And when the node kills one it closes no pipe: when such a
// child ends at last, the node drops whatever guest has the id by then. So the
// node is always asked to stop a guest in order, which closes the pipes, and
// killing is done here. Nor does the node signal more than the guest itself: what
// a guest has started, and not let go as a daemon does, ends behind it here.

// stopGuest stops one, whether or not its process still runs.
func (n *Node) stopGuest(ctx context.Context, by string, w ops.Worker, kill bool) (catalog.Dict, error) {
	process, ours := n.ours(ctx, w.PID)
	var family []host.Process
	if ours {
		family = n.family(ctx, process)
	}
	result := catalog.Dict{"id": w.ID, "type": w.Type}
	v, err := n.call(ctx, share(ctx, stopCall), "stop_worker", w.ID, kill && !n.seesProcesses(ctx))
	switch kind := cfcerr.KindOf(err); {
	case err == nil:
		d, _ := wamp.AsDict(v)
		result = catalog.Dict(wamp.NormalizeDict(d))
	case notThere(err): // ended in the same moment
	case kind == cfcerr.CannotStop, kind == cfcerr.NotRunning, kind == cfcerr.Timeout && ours: // its process is gone, or about to be
	default:
		return nil, err
	}
	if ours {
		if err := n.endProcess(ctx, process, !kill); err != nil {
			return nil, cfcerr.New(cfcerr.CannotStop, "cannot stop worker %s: %w", w.ID, err).With("worker_id", w.ID)
		}
	}
	if err := n.endFamily(ctx, family, kill); err != nil {
		return nil, cfcerr.New(cfcerr.CannotStop, "cannot stop all of worker %s: what it has started: %w", w.ID, err).With("worker_id", w.ID)
	}
	result["who"], result["kill"] = by, kill
	return result, n.untilGone(ctx, w.ID, w.Created)
}

// family is what a guest has started, as long as it can be told: when the guest
// is gone, its children are nobody's.
func (n *Node) family(ctx context.Context, guest host.Process) []host.Process {
	family, err := guest.Descendants(ctx)
	if err != nil {
		n.log.Warn("cannot look for what a guest has started", zap.Int("pid", guest.PID), zap.Error(err))
	}
	return family
}

// endFamily ends what a guest has left behind, which may have ended with it.
func (n *Node) endFamily(ctx context.Context, family []host.Process, kill bool) error {
	if !kill {
		for _, p := range family {
			if err := p.Signal(ctx, unix.SIGTERM); err != nil {
				return err
			}
		}
		wait, cancel := context.WithTimeout(ctx, share(ctx, familyWait))
		defer cancel()
		for slices.ContainsFunc(family, func(p host.Process) bool { return p.Alive(wait) }) && pause(wait, 20*time.Millisecond) {
		}
	}
	var failed []error
	for _, p := range family {
		failed = append(failed, p.Kill(ctx))
	}
	return errors.Join(failed...)
}

// familyWait is how long what a guest has started may take to end behind it.
const familyWait = 3 * time.Second

// seesProcesses reports whether the node's processes can be seen from here.
func (n *Node) seesProcesses(ctx context.Context) bool {
	n.mu.Lock()
	controller := n.process
	n.mu.Unlock()
	return controller.PID != 0 && controller.Alive(ctx)
}

// leftBehind reports whether a guest has ended, and is listed for a child of
// it alone. Then the node is made to drop it. One look is not enough: the node
// may be about to notice.
func (n *Node) leftBehind(ctx context.Context, w ops.Worker) bool {
	if w.Type != "guest" || !w.Ready || w.PID == 0 || !n.seesProcesses(ctx) {
		return false
	}
	_, err := host.Find(ctx, w.PID)
	gone := errors.Is(err, host.ErrNoProcess)
	n.mu.Lock()
	before := n.departed[w.ID] == w.PID
	if delete(n.departed, w.ID); gone {
		n.departed[w.ID] = w.PID
	}
	n.mu.Unlock()
	if !gone || !before {
		return false
	}
	_, err = n.stopGuest(ctx, "", w, false)
	return err == nil // else the next look tries again
}

// exitTail is how much of the end of the node's log is read.
const exitTail = 256 << 10

var exited = regexp.MustCompile(`(?m)^(\S+) .*\bGuest (\S+) exited with (success|error .*)$`)

var exitHow = regexp.MustCompile(`(?:exit code|signal) \d+`)

// Exit implements ops.Node: only the node's log says how a guest has ended.
func (n *Node) Exit(w ops.Worker) string {
	if w.Type != "guest" || n.cfg.LogFile == "" {
		return ""
	}
	f, err := os.Open(n.cfg.LogFile)
	if err != nil {
		return ""
	}
	defer f.Close()
	if end, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, end-exitTail), io.SeekStart)
	}
	text, err := io.ReadAll(io.LimitReader(f, exitTail))
	if err != nil {
		return ""
	}
	return exitOf(string(text), w)
}

// exitOf finds the last end of a guest that came after its start.
func exitOf(log string, w ops.Worker) (how string) {
	created, _ := time.Parse(time.RFC3339, w.Created)
	for _, m := range exited.FindAllStringSubmatch(log, -1) {
		at, err := time.Parse("2006-01-02T15:04:05-0700", m[1])
		if m[2] != w.ID || err != nil || at.Before(created.Truncate(time.Second)) {
			continue
		}
		if how = exitHow.FindString(m[3]); m[3] == "success" {
			how = "exit code 0"
		}
	}
	return strings.TrimSpace(how)
}
