package engine

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
	"go.uber.org/zap"
)

// Event is something that has happened to a container or an image.
type Event struct {
	Object string // "container" or "image"
	Action string // the engine's word
	ID     string
	Time   time.Time
	// Attributes are the engine's: name, image, exitCode, signal and the labels.
	Attributes map[string]string
	// Missed says that the engine did not tell it: it was found after the
	// engine, or the way to it, had been away.
	Missed bool
}

// lookAgain is how soon an engine that is away is looked for again: often at
// first, then seldom.
const (
	lookAgainFirst = 250 * time.Millisecond
	lookAgainMost  = 5 * time.Second
)

// Watch tells what happens until ctx ends. While the engine is away nothing is
// told; when it is back, the rest is: what the engine still has, and also what
// it never told, by comparing containers and images. Nothing is told twice.
func (e *Engine) Watch(ctx context.Context, tell func(Event)) error {
	w := &watcher{engine: e, tell: tell, seen: map[string]int64{}, images: gallery{}}
	wait := lookAgainFirst
	for ctx.Err() == nil {
		began := time.Now()
		err := w.follow(ctx)
		if time.Since(began) > lookAgainMost {
			wait = lookAgainFirst
		}
		e.log.Debug("events of the engine ended", zap.Error(err))
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		wait = min(2*wait, lookAgainMost)
	}
	return nil
}

// state is a container as the events so far leave it.
type state struct {
	running bool
	about   map[string]string
}

type watcher struct {
	engine *Engine
	tell   func(Event)
	known  map[string]state // nil before the engine was first there
	images gallery
	begin  int64 // when that was, by the engine's clock; what was before is not told
	last   int64 // time of the last event
	// now is what the engine's clock said then, which may be less than an event
	// did before: it can have been set back.
	now  int64
	then time.Time
	// seen are the events of the last moments, which the engine may tell again
	// when it is asked from the last one on.
	seen map[string]int64
	// found are the events that comparing has told, by action and id, which the
	// engine may still tell late.
	found    map[string]bool
	compared int64 // when that was
}

// overlap is how far back the engine is asked, since events that happen at the
// same time may come in any order.
const overlap = int64(2 * time.Second)

// follow catches up with the engine and then listens until it is lost.
func (w *watcher) follow(ctx context.Context) error {
	api, err := w.engine.API(ctx)
	if err != nil {
		return err
	}
	now, err := w.clock(ctx, api)
	if err != nil {
		return err
	}
	w.now, w.then = now, time.Now()
	if w.known == nil {
		w.begin, w.last = now, now
		known, err := w.list(ctx, api)
		if err == nil {
			w.images, err = w.hang(ctx, api)
		}
		if err != nil {
			return err
		}
		w.known = known
	} else if err := w.catchUp(ctx, api, now); err != nil {
		return err
	}
	return w.listen(ctx, api, "")
}

// clock is the time by the engine's own clock, which events bear.
func (w *watcher) clock(ctx context.Context, api *client.Client) (int64, error) {
	ctx, cancel := patiently(ctx)
	defer cancel()
	info, err := api.Info(ctx)
	if err != nil {
		return 0, w.engine.Failed(ctx, "ask Docker for its time", err)
	}
	t, err := time.Parse(time.RFC3339Nano, info.SystemTime)
	return t.UnixNano(), err
}

func (w *watcher) catchUp(ctx context.Context, api *client.Client, now int64) error {
	if err := w.listen(ctx, api, moment(now)); err != nil {
		return err
	}
	there, err := w.list(ctx, api)
	if err != nil {
		return err
	}
	images, err := w.hang(ctx, api)
	if err == nil {
		w.compared, err = w.clock(ctx, api)
	}
	if err != nil {
		return err
	}
	w.found = map[string]bool{}
	missed := func(action, id string, s state) {
		w.found[action+" "+id] = true
		w.apply(Event{Object: "container", Action: action, ID: id, Time: time.Unix(0, now), Attributes: s.about, Missed: true})
	}
	for _, id := range slices.Sorted(maps.Keys(w.known)) {
		was := w.known[id]
		is, here := there[id]
		if was.running && !is.running {
			missed("die", id, was)
		}
		if !here {
			missed("destroy", id, was)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(there)) {
		was, here := w.known[id]
		if !here {
			missed("create", id, there[id])
		}
		if there[id].running && !was.running {
			missed("start", id, there[id])
		}
	}
	for _, c := range w.images.changes(images) {
		w.found[c.action+" "+c.id] = true
		w.tell(Event{Object: "image", Action: c.action, ID: c.id, Time: time.Unix(0, now), Attributes: map[string]string{"name": c.name}, Missed: true})
	}
	w.images = images
	return nil
}

// moment is a time as the engine reads it.
func moment(nanos int64) string {
	return strconv.FormatInt(nanos/1e9, 10) + "." + pad(nanos%1e9)
}

func pad(n int64) string {
	s := strconv.FormatInt(n, 10)
	return strings.Repeat("0", 9-len(s)) + s
}

// list are the containers that are there.
func (w *watcher) list(ctx context.Context, api *client.Client) (map[string]state, error) {
	ctx, cancel := patiently(ctx)
	defer cancel()
	list, err := api.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, w.engine.Failed(ctx, "list containers", err)
	}
	there := map[string]state{}
	for _, c := range list {
		about := maps.Clone(c.Labels)
		if about == nil {
			about = map[string]string{}
		}
		about["image"] = c.Image
		if len(c.Names) > 0 {
			about["name"] = strings.TrimPrefix(c.Names[0], "/")
		}
		there[c.ID] = state{running: alive[c.State], about: about}
	}
	return there, nil
}

var alive = map[string]bool{"running": true, "paused": true, "restarting": true}

// listen takes events from the last one on, to a moment or until the engine is
// lost. The client's goroutine ends before it does.
func (w *watcher) listen(ctx context.Context, api *client.Client, until string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, errs := api.Events(ctx, events.ListOptions{Since: moment(min(w.last, w.now) - overlap), Until: until,
		Filters: filters.NewArgs(filters.Arg("type", "container"), filters.Arg("type", "image"))})
	for look := (<-chan time.Time)(nil); ; {
		if w.images.unsure && look == nil && until == "" {
			look = time.After(lookAt)
		}
		select {
		case m := <-messages:
			w.take(m)
		case <-look:
			images, err := w.hang(ctx, api)
			if err != nil {
				return err
			}
			w.images, look = images, nil
		case err := <-errs:
			if until != "" && errors.Is(err, io.EOF) {
				return nil
			}
			return w.engine.Failed(ctx, "listen to Docker", err)
		}
	}
}

// take tells an event unless it was told.
func (w *watcher) take(m events.Message) {
	key := string(m.Type) + " " + string(m.Action) + " " + m.Actor.ID + " " + strconv.FormatInt(m.TimeNano, 10)
	clock := w.now + int64(time.Since(w.then))
	_, twice := w.seen[key]
	back := m.TimeNano < w.last-overlap              // the engine was asked for nothing that old: its clock was set back
	if twice || back && m.TimeNano > clock+overlap { // of before that, and told again
		return
	}
	if back {
		w.last, w.begin = m.TimeNano, min(w.begin, m.TimeNano-1)
	}
	if m.TimeNano <= w.begin {
		return
	}
	if w.last = max(w.last, m.TimeNano); back || m.TimeNano > clock {
		w.now, w.then = m.TimeNano, time.Now()
	}
	maps.DeleteFunc(w.seen, func(_ string, at int64) bool { return at < w.last-overlap })
	w.seen[key] = m.TimeNano
	action, other := string(m.Action), map[string]string{"start": "die", "die": "start"}
	if late := action + " " + m.Actor.ID; w.found[late] {
		delete(w.found, late)
		if m.Type != events.ImageEventType || m.TimeNano <= w.compared { // which happen again
			return
		}
	}
	delete(w.found, other[action]+" "+m.Actor.ID)
	w.apply(Event{Object: string(m.Type), Action: string(m.Action), ID: m.Actor.ID, Time: time.Unix(0, m.TimeNano), Attributes: m.Actor.Attributes})
}

// apply keeps what an event says of its container, and tells it.
func (w *watcher) apply(v Event) {
	if v.Object == "container" {
		s := w.known[v.ID]
		switch v.Action {
		case "create", "start":
			s.running, s.about = s.running || v.Action == "start", v.Attributes
			w.known[v.ID] = s
		case "die":
			s.running = false
			w.known[v.ID] = s
		case "destroy":
			delete(w.known, v.ID)
		}
	}
	if v.Object == "image" {
		w.images.take(v)
	}
	w.tell(v)
}
