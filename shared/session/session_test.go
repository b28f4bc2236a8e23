package session

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/router/auth"
	"github.com/gammazero/nexus/v3/transport"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const realm = "test"

// quiet is for servers whose clients break off on purpose.
var quiet = zap.NewStdLog(zap.NewNop())

// cryptosign is the router's side of a log-in, from the key package's two halves.
type cryptosign struct{}

func (cryptosign) AuthMethod() string { return "cryptosign" }
func (cryptosign) Authenticate(_ wamp.ID, details wamp.Dict, p wamp.Peer) (*wamp.Welcome, error) {
	extra, _ := wamp.AsDict(details["authextra"])
	pubkey, _ := wamp.AsString(extra["pubkey"])
	challenge := identity.NewChallenge()
	p.Send() <- &wamp.Challenge{AuthMethod: "cryptosign", Extra: wamp.Dict{"challenge": challenge}}
	m, err := wamp.RecvTimeout(p, 5*time.Second)
	if err != nil {
		return nil, err
	}
	a, ok := m.(*wamp.Authenticate)
	if !ok {
		return nil, errors.New("no AUTHENTICATE")
	}
	if err := identity.Verify(pubkey, challenge, a.Signature, nil); err != nil {
		return nil, err
	}
	return &wamp.Welcome{Details: wamp.Dict{"authid": "someone", "authrole": "owner", "realm": realm, "authextra": wamp.Dict{"node_oid": "x"}}}, nil
}

func newRouter(t *testing.T) router.Router {
	t.Helper()
	r, err := router.NewRouter(&router.Config{RealmConfigs: []*router.RealmConfig{{
		URI: realm, AllowDisclose: true, Authenticators: []auth.Authenticator{cryptosign{}}, RequireLocalAuth: true,
	}}}, zap.NewStdLog(zap.NewNop()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func key(t *testing.T) identity.Key {
	t.Helper()
	k, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func join(t *testing.T, r router.Router) *Session {
	t.Helper()
	ours, theirs := transport.LinkedPeersQSize(4096)
	go func() { _ = r.Attach(theirs) }()
	s, err := Over(t.Context(), ours, Config{Realm: realm, Key: key(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestJoinTellsWhoOneIs(t *testing.T) {
	s := join(t, newRouter(t))
	if s.Realm() != realm || s.AuthID() != "someone" || s.AuthRole() != "owner" || s.Extra()["node_oid"] != "x" || s.ID() == 0 {
		t.Errorf("welcome is %v", s.Welcome())
	}
}

func TestCallReachesAHandlerAndBringsItsResult(t *testing.T) {
	r := newRouter(t)
	callee, caller := join(t, r), join(t, r)
	err := callee.Register(t.Context(), "a.b", wamp.Dict{"disclose_caller": true}, func(_ context.Context, inv *Invocation) (any, error) {
		if inv.Caller.AuthID != "someone" {
			t.Errorf("caller is %+v", inv.Caller)
		}
		return Result{Args: inv.Args, Kwargs: inv.Kwargs}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	res, err := caller.Call(t.Context(), "a.b", wamp.List{1, "x"}, wamp.Dict{"k": true}, CallOptions{})
	if err != nil || len(res.Arguments) != 2 || res.Arguments[1] != "x" || res.ArgumentsKw["k"] != true {
		t.Errorf("result %v, error %v", res, err)
	}
}

func TestErrorsKeepTheirKind(t *testing.T) {
	r := newRouter(t)
	callee, caller := join(t, r), join(t, r)
	handlers := map[string]Handler{
		"typed":   func(context.Context, *Invocation) (any, error) { return nil, cfcerr.Argument("x", "an integer") },
		"foreign": func(context.Context, *Invocation) (any, error) { return nil, errors.New("secret text") },
		"panics":  func(context.Context, *Invocation) (any, error) { panic("secret text") },
	}
	for name, h := range handlers {
		if err := callee.Register(t.Context(), "p."+name, nil, h); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]cfcerr.Kind{
		"typed": cfcerr.InvalidArgument, "foreign": cfcerr.Internal, "panics": cfcerr.Internal, "absent": cfcerr.NoSuchProcedure,
	} {
		_, err := caller.Call(t.Context(), "p."+name, nil, nil, CallOptions{})
		if cfcerr.KindOf(err) != want {
			t.Errorf("%s: %v is kind %d, expected %d", name, err, cfcerr.KindOf(err), want)
		}
		if err != nil && (name == "foreign" || name == "panics") && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: a defect's text reached the caller: %v", name, err)
		}
	}
}

// blocking registers a procedure that runs until its context ends, and tells
// the cause.
func blocking(t *testing.T, callee *Session) (began chan struct{}, ended chan error) {
	t.Helper()
	began, ended = make(chan struct{}, 10), make(chan error, 10)
	err := callee.Register(t.Context(), "block", nil, func(ctx context.Context, _ *Invocation) (any, error) {
		began <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return began, ended
}

func TestCancelReturnsAtOnceAndStopsTheHandler(t *testing.T) {
	r := newRouter(t)
	callee, caller := join(t, r), join(t, r)
	began, ended := blocking(t, callee)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	_, err := caller.Call(ctx, "block", nil, nil, CallOptions{})
	if cfcerr.KindOf(err) != cfcerr.Canceled {
		t.Errorf("got %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("handler ended by %v", err)
	}
}

func TestDeadlineReachesTheHandler(t *testing.T) {
	r := newRouter(t)
	callee, caller := join(t, r), join(t, r)
	_, ended := blocking(t, callee)
	_, err := caller.Call(t.Context(), "block", nil, nil, CallOptions{Timeout: 30 * time.Millisecond})
	if cfcerr.KindOf(err) != cfcerr.Timeout && cfcerr.KindOf(err) != cfcerr.Canceled {
		t.Errorf("got %v", err)
	}
	if err := <-ended; err == nil {
		t.Error("the handler was not stopped")
	}
}

func TestCallReturnsWhenTheFarSideIsMute(t *testing.T) {
	s, _ := mute(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := s.Call(ctx, "a.b", nil, nil, CallOptions{})
	if cfcerr.KindOf(err) != cfcerr.Timeout {
		t.Errorf("got %v", err)
	}
}

// mute is a session whose far side answers nothing but REGISTER; what else it
// says the test sends, and what it got the test reads.
func mute(t *testing.T) (*Session, farSide) {
	t.Helper()
	ours, theirs := transport.LinkedPeersQSize(16)
	far := farSide{say: theirs.Send(), got: make(chan wamp.Message, 16)}
	go func() {
		<-theirs.Recv()
		theirs.Send() <- &wamp.Welcome{ID: 1, Details: wamp.Dict{}}
		for m := range theirs.Recv() {
			if r, ok := m.(*wamp.Register); ok {
				theirs.Send() <- &wamp.Registered{Request: r.Request, Registration: 7}
				continue
			}
			far.got <- m
		}
	}()
	s, err := Over(t.Context(), ours, Config{Realm: realm, Key: key(t), MaxInvocations: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Drop("closed"); s.Close() })
	return s, far
}

type farSide struct {
	say chan<- wamp.Message
	got chan wamp.Message
}

func TestLostSessionEndsItsCalls(t *testing.T) {
	s, far := mute(t)
	go func() {
		far.say <- &wamp.Goodbye{Reason: "cfc.close.replaced", Details: wamp.Dict{"message": "another came"}}
	}()
	_, err := s.Call(t.Context(), "a.b", nil, nil, CallOptions{})
	if cfcerr.KindOf(err) != cfcerr.ConnectionLost {
		t.Errorf("got %v", err)
	}
	<-s.Done()
	if e := s.Ended(); e.Reason != "cfc.close.replaced" || e.Message != "another came" {
		t.Errorf("ended by %+v", e)
	}
	if _, err := s.Call(t.Context(), "a.b", nil, nil, CallOptions{}); cfcerr.KindOf(err) != cfcerr.ConnectionLost {
		t.Errorf("a call after the end: %v", err)
	}
}

func TestProgressComesInOrderBeforeTheResult(t *testing.T) {
	r := newRouter(t)
	callee, caller := join(t, r), join(t, r)
	err := callee.Register(t.Context(), "steps", nil, func(ctx context.Context, _ *Invocation) (any, error) {
		for i := range 50 {
			if err := Progress(ctx, wamp.List{i}, nil); err != nil {
				return nil, err
			}
		}
		return "done", nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []any
	res, err := caller.Call(t.Context(), "steps", nil, nil, CallOptions{Progress: func(r *wamp.Result) { got = append(got, r.Arguments[0]) }})
	if err != nil || res.Arguments[0] != "done" || len(got) != 50 || got[0] != 0 || got[49] != 49 {
		t.Errorf("progress %v, result %v, error %v", got, res, err)
	}
	if _, err := caller.Call(t.Context(), "steps", nil, nil, CallOptions{}); err != nil {
		t.Errorf("without progress: %v", err)
	}
}

func TestInvocationsAreBounded(t *testing.T) {
	s, far := mute(t)
	began, _ := blocking(t, s)
	invoke := func(id wamp.ID) {
		far.say <- &wamp.Invocation{Request: id, Registration: 7, Details: wamp.Dict{}}
	}
	invoke(1)
	<-began
	invoke(2)
	if e, ok := (<-far.got).(*wamp.Error); !ok || e.Request != 2 || string(e.Error) != cfcerr.Busy.URI() {
		t.Errorf("over the bound: %+v", e)
	}
	far.say <- &wamp.Interrupt{Request: 1, Options: wamp.Dict{}}
	if e, ok := (<-far.got).(*wamp.Error); !ok || e.Request != 1 || string(e.Error) != cfcerr.Canceled.URI() {
		t.Errorf("interrupted: %+v", e)
	}
	invoke(3)
	<-began
}

func TestEventsComeInOrderAndNoneIsLost(t *testing.T) {
	r := newRouter(t)
	pub, sub := join(t, r), join(t, r)
	got := make(chan int, 1000)
	u, err := sub.Subscribe(t.Context(), "topic", "", func(e *wamp.Event) {
		n, _ := wamp.AsInt64(e.Arguments[0])
		got <- int(n)
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if err := pub.Publish(t.Context(), "topic", nil, wamp.List{i}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		if n := <-got; n != i {
			t.Fatalf("event %d came as %d", i, n)
		}
	}
	if err := u.Unsubscribe(t.Context()); err != nil {
		t.Fatal(err)
	}
}
