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
	logEventBytes = 32 << 10
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
	bytes int
	lost  uint64
}

func newLogs() logs {
	return logs{kept: map[string]*observe.Ring[string]{}, told: map[string]*untold{}, more: make(chan struct{}, 1),
		pace: rate.NewLimiter(logEventsRate, logEventBurst)}
}

// note takes in what a worker has written; it must not block.
func (l *logs) note(worker, text string) {
	ring := l.of(worker)
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
		size := len(line) + logOverhead
		if len(u.lines) >= logEventLines || u.bytes+size > logEventBytes {
			u.lost++
			continue
		}
		u.lines, u.bytes = append(u.lines, logged(int64(seq), time.Now(), line)), u.bytes+size
	}
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// of is the log of a worker, the last to go now.
func (l *logs) of(worker string) *observe.Ring[string] {
	ring := l.kept[worker]
	if ring == nil {
		ring = observe.NewRing(observe.Bounds{Records: logLines, Bytes: logBytes}, func(line string) int { return len(line) + logOverhead })
		l.kept[worker] = ring
	}
	l.order = append(slices.DeleteFunc(l.order, func(id string) bool { return id == worker }), worker)
	if len(l.order) > logsKept {
		l.kept[l.order[0]].Close() // who waits for more of it need not
		delete(l.kept, l.order[0])
		delete(l.told, l.order[0])
		l.order = l.order[1:]
	}
	return ring
}

func logged(seq int64, at time.Time, text string) catalog.LogLine {
	return catalog.LogLine{Seq: seq, Time: wire.Time(at), Level: levelOf(text), Text: text}
}

// take gives the lines of one worker that may be told now.
func (l *logs) take(worker string) (lines []catalog.LogLine, lost uint64) {
	u := l.told[worker]
	if u == nil || len(u.lines) == 0 {
		return nil, 0
	}
	if !l.pace.Allow() {
		u.lost += uint64(len(u.lines))
		u.lines, u.bytes = nil, 0
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
		if _, err := n.Worker(ctx, worker); err != nil {
			return nil, err
		}
		n.mu.Lock()
		ring = n.logs.of(worker) // it may have something to wait for
		n.mu.Unlock()
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
		list[i] = logged(int64(e.Seq), e.Time, e.Value)
	}
	return list
}
