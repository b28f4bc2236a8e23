// Package engine is the Docker Engine of this host, and the one place that
// speaks with it: over its socket, or over TCP with TLS, in the newest version
// of its API that both sides know.
//
// An engine that is missing, stopped or slow is no reason for the agent to end:
// each call says Unavailable with the reason, and the first one after the engine
// is back works again. Nothing is taken from the environment: where the engine is
// stands in the agent's configuration alone, and no proxy comes between.
package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"fabric.center/cfc/agent/policy"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/durable"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"go.uber.org/zap"
)

// Patience is how long an engine may take for what it answers at once when it
// is well: lists, details, starts of containers.
const Patience = 15 * time.Second

// Config is where the engine is.
type Config struct {
	// Socket is the path of its socket; Host its address in place of that,
	// "tcp://host:port".
	Socket, Host string
	// CA, Cert and Key are files for TLS with Host: whom to trust, and who
	// the agent is. All empty means no TLS.
	CA, Cert, Key string
	// Rules are what the host lets containers be, as they are now.
	Rules func() policy.Docker
	// Credentials is the path of a file with what registries ask for.
	Credentials string
	// Node and Realm are what containers are labelled with.
	Node, Realm func() string
	Log         *zap.Logger
}

// Engine is a way to the Docker Engine.
type Engine struct {
	cfg Config
	log *zap.Logger

	mu  sync.Mutex
	api *client.Client // nil until the engine has answered, and after it was lost
}

// New makes an Engine. It asks nothing of the engine yet, which need not be
// there.
func New(cfg Config) *Engine {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Rules == nil { // nothing is allowed beyond the usual
		cfg.Rules = func() policy.Docker { return policy.Docker{} }
	}
	return &Engine{cfg: cfg, log: cfg.Log}
}

// Address is where the engine is looked for.
func (e *Engine) Address() string {
	if e.cfg.Host != "" {
		return e.cfg.Host
	}
	return "unix://" + e.cfg.Socket
}

// API is a client that the engine has agreed a version with. Its errors are to
// be read by Failed.
func (e *Engine) API(ctx context.Context) (*client.Client, error) {
	e.mu.Lock()
	api := e.api
	e.mu.Unlock()
	if api != nil {
		return api, nil
	}
	api, err := e.dial()
	if err != nil {
		return nil, cfcerr.New(cfcerr.Unavailable, "cannot reach Docker: %w", err).With("part", "docker").With("reason", err.Error())
	}
	ctx, cancel := patiently(ctx)
	defer cancel()
	ping, err := api.Ping(ctx)
	if err != nil {
		_ = api.Close()                             // idle connections alone
		if ctx.Err() == nil && !disconnected(err) { // somebody answers, but not as an engine does
			return nil, unavailable("reach Docker", plain(err))
		}
		return nil, e.Failed(ctx, "reach Docker", err)
	}
	api.NegotiateAPIVersionPing(ping)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.api == nil {
		e.api = api
		e.log.Info("engine reached", zap.String("address", e.Address()), zap.String("api", api.ClientVersion()))
	}
	return e.api, nil
}

// Close ends the connections that wait for the next call.
func (e *Engine) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.api != nil {
		_ = e.api.Close()
		e.api = nil
	}
}

// lost forgets a client: the engine that comes back may be another version.
func (e *Engine) lost() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.api == nil {
		return
	}
	_ = e.api.Close() // idle connections alone
	e.api = nil
	e.log.Info("engine lost", zap.String("address", e.Address()))
}

func (e *Engine) dial() (*client.Client, error) {
	if e.cfg.Host == "" && e.cfg.Socket == "" {
		return nil, errors.New("none is configured: set docker.socket")
	}
	transport := &http.Transport{MaxIdleConns: 16, MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second}
	if e.cfg.Host != "" {
		config, err := e.tls()
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = config
	}
	api, err := client.NewClientWithOpts(
		client.WithHTTPClient(&http.Client{Transport: transport, CheckRedirect: client.CheckRedirect}),
		client.WithHost(e.Address()), client.WithAPIVersionNegotiation())
	transport.Proxy = nil // which WithHost takes from the environment
	return api, err
}

func (e *Engine) secure() bool { return e.cfg.CA != "" || e.cfg.Cert != "" }

// tls reads the files anew for each engine that is dialed, so that renewed ones
// are used.
func (e *Engine) tls() (*tls.Config, error) {
	if !e.secure() {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.cfg.CA != "" {
		pem, err := durable.ReadFile(e.cfg.CA)
		if err != nil {
			return nil, err
		}
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in %s", e.cfg.CA)
		}
	}
	if e.cfg.Cert != "" {
		pair, err := tls.LoadX509KeyPair(e.cfg.Cert, e.cfg.Key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

var errSlow = fmt.Errorf("it did not answer within %s", Patience)

// patiently bounds what the engine answers at once when it is well.
func patiently(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, Patience, errSlow)
}

// ask does one thing with the engine that takes no longer than Patience. The
// text completes "cannot …".
func ask[T any](ctx context.Context, e *Engine, doing string, f func(context.Context, *client.Client) (T, error)) (T, error) {
	ctx, cancel := patiently(ctx)
	defer cancel()
	return with(ctx, e, doing, f)
}

// use is ask for what may take as long as the caller lets it, and the engine
// lives.
func use[T any](ctx context.Context, e *Engine, doing string, f func(context.Context, *client.Client) (T, error)) (T, error) {
	return with(ctx, e, doing, func(ctx context.Context, api *client.Client) (T, error) {
		ctx, stop := whileItLives(ctx, api)
		defer stop()
		v, err := f(ctx, api)
		if errors.Is(context.Cause(ctx), errSlow) {
			err = errors.Join(errSlow, err)
		}
		return v, err
	})
}

func with[T any](ctx context.Context, e *Engine, doing string, f func(context.Context, *client.Client) (T, error)) (T, error) {
	var none T
	api, err := e.API(ctx)
	if err != nil {
		return none, err
	}
	v, err := f(ctx, api)
	if err != nil {
		return none, e.Failed(ctx, doing, err)
	}
	return v, nil
}

// askAgain is how often an engine that takes long is asked whether it lives.
const askAgain = 5 * time.Second

// whileItLives ends ctx with errSlow when the engine gives no sign of life for
// longer than Patience. What it returns ends the asking.
func whileItLives(ctx context.Context, api *client.Client) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var asking sync.WaitGroup
	asking.Go(func() {
		tick := time.NewTicker(askAgain)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			within, end := patiently(ctx)
			_, err := api.Ping(within)
			slow := err != nil && errors.Is(context.Cause(within), errSlow)
			end()
			if slow {
				cancel(errSlow)
			}
		}
	})
	return ctx, func() { cancel(nil); asking.Wait() }
}

// errStrange is an answer that no engine gives.
var errStrange = errors.New("it does not answer as Docker does")

// inspect is what the engine says of a container, whole.
func inspect(ctx context.Context, api *client.Client, name string) (container.InspectResponse, error) {
	c, err := api.ContainerInspect(ctx, name)
	if err == nil && (c.ContainerJSONBase == nil || c.ID == "" || c.State == nil || c.HostConfig == nil || c.Config == nil) {
		err = errStrange
	}
	return c, err
}
