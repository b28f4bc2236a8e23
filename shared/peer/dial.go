package peer

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// DialOptions of the side that connects.
type DialOptions struct {
	// Serializer is "cbor", "msgpack" or "json"; empty offers all three, CBOR first.
	Serializer string
	// TLS is for wss; its server name defaults to the host of the URL.
	TLS    *tls.Config
	Header http.Header
	// Timeout bounds everything up to the accepted upgrade; default 15 s.
	Timeout time.Duration
	// PingInterval as in Options: how the client sees that the far side is gone.
	PingInterval time.Duration
	// Queue is the capacity of Send; default 64.
	Queue int
	// Dial opens the network connection; nil is TCP, through the HTTP proxy
	// that the environment names for the URL.
	Dial Dialer
}

// Dial connects to url (ws:// or wss://) and decodes everything it receives.
// ctx bounds the connecting alone.
func Dial(ctx context.Context, rawURL string, o DialOptions) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, orDefault(o.Timeout, 15*time.Second))
	defer cancel()
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss" {
		return nil, fmt.Errorf("cannot connect to %q: expected ws://host[:port]/path or wss://…", rawURL)
	}
	var offer []string
	for _, f := range formats {
		if o.Serializer == "" || o.Serializer == f.name {
			offer = append(offer, f.protocol())
		}
	}
	if len(offer) == 0 {
		return nil, fmt.Errorf("cannot connect: serializer %q is none of cbor, msgpack, json", o.Serializer)
	}
	nc, err := connect(ctx, u, o)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w", u.Host, cause(ctx, err))
	}
	ws, err := handshake(ctx, u, nc, offer, o.Header)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("cannot connect to %s: %w", u.Host, cause(ctx, err))
	}
	f := choose([]string{ws.Subprotocol()})
	if f == nil {
		nc.Close()
		return nil, fmt.Errorf("cannot connect to %s: it speaks no WAMP that is known here", u.Host)
	}
	return newConn(ws, nc, f, true, Options{PingInterval: o.PingInterval, Queue: orDefault(o.Queue, 64)}.withDefaults()), nil
}

// cause is err, or why ctx ended if that is behind it.
func cause(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded): // a moment before ctx itself
		return context.DeadlineExceeded
	}
	return err
}

// handshake upgrades nc. The library is told the address in plain text since
// TLS, where there is any, is done already.
func handshake(ctx context.Context, u *url.URL, nc *netConn, offer []string, header http.Header) (*websocket.Conn, error) {
	d := websocket.Dialer{Subprotocols: offer, ReadBufferSize: 4096, WriteBufferSize: 256, WriteBufferPool: &writeBuffers,
		NetDialContext: func(context.Context, string, string) (net.Conn, error) { return nc, nil }}
	// The library only sets a deadline; a ctx that ends earlier ends it too.
	stop := context.AfterFunc(ctx, func() { _ = nc.Conn.SetDeadline(time.Unix(1, 0)) })
	plain := *u
	plain.Scheme = "ws"
	h := http.Header{"Host": {u.Host}}
	for k, v := range header {
		h[k] = v
	}
	ws, resp, err := d.DialContext(ctx, plain.String(), h)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		if resp != nil {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 256))
			return nil, fmt.Errorf("%w: %s: %s", err, resp.Status, strings.TrimSpace(string(body)))
		}
		return nil, err
	}
	return ws, nc.Conn.SetDeadline(time.Time{})
}

func connect(ctx context.Context, u *url.URL, o DialOptions) (*netConn, error) {
	port := u.Port()
	if port == "" {
		port = map[string]string{"ws": "80", "wss": "443"}[u.Scheme]
	}
	address := net.JoinHostPort(u.Hostname(), port)
	dial := o.Dial
	if dial == nil {
		dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return throughProxy(ctx, u, address)
		}
	}
	nc, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "ws" {
		return wrapConn(nc), nil
	}
	cfg := &tls.Config{}
	if o.TLS != nil {
		cfg = o.TLS.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = u.Hostname()
	}
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12
	}
	cfg.NextProtos = []string{"http/1.1"}
	t := tls.Client(nc, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return wrapConn(t), nil
}

// throughProxy connects directly, or asks the proxy that the environment
// names for such a URL to do it (HTTP CONNECT).
func throughProxy(ctx context.Context, u *url.URL, address string) (net.Conn, error) {
	asked := &url.URL{Scheme: map[string]string{"ws": "http", "wss": "https"}[u.Scheme], Host: u.Host}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: asked})
	if err != nil {
		// The library's error quotes the variable, password and all.
		return nil, fmt.Errorf("%s in the environment is no URL such as http://proxy.example.com:3128",
			map[string]string{"ws": "HTTP_PROXY", "wss": "HTTPS_PROXY"}[u.Scheme])
	}
	if proxy == nil {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
	return dialVia(ctx, proxy, address)
}

func dialVia(ctx context.Context, proxy *url.URL, address string) (net.Conn, error) {
	if proxy.Scheme != "http" {
		return nil, fmt.Errorf("proxy %s: only http proxies are supported, not %s", proxy.Host, proxy.Scheme)
	}
	host := proxy.Host
	if proxy.Port() == "" {
		host = net.JoinHostPort(proxy.Hostname(), "80")
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", host, err)
	}
	if err := connectVia(ctx, nc, proxy, address); err != nil {
		nc.Close()
		return nil, fmt.Errorf("proxy %s: %w", host, err)
	}
	return nc, nil
}

func connectVia(ctx context.Context, nc net.Conn, proxy *url.URL, address string) error {
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if p := proxy.User; p != nil {
		password, _ := p.Password()
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(p.Username()+":"+password)))
	}
	if err := req.Write(nc); err != nil {
		return err
	}
	br := bufio.NewReader(io.LimitReader(nc, maxOpening))
	resp, err := http.ReadResponse(br, req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", resp.Status)
	}
	if br.Buffered() > 0 {
		return fmt.Errorf("sent data before it was asked to")
	}
	return ctx.Err()
}
