package catalog

import (
	"fmt"
	"slices"
	"strings"

	"fabric.center/cfc/shared/wire"
)

// Publisher is the side that publishes an event.
type Publisher uint8

// The publishers.
const (
	ByRelay Publisher = iota + 1
	ByAgent
)

// Event is one row of the events. Its arguments are ids and, last, details: a
// dict that always has time, and for an agent's events boot (the id of the
// agent's run), seq (one up for each event of that run) and tseq (one up for
// each event of that topic), so that losses and doubles show.
type Event struct {
	Area    string // empty for the events of a management realm itself
	Name    string
	Keys    []string // further names in other areas, "area.name", below Crossbar.io's prefix alone
	Args    []string
	By      Publisher
	Access  Access   // the smallest role that may subscribe
	Secrets []string // paths in the arguments, by their names, that no event carries
	Passing bool     // of the moment, and many: never kept at the cost of what tells a change
	Doc     string
	// Repair and Impossible are as in Op.
	Repair, Impossible string
}

var (
	events     []*Event
	nodeArgs   = []string{"node_id", "details"}
	workerArgs = []string{"node_id", "worker_id", "details"}
)

// Life are the events of the life of one kind of object in a worker.
type Life struct{ Starting, Started, Stopping, Stopped *Event }

// life declares them: on_<object>_starting and so on, with the worker and
// these ids before the details. Noun is the object in words.
func life(area, object, noun string, ids ...string) Life {
	args := slices.Concat([]string{"node_id", "worker_id"}, ids, []string{"details"})
	at := func(when, doc string) *Event {
		return event(Event{Area: area, Name: "on_" + object + "_" + when, Args: args, By: ByAgent, Access: Read, Doc: noun + " " + doc,
			Repair: "The node tells neither what its management caused nor that a worker died; the agent does."})
	}
	return Life{at("starting", "is about to be started."), at("started", "has completely started."),
		at("stopping", "is about to be stopped."), at("stopped", "is stopped, or its start failed; details hold the reason.")}
}

// starts and stops are what a successful start or stop causes.
func (l Life) starts() []string { return []string{l.Starting.Name, l.Started.Name} }
func (l Life) stops() []string  { return []string{l.Stopping.Name, l.Stopped.Name} }

func event(e Event) *Event {
	switch {
	case e.Name == "", e.By == 0, e.Access == 0, e.Doc == "":
		panic(fmt.Sprintf("catalog: event %s: name, publisher, access and doc are required", e.URI()))
	case len(e.Args) < 2 || e.Args[0] != "node_id" || e.Args[len(e.Args)-1] != "details":
		panic(fmt.Sprintf("catalog: event %s: arguments begin with node_id and end with details", e.URI()))
	case slices.ContainsFunc(events, func(f *Event) bool { return f.URI() == e.URI() }):
		panic(fmt.Sprintf("catalog: event %s is declared twice", e.URI()))
	}
	events = append(events, &e)
	return &e
}

// Key is "area.event".
func (e *Event) Key() string { return e.Area + "." + e.Name }

// URI is the event's topic.
func (e *Event) URI() string {
	if e.Area == "" {
		return wire.Prefix + e.Name
	}
	return wire.RemotePrefix + e.Area + "." + e.Name
}

// AliasURIs are the topics under Crossbar.io's prefix.
func (e *Event) AliasURIs() []string {
	if e.Area == "" {
		return []string{wire.AliasRealm + e.Name}
	}
	uris := []string{wire.AliasRemote + e.Area + "." + e.Name}
	for _, key := range e.Keys {
		uris = append(uris, wire.AliasRemote+key)
	}
	return uris
}

// Events are the rows, by topic.
func Events() []*Event {
	return slices.SortedFunc(slices.Values(events), func(a, b *Event) int { return strings.Compare(a.URI(), b.URI()) })
}
