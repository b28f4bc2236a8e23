package crossbar

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"fabric.center/cfc/agent/observe"
	"fabric.center/cfc/agent/ops"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/wire"
	"golang.org/x/time/rate"
)

// What is kept of workers' logs, also of workers that are gone: by then it is
// all that tells why.
const (
	logLines    = 1000
	logBytes    = 128 << 10
	logLine     = 4 << 10 // longer lines are cut
	logsKept    = 128     // workers
	logOverhead = 64      // what a line takes beside its text
)

// How much of them is told: events of at most so many lines, so many a second.
// A worker that writes more fills its log, but not the way to the relay.
const (
	logEventLines = 100
	logEventsRate = 20
	logEventBurst = 100
	logSettle     = 100 * time.Millisecond
)

// logs are what workers write.
type logs struct {
	kept  map[string]*observe.Ring[string]
	order []string // ids in kept, the one that was silent longest first
	told  map[string]*untold
	more  chan struct{}
	pace  *rate.Limiter
}

// untold are lines of a worker of which no event has told yet, and how many
// more there were.
type untold struct {
	lines []catalog.LogLine
	lost  uint64
}

func newLogs() logs {
	return logs{kept: map[string]*observe.Ring[string]{}, told: map[string]*untold{}, more: make(chan struct{}, 1),
		pace: rate.NewLimiter(logEventsRate, logEventBurst)}
}

// note takes in what a worker has written; it must not block.
func (l *logs) note(worker, text string) {
	ring := l.kept[worker]
	if ring == nil {
		ring = observe.NewRing(observe.Bounds{Records: logLines, Bytes: logBytes}, func(line string) int { return len(line) + logOverhead })
		l.kept[worker] = ring
	}
	l.order = append(slices.DeleteFunc(l.order, func(id string) bool { return id == worker }), worker)
	if len(l.order) > logsKept {
		delete(l.kept, l.order[0])
		delete(l.told, l.order[0])
		l.order = l.order[1:]
	}
	u := l.told[worker]
	if u == nil {
		u = &untold{}
		l.told[worker] = u
	}
	for line := range strings.Lines(text) {
		if line = plainLine(line, logLine); line == "" {
			continue
		}
		seq := ring.Add(line)
		if len(u.lines) < logEventLines {
			u.lines = append(u.lines, catalog.LogLine{Seq: int64(seq), Time: wire.Time(time.Now()), Text: line})
		} else {
			u.lost++
		}
	}
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// take gives the lines of one worker that may be told now.
func (l *logs) take(worker string) (lines []catalog.LogLine, lost uint64) {
	u := l.told[worker]
	if u == nil || len(u.lines) == 0 {
		return nil, 0
	}
	if !l.pace.Allow() {
		u.lost += uint64(len(u.lines))
		u.lines = nil
		return nil, 0
	}
	delete(l.told, worker)
	return u.lines, u.lost
}

// tellLogs passes on what workers write, until ctx ends.
func (n *Node) tellLogs(ctx context.Context, changes ops.Changes) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.logs.more:
		}
		if !pause(ctx, logSettle) { // lines come in numbers
			return
		}
		n.mu.Lock()
		workers := slices.Sorted(maps.Keys(n.logs.told))
		n.mu.Unlock()
		for _, id := range workers {
			n.mu.Lock()
			lines, lost := n.logs.take(id)
			n.mu.Unlock()
			if len(lines) > 0 {
				changes.Logged(id, lines, lost)
			}
		}
	}
}

// Log implements ops.Node.
func (n *Node) Log(ctx context.Context, worker string, from *int64, most int, wait time.Duration) ([]catalog.LogLine, error) {
	n.mu.Lock()
	ring := n.logs.kept[worker]
	n.mu.Unlock()
	if ring == nil {
		_, err := n.Worker(ctx, worker)
		return []catalog.LogLine{}, err
	}
	limit := observe.Bounds{Records: most, Bytes: 2 * logBytes}
	if from == nil {
		return lines(ring.Last(limit)), nil
	}
	p, err := ring.Await(ctx, uint64(*from), limit, wait)
	return lines(p), err
}

func lines(p observe.Page[string]) []catalog.LogLine {
	list := make([]catalog.LogLine, len(p.Entries))
	for i, e := range p.Entries {
		list[i] = catalog.LogLine{Seq: int64(e.Seq), Time: wire.Time(e.Time), Text: e.Value}
	}
	return list
}
