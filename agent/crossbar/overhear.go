package crossbar

import (
	"context"
	"strings"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
)

// logWait is how long a line of a worker's log may come behind the answer that
// it explains: log and answers leave the worker by different ways.
const logWait = 500 * time.Millisecond

// remark is what a worker writes to its log while an operation goes on.
type remark struct {
	n            *Node
	worker, mark string
	said         chan string // the first line with the mark
}

// overhear listens for a line with the mark in it; until end or wait.
func (n *Node) overhear(worker, mark string) *remark {
	r := &remark{n: n, worker: worker, mark: mark, said: make(chan string, 1)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.remarks[r] = true
	return r
}

func (r *remark) end() {
	r.n.mu.Lock()
	defer r.n.mu.Unlock()
	delete(r.n.remarks, r)
}

// wait is the line, empty when it does not come.
func (r *remark) wait(ctx context.Context) string {
	defer r.end()
	late := time.NewTimer(logWait)
	defer late.Stop()
	select {
	case line := <-r.said:
		return line
	case <-late.C:
	case <-ctx.Done():
	}
	return ""
}

// soFar is the line if it has come.
func (r *remark) soFar() string {
	select {
	case line := <-r.said:
		return line
	default:
		return ""
	}
}

// heard gives a line of the log to who listens; with n.mu.
func (n *Node) heard(worker string, args wamp.List) {
	if len(n.remarks) == 0 || len(args) == 0 {
		return
	}
	line, _ := wamp.AsString(args[0])
	for r := range n.remarks {
		if r.worker == worker && strings.Contains(line, r.mark) {
			select {
			case r.said <- line:
			default: // one is enough
			}
		}
	}
}
