// Package driver puts WAMP client libraries that are not this product's behind
// one interface, so that a test of the contract runs over each of them and each
// serializer: the nexus client in this process, and Autobahn|Python and
// autobahn-js in processes of their own, which read commands from their standard
// input (autobahn/client.py says which).
//
// They are clients of the relay, and of the realms that a test has started on a
// node: over every transport, with every way to log in that they know.
//
// Values are those of JSON whatever the serializer was: numbers are float64.
package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"fabric.center/cfc/shared/e2e/fleet"
)

// Serializers that every client is driven over.
var Serializers = []string{"cbor", "msgpack", "json"}

// Login says whom to join, and as whom: with a key, a ticket or a secret, or
// anonymously without any of them.
type Login struct {
	// URL is of /ws of a relay, or of a transport on a node: ws://, wss://, for
	// rawsocket rs://, rss://; ws+unix://SOCKET:PATH and rs+unix://SOCKET.
	URL        string
	Realm      string
	KeyFile    string // 64 hex digits
	TicketFile string // with AuthID
	SecretFile string // of WAMP-CRA, with AuthID
	AuthID     string
	CA         string // file of the CA of TLS
	Serializer string
}

// Libraries are where the clients are that are not in this process.
type Libraries struct {
	Python  string // an interpreter that has Autobahn
	Node    string // Node.js
	Modules string // directory that has autobahn
	Scripts string // directory of client.py and client.js
}

// Find takes Autobahn|Python from beside the node, and autobahn-js from
// CFC_AUTOBAHN_JS or where `make js` sets it up.
func Find() (Libraries, error) {
	node, err := fleet.FindNode()
	if err != nil {
		return Libraries{}, err
	}
	root, err := fleet.Root()
	if err != nil {
		return Libraries{}, err
	}
	l := Libraries{Python: node.Python, Modules: os.Getenv("CFC_AUTOBAHN_JS"), Scripts: filepath.Join(root, "shared", "e2e", "autobahn")}
	if l.Modules == "" {
		l.Modules = filepath.Join(root, ".cache", "js", "node_modules")
	}
	if _, err := os.Stat(filepath.Join(l.Modules, "autobahn")); err != nil {
		return l, fmt.Errorf("cannot find autobahn-js: %w; run: make js, or name its directory in CFC_AUTOBAHN_JS", err)
	}
	if l.Node, err = exec.LookPath("node"); err != nil {
		return l, fmt.Errorf("cannot find Node.js: %w; run: make js", err)
	}
	return l, nil
}

// Names are all clients, each library over each serializer.
func Names() []string {
	var names []string
	for _, s := range Serializers {
		names = append(names, "nexus/"+s, "autobahn/"+s, "autobahn-js/"+s)
	}
	return names
}

// Join joins with one of Names. A refused log-in is a *Left.
func (l Libraries) Join(ctx context.Context, name string, login Login) (Client, error) {
	library, serializer, _ := strings.Cut(name, "/")
	login.Serializer = serializer
	switch library {
	case "nexus":
		return Nexus(ctx, login)
	case "autobahn":
		return l.python(ctx, login)
	case "autobahn-js":
		return l.js(ctx, login)
	}
	return nil, fmt.Errorf("there is no client %q", name)
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
	// Register registers a procedure that gives back its arguments.
	Register(ctx context.Context, uri string) error
	// Publish publishes, acknowledged.
	Publish(ctx context.Context, topic string, args []any, kwargs map[string]any) error
	// Left waits for the end of the session that the far side, or Close, makes.
	Left(ctx context.Context) (Left, error)
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
