// Package proof is what a run against a real node has shown: which operations
// answered good arguments and refused bad ones, how, and which events came.
//
// A Record is filled by the clients of the run alone, never by hand, holds
// nothing that depends on time, and stands in the tree as JSON. From it and the
// catalogue follows docs/SUPPORT.md.
package proof

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/durable"
)

// Record is what was shown, by the keys of the rows ("area.name").
type Record struct {
	Node       string            `json:"node"` // its version
	Operations map[string]*Shown `json:"operations"`
	Events     []string          `json:"events"`
}

// Shown is what one operation did.
type Shown struct {
	Good bool     `json:"good"`          // it gave a result
	Bad  []string `json:"bad,omitempty"` // the errors with which it refused, of those that its row declares
}

// Load reads a record.
func Load(path string) (r Record, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("cannot read what a run has shown: %w", err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("cannot read what a run has shown: %s: %w", path, err)
	}
	return r, nil
}

// Save writes a record.
func (r Record) Save(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write what a run has shown: %w", err)
	}
	return durable.WriteFile(path, append(b, '\n'), 0o644)
}

// Covers are the rows that a stock node has a part in; the others are the
// relay's or the host's, whichever node there is.
func Covers(o *catalog.Op) bool { return o.Realm == catalog.Remote && !o.Host }

// CoversEvent is Covers of events.
func CoversEvent(e *catalog.Event) bool {
	return e.By == catalog.ByAgent && e.Area != "" && slices.ContainsFunc(catalog.All(), func(o *catalog.Op) bool { return o.Area == e.Area && Covers(o) })
}

// Due are the errors with which a row has to refuse bad arguments, of those
// that it declares. A start may fail for what its object stands in; then it is
// that which is not there.
func Due(o *catalog.Op) []cfcerr.Kind {
	due := []cfcerr.Kind{cfcerr.InvalidArgument}
	if slices.Contains(o.Errors, cfcerr.NoSuchWorker) {
		due = append(due, cfcerr.NoSuchWorker)
	}
	if slices.Contains(o.Errors, cfcerr.NoSuchObject) && !strings.HasPrefix(o.Name, "start_") {
		due = append(due, cfcerr.NoSuchObject)
	}
	return due
}

// Missing names what the record has no proof of: each operation has to answer
// good arguments, and to refuse bad ones, with an error that names the worker or
// object where the row says so.
func (r Record) Missing() []string {
	var missing []string
	for _, o := range catalog.All() {
		if !Covers(o) || o.Impossible != "" {
			continue
		}
		s := r.Operations[o.Key()]
		if s == nil {
			s = &Shown{}
		}
		if !s.Good && o.Unshown == "" {
			missing = append(missing, o.Key()+" with good arguments")
		}
		for _, k := range Due(o) {
			if !slices.Contains(s.Bad, k.URI()) {
				missing = append(missing, o.Key()+" refused with "+k.URI())
			}
		}
	}
	for _, e := range catalog.Events() {
		if CoversEvent(e) && e.Impossible == "" && !slices.Contains(r.Events, e.Key()) {
			missing = append(missing, "event "+e.Key())
		}
	}
	return missing
}

// Less names what other has shown and r has not.
func (r Record) Less(other Record) []string {
	var less []string
	for key, o := range other.Operations {
		s := r.Operations[key]
		if s == nil {
			s = &Shown{}
		}
		if o.Good && !s.Good {
			less = append(less, key+" with good arguments")
		}
		for _, uri := range o.Bad {
			if !slices.Contains(s.Bad, uri) {
				less = append(less, key+" refused with "+uri)
			}
		}
	}
	for _, e := range other.Events {
		if !slices.Contains(r.Events, e) {
			less = append(less, "event "+e)
		}
	}
	if r.Node != other.Node {
		less = append(less, fmt.Sprintf("Crossbar.io %s, not %s", other.Node, r.Node))
	}
	slices.Sort(less)
	return less
}

// Recorder makes a record of what clients see.
type Recorder struct {
	index catalog.Index

	mu     sync.Mutex
	record Record
}

// NewRecorder makes an empty one.
func NewRecorder() *Recorder {
	return &Recorder{index: catalog.NewIndex(), record: Record{Operations: map[string]*Shown{}}}
}

// SetNode notes the version of the node.
func (r *Recorder) SetNode(version string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record.Node = version
}

// Call notes the outcome of a call: refused is the URI of the error, empty for
// a result. What is no operation of a node, or an error that says nothing of the
// arguments, is left out.
func (r *Recorder) Call(uri, refused string) {
	o, ok := r.index.Management(uri)
	if !ok || !Covers(o) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.record.Operations[o.Key()]
	if s == nil {
		s = &Shown{}
		r.record.Operations[o.Key()] = s
	}
	declared := func(k cfcerr.Kind) bool { return k.URI() == refused }
	switch {
	case refused == "":
		s.Good = true
	case (declared(cfcerr.InvalidArgument) || slices.ContainsFunc(o.Errors, declared)) && !slices.Contains(s.Bad, refused):
		s.Bad = append(s.Bad, refused)
		slices.Sort(s.Bad)
	}
}

// Event notes that an event came.
func (r *Recorder) Event(topic string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range catalog.Events() {
		if (topic == e.URI() || slices.Contains(e.AliasURIs(), topic)) && CoversEvent(e) && !slices.Contains(r.record.Events, e.Key()) {
			r.record.Events = append(r.record.Events, e.Key())
			slices.SortFunc(r.record.Events, strings.Compare)
		}
	}
}

// Record is what was seen so far.
func (r *Recorder) Record() Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.record
}

// With is r and what other adds to it.
func (r Record) With(other Record) Record {
	for key, o := range other.Operations {
		s := r.Operations[key]
		if s == nil {
			r.Operations[key] = o
			continue
		}
		s.Good = s.Good || o.Good
		s.Bad = union(s.Bad, o.Bad)
	}
	r.Events, r.Node = union(r.Events, other.Events), other.Node
	return r
}

func union(a, b []string) []string {
	all := slices.Sorted(slices.Values(slices.Concat(a, b)))
	return slices.Compact(all)
}
