// Package driver puts WAMP client libraries that are not this product's behind
// one interface, so that a test of the contract runs over each of them and each
// serializer: the nexus client in this process, and Autobahn|Python in a process
// of its own, which reads commands from its standard input (autobahn/client.py).
//
// Values are those of JSON whatever the serializer was: numbers are float64.
package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// Serializers that every client is driven over.
var Serializers = []string{"cbor", "msgpack", "json"}

// Login says whom to join, and as whom.
type Login struct {
	URL        string // of /ws
	Realm      string
	KeyFile    string // 64 hex digits
	TicketFile string // in place of a key, with AuthID
	AuthID     string
	Serializer string
}

// Error is an ERROR of a call or subscription.
type Error struct {
	URI    string         `json:"uri"`
	Args   []any          `json:"args"`
	Kwargs map[string]any `json:"kwargs"`
}

// Error is URI and text.
func (e *Error) Error() string {
	if len(e.Args) > 0 {
		return fmt.Sprintf("%s: %v", e.URI, e.Args[0])
	}
	return e.URI
}

// Left is the end of a session, or the refusal of a log-in.
type Left struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Error is reason and text.
func (l *Left) Error() string { return "left: " + l.Reason + ": " + l.Message }

// Identity is what WELCOME said.
type Identity struct {
	Realm    string `json:"realm"`
	AuthID   string `json:"authid"`
	AuthRole string `json:"authrole"`
}

// Event is an event that came to a subscription.
type Event struct {
	Topic  string         `json:"topic"`
	Args   []any          `json:"args"`
	Kwargs map[string]any `json:"kwargs"`
}

// Details are an event's last argument.
func (e Event) Details() map[string]any {
	if len(e.Args) == 0 {
		return nil
	}
	d, _ := e.Args[len(e.Args)-1].(map[string]any)
	return d
}

// Name is the last part of the topic.
func (e Event) Name() string { return e.Topic[strings.LastIndex(e.Topic, ".")+1:] }

// Client is a joined session of some library.
type Client interface {
	Identity() Identity
	// Call calls; an ERROR of the far side is an *Error.
	Call(ctx context.Context, uri string, args []any, kwargs map[string]any) (any, error)
	Subscribe(ctx context.Context, topic, match string) error
	// Events is all that has come, in order.
	Events() *Events
	Close() error
}

// Events collects events.
type Events struct {
	mu   sync.Mutex
	all  []Event
	more chan struct{} // closed and replaced at each event
}

func newEvents() *Events { return &Events{more: make(chan struct{})} }

func (e *Events) add(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
	close(e.more)
	e.more = make(chan struct{})
}

// All is what has come so far.
func (e *Events) All() []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]Event(nil), e.all...)
}

// Wait is the first event, come or to come, that fits.
func (e *Events) Wait(ctx context.Context, fits func(Event) bool) (Event, error) {
	seen := 0
	for {
		e.mu.Lock()
		all, more := e.all, e.more
		e.mu.Unlock()
		for ; seen < len(all); seen++ {
			if fits(all[seen]) {
				return all[seen], nil
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return Event{}, fmt.Errorf("no such event among the %d that came: %w", len(all), context.Cause(ctx))
		}
	}
}

// plain turns any value into those of JSON.
func plain[T any](v any) (out T, err error) {
	b, err := json.Marshal(v)
	if err != nil {
		return out, fmt.Errorf("cannot show %T as JSON: %w", v, err)
	}
	return out, json.Unmarshal(b, &out)
}
