package driver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"fabric.center/cfc/shared/identity"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/transport/serialize"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/gammazero/nexus/v3/wamp/crsign"
)

// nexusClient is github.com/gammazero/nexus' own client and transport.
type nexusClient struct {
	c      *client.Client
	who    Identity
	events *Events
}

// Nexus joins with the nexus client.
func Nexus(ctx context.Context, l Login) (Client, error) {
	c, err := DialNexus(ctx, l)
	if err != nil {
		return nil, err
	}
	n := &nexusClient{c: c, events: newEvents()}
	n.who.Realm, _ = wamp.AsString(c.RealmDetails()["realm"])
	n.who.AuthID, _ = wamp.AsString(c.RealmDetails()["authid"])
	n.who.AuthRole, _ = wamp.AsString(c.RealmDetails()["authrole"])
	return n, nil
}

// DialNexus is Nexus for who needs the library itself.
func DialNexus(ctx context.Context, l Login) (*client.Client, error) {
	conf := client.Config{Realm: l.Realm, HelloDetails: wamp.Dict{}}
	switch l.Serializer {
	case "cbor":
		conf.Serialization = serialize.CBOR
	case "msgpack":
		conf.Serialization = serialize.MSGPACK
	case "json":
		conf.Serialization = serialize.JSON
	default:
		return nil, fmt.Errorf("unknown serializer %q", l.Serializer)
	}
	if l.AuthID != "" {
		conf.HelloDetails["authid"] = l.AuthID
	}
	answer, err := l.answer(conf.HelloDetails)
	if err != nil {
		return nil, err
	}
	conf.AuthHandlers = answer
	if l.CA != "" && (strings.HasPrefix(l.URL, "wss:") || strings.HasPrefix(l.URL, "rss:")) {
		pem, err := os.ReadFile(l.CA)
		if err != nil {
			return nil, err
		}
		conf.TlsCfg = &tls.Config{RootCAs: x509.NewCertPool()}
		conf.TlsCfg.RootCAs.AppendCertsFromPEM(pem)
	}
	return client.ConnectNet(ctx, nexusURL.Replace(l.URL), conf)
}

// nexusURL is this library's way to name a transport; WebSocket over a Unix
// socket it does not know.
var nexusURL = strings.NewReplacer("rs+unix://", "unix://", "rss://", "tcps://", "rs://", "tcp://")

// answer is how the log-in's challenge is answered; what HELLO has to say of it
// goes into details.
func (l Login) answer(details wamp.Dict) (map[string]client.AuthFunc, error) {
	switch {
	case l.TicketFile != "":
		ticket, err := os.ReadFile(l.TicketFile)
		return map[string]client.AuthFunc{"ticket": func(*wamp.Challenge) (string, wamp.Dict) {
			return strings.TrimSpace(string(ticket)), wamp.Dict{}
		}}, err
	case l.SecretFile != "":
		secret, err := os.ReadFile(l.SecretFile)
		return map[string]client.AuthFunc{"wampcra": func(c *wamp.Challenge) (string, wamp.Dict) {
			return crsign.RespondChallenge(strings.TrimSpace(string(secret)), c, nil), wamp.Dict{}
		}}, err
	case l.KeyFile != "":
		key, err := identity.Load(l.KeyFile)
		details["authextra"] = wamp.Dict{"pubkey": key.Public()}
		return map[string]client.AuthFunc{"cryptosign": func(c *wamp.Challenge) (string, wamp.Dict) {
			challenge, _ := wamp.AsString(c.Extra["challenge"])
			signature, err := key.Sign(challenge, nil)
			if err != nil {
				return "", wamp.Dict{}
			}
			return signature, wamp.Dict{}
		}}, err
	}
	return nil, nil // anonymous
}

func (n *nexusClient) Identity() Identity { return n.who }
func (n *nexusClient) Events() *Events    { return n.events }
func (n *nexusClient) Close() error       { return n.c.Close() }

func (n *nexusClient) Call(ctx context.Context, uri string, args []any, kwargs map[string]any) (any, error) {
	r, err := n.c.Call(ctx, uri, nil, args, kwargs, nil)
	var rpc client.RPCError
	switch {
	case errors.As(err, &rpc):
		e := &Error{URI: string(rpc.Err.Error)}
		if e.Args, err = plain[[]any](rpc.Err.Arguments); err != nil {
			return nil, err
		}
		if e.Kwargs, err = plain[map[string]any](rpc.Err.ArgumentsKw); err != nil {
			return nil, err
		}
		return nil, e
	case err != nil:
		return nil, err
	case len(r.Arguments) == 0:
		return nil, nil
	}
	return plain[any](r.Arguments[0])
}

func (n *nexusClient) Subscribe(_ context.Context, topic, match string) error {
	options := wamp.Dict{}
	if match != "" {
		options[wamp.OptMatch] = match
	}
	err := n.c.Subscribe(topic, func(ev *wamp.Event) {
		e := Event{Topic: topic}
		if t, ok := wamp.AsString(ev.Details["topic"]); ok && t != "" {
			e.Topic = t
		}
		// What JSON cannot show never stands in an event of this product.
		e.Args, _ = plain[[]any](ev.Arguments)
		e.Kwargs, _ = plain[map[string]any](ev.ArgumentsKw)
		n.events.add(e)
	}, options)
	if err != nil {
		// This library gives the URI of a refusal as text alone.
		return &Error{URI: err.Error()}
	}
	return nil
}

func (n *nexusClient) Register(_ context.Context, uri string) error {
	err := n.c.Register(uri, func(_ context.Context, inv *wamp.Invocation) client.InvokeResult {
		return client.InvokeResult{Args: inv.Arguments, Kwargs: inv.ArgumentsKw}
	}, nil)
	if err != nil {
		return &Error{URI: err.Error()}
	}
	return nil
}

func (n *nexusClient) Publish(_ context.Context, topic string, args []any, kwargs map[string]any) error {
	if err := n.c.Publish(topic, wamp.Dict{wamp.OptAcknowledge: true}, args, kwargs); err != nil {
		return &Error{URI: err.Error()}
	}
	return nil
}

// Left cannot say more than that the session is over: this library keeps the
// reason to itself.
func (n *nexusClient) Left(ctx context.Context) (Left, error) {
	select {
	case <-n.c.Done():
		return Left{}, nil
	case <-ctx.Done():
		return Left{}, fmt.Errorf("the session goes on: %w", context.Cause(ctx))
	}
}
