package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"time"

	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/transport/serialize"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

const (
	realmName = "demo"
	nodeID    = "n1"
	oid       = "11111111-1111-4111-8111-111111111111"
)

// procedure is what both are called for; the plain router has it registered.
var procedure = catalog.NodeGetStatus.URI()

var quiet = zap.NewStdLog(zap.NewNop())

// serve listens, says where, and ends when its input does.
func serve(h http.Handler, in io.Reader, out io.Writer) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		_ = srv.Close()
	}()
	fmt.Fprintln(out, "ws://"+ln.Addr().String())
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// serveNexus is nexus with its own WebSocket server. Its queues are as long as
// those of the relay.
func serveNexus(in io.Reader, out io.Writer) error {
	r, err := router.NewRouter(&router.Config{RealmConfigs: []*router.RealmConfig{
		{URI: realmName, AnonymousAuth: true, AllowDisclose: true},
	}}, quiet)
	if err != nil {
		return err
	}
	defer r.Close()
	s := router.NewWebsocketServer(r)
	s.OutQueueSize = 1024
	return serve(s, in, out)
}

// serveRelay is the relay's hub behind its transport.
func serveRelay(ctx context.Context, in io.Reader, out io.Writer, profile string) error {
	if profile != "" {
		f, err := os.CreateTemp(profile, "relay-*.pprof")
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	h := route.New(route.Config{Log: zap.NewNop()})
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	if err := h.AddRealm(realmName); err != nil {
		return err
	}
	if err := h.AddNode(realmName, nodeID, oid, route.Presence{}); err != nil {
		return err
	}
	return serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := peer.Upgrade(w, r, peer.Options{})
		if err != nil {
			return
		}
		hello, ok := (<-c.Recv()).(*wamp.Hello)
		if !ok {
			c.Close()
			return
		}
		id := route.Identity{Realm: realmName, AuthID: "alice", Role: string(wire.Owner), Method: "cryptosign", Hello: hello.Details}
		if r.URL.Path == wire.AgentPath {
			id.AuthID, id.Role = nodeID, wire.RoleNode
		}
		if err := h.Attach(r.Context(), c, id); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}), in, out)
}

// serveCallee answers with what it was sent, for the relay as the agent of a
// node and for nexus under the procedure itself.
func serveCallee(ctx context.Context, in io.Reader, out io.Writer, url, ser string) error {
	c, err := connect(ctx, url+wire.AgentPath, ser)
	if err != nil {
		return err
	}
	defer c.Close()
	echo := func(_ context.Context, inv *wamp.Invocation) client.InvokeResult {
		if _, ok := inv.Details["caller"]; !ok {
			return client.InvokeResult{Err: "bench.not_disclosed"}
		}
		return client.InvokeResult{Args: inv.Arguments[1:]}
	}
	for _, p := range []string{procedure, wire.NodeProcedure(nodeID)} {
		err = c.Register(p, echo, wamp.Dict{"disclose_caller": true})
		if err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "ready")
	_, _ = io.Copy(io.Discard, in)
	return nil
}

func connect(ctx context.Context, url, ser string) (*client.Client, error) {
	s := map[string]serialize.Serialization{"cbor": serialize.CBOR, "msgpack": serialize.MSGPACK, "json": serialize.JSON}[ser]
	return client.ConnectNet(ctx, url, client.Config{Realm: realmName, Serialization: s, Logger: quiet, ResponseTimeout: 10 * time.Second})
}
