package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"fabric.center/cfc/agent/state"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// ErrNotRunning is in the chain when no agent listens on the socket.
var ErrNotRunning = errors.New("the agent is not running")

const maxAnswer = 1 << 20

// Client asks the agent that listens on a socket.
type Client struct{ path string }

// NewClient makes a client of the socket at path.
func NewClient(path string) *Client { return &Client{path} }

// Status is what the agent tells about itself.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.do(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// Pair has the agent pair.
func (c *Client) Pair(ctx context.Context, r state.Request) (*state.Pairing, error) {
	var p *state.Pairing
	err := c.do(ctx, http.MethodPost, "/v1/pair", r, &p)
	return p, err
}

// Unpair has the agent forget its pairing, and gives what it was.
func (c *Client) Unpair(ctx context.Context) (*state.Pairing, error) {
	var p *state.Pairing
	err := c.do(ctx, http.MethodPost, "/v1/unpair", struct{}{}, &p)
	return p, err
}

// Reload has the agent read policy and pairing again.
func (c *Client) Reload(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/v1/reload", struct{}{}, &struct{}{})
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, PairTimeout+readTimeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("cannot ask the agent: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, body)
	if err != nil {
		return fmt.Errorf("cannot ask the agent: %w", err)
	}
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: 2 * time.Second}
		return d.DialContext(ctx, "unix", c.path)
	}}
	defer t.CloseIdleConnections()
	resp, err := t.RoundTrip(req)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w (nobody listens on %s)", ErrNotRunning, c.path)
	}
	if err != nil {
		return fmt.Errorf("cannot ask the agent: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("cannot ask the agent: %w", err)
	}
	return read(resp.StatusCode, b, out)
}

func read(code int, b []byte, out any) error {
	if code == http.StatusOK {
		if err := json.Unmarshal(b, out); err != nil {
			return fmt.Errorf("cannot understand the agent: %w", err)
		}
		return nil
	}
	var e struct{ Error *failure }
	if err := json.Unmarshal(b, &e); err != nil || e.Error == nil {
		return fmt.Errorf("cannot understand the agent: it answered status %d", code)
	}
	if e.Error.URI == "" {
		return errors.New(e.Error.Message)
	}
	return cfcerr.FromWamp(e.Error.URI, wamp.List{e.Error.Message}, e.Error.Details)
}
