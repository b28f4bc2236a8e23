package session

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/faultpeer"
	"fabric.center/cfc/shared/peer"
	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
)

// faulty joins through rules, over a real connection.
func faulty(t *testing.T, r router.Router, rules ...faultpeer.Rule) (*Session, error) {
	t.Helper()
	var attached sync.WaitGroup
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		attached.Add(1)
		defer attached.Done()
		if c, err := peer.Upgrade(w, q, peer.Options{}); err == nil {
			c.Welcomed()
			if r.Attach(c) != nil {
				c.Close()
			}
			<-c.Done()
		}
	}))
	t.Cleanup(func() { srv.Close(); attached.Wait() })
	c, err := peer.Dial(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http"), peer.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Over(t.Context(), faultpeer.Wrap(c, rules...), Config{Realm: realm, Key: key(t), Timeout: 200 * time.Millisecond})
	if s != nil {
		t.Cleanup(func() { s.Drop("closed"); s.Close() })
	}
	return s, err
}

func in(mt wamp.MessageType, do faultpeer.Fault) faultpeer.Rule {
	return faultpeer.Rule{Side: faultpeer.In, Type: mt, Nth: 1, Do: do}
}

func TestLogInUnderFaults(t *testing.T) {
	r := newRouter(t)
	for name, rule := range map[string]faultpeer.Rule{
		"CHALLENGE lost":        in(wamp.CHALLENGE, faultpeer.Drop),
		"WELCOME lost":          in(wamp.WELCOME, faultpeer.Drop),
		"HELLO lost":            {Side: faultpeer.Out, Type: wamp.HELLO, Nth: 1, Do: faultpeer.Drop},
		"AUTHENTICATE lost":     {Side: faultpeer.Out, Type: wamp.AUTHENTICATE, Nth: 1, Do: faultpeer.Drop},
		"ended by CHALLENGE":    in(wamp.CHALLENGE, faultpeer.End),
		"ended by WELCOME":      in(wamp.WELCOME, faultpeer.End),
		"CHALLENGE comes twice": in(wamp.CHALLENGE, faultpeer.Double),
	} {
		began := time.Now()
		if _, err := faulty(t, r, rule); err == nil {
			t.Errorf("%s: joined", name)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
	}
}

// Whatever happens to one call, it ends in time with an error of its kind, and
// where the connection goes on, so does the session.
func TestCallsUnderFaults(t *testing.T) {
	r := newRouter(t)
	callee := join(t, r)
	err := callee.Register(t.Context(), "echo", nil, func(_ context.Context, inv *Invocation) (any, error) {
		return Result{Args: inv.Args}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		rules []faultpeer.Rule
		want  cfcerr.Kind // 0 for none
		over  bool
	}{
		"none":                       {nil, 0, false},
		"RESULT lost":                {[]faultpeer.Rule{in(wamp.RESULT, faultpeer.Drop)}, cfcerr.Timeout, false},
		"RESULT twice":               {[]faultpeer.Rule{in(wamp.RESULT, faultpeer.Double)}, 0, false},
		"RESULT too late":            {[]faultpeer.Rule{in(wamp.RESULT, faultpeer.Delay(150*time.Millisecond))}, cfcerr.Timeout, false},
		"CALL lost":                  {[]faultpeer.Rule{{Side: faultpeer.Out, Type: wamp.CALL, Nth: 1, Do: faultpeer.Drop}}, cfcerr.Timeout, false},
		"RESULT lost, CANCEL too":    {[]faultpeer.Rule{in(wamp.RESULT, faultpeer.Drop), {Side: faultpeer.Out, Type: wamp.CANCEL, Do: faultpeer.Drop}}, cfcerr.Timeout, false},
		"ended instead of RESULT":    {[]faultpeer.Rule{in(wamp.RESULT, faultpeer.End)}, cfcerr.ConnectionLost, true},
		"ended by CALL":              {[]faultpeer.Rule{{Side: faultpeer.Out, Type: wamp.CALL, Nth: 1, Do: faultpeer.End}}, cfcerr.ConnectionLost, true},
		"RESULT is an EVENT":         {[]faultpeer.Rule{in(wamp.RESULT, faultpeer.Replace(func(wamp.Message) wamp.Message { return &wamp.Event{Subscription: 9} }))}, cfcerr.Timeout, false},
		"RESULT is an INVOCATION":    {[]faultpeer.Rule{in(wamp.RESULT, faultpeer.Replace(func(wamp.Message) wamp.Message { return &wamp.Invocation{Request: 1, Registration: 9} }))}, cfcerr.Timeout, false},
		"RESULT is a PUBLISHED":      {[]faultpeer.Rule{in(wamp.RESULT, faultpeer.Replace(func(wamp.Message) wamp.Message { return &wamp.Published{Request: 1} }))}, cfcerr.Internal, false},
		"ended by a GOODBYE":         {[]faultpeer.Rule{in(wamp.RESULT, faultpeer.Replace(func(wamp.Message) wamp.Message { return &wamp.Goodbye{Reason: "x"} }))}, cfcerr.ConnectionLost, true},
		"ended by an ABORT":          {[]faultpeer.Rule{in(wamp.RESULT, faultpeer.Replace(func(wamp.Message) wamp.Message { return &wamp.Abort{} }))}, cfcerr.ConnectionLost, true},
		"what no client may be sent": {[]faultpeer.Rule{in(wamp.RESULT, faultpeer.Replace(func(wamp.Message) wamp.Message { return &wamp.Hello{} }))}, cfcerr.Timeout, false},
	} {
		s, err := faulty(t, r, c.rules...)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if c.want == 0 {
			ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
		}
		_, err = s.Call(ctx, "echo", wamp.List{1}, nil, CallOptions{})
		cancel()
		if cfcerr.KindOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
		res, err := s.Call(t.Context(), "echo", wamp.List{2}, nil, CallOptions{})
		switch {
		case c.over && (s.Err() == nil || cfcerr.KindOf(err) != cfcerr.ConnectionLost):
			t.Errorf("%s: the session goes on: %v", name, err)
		case !c.over && (err != nil || number(res) != 2):
			t.Errorf("%s: the next call: %v, %v", name, res, err)
		}
	}
}

func number(r *wamp.Result) int64 {
	n, _ := wamp.AsInt64(r.Arguments[0])
	return n
}

func TestTheFirstEventIsNotLost(t *testing.T) {
	r := newRouter(t)
	// An event that comes right behind SUBSCRIBED.
	s, err := faulty(t, r, faultpeer.Rule{Side: faultpeer.In, Type: wamp.SUBSCRIBED, Do: func(m wamp.Message) ([]wamp.Message, bool) {
		return []wamp.Message{m, &wamp.Event{Subscription: m.(*wamp.Subscribed).Subscription, Arguments: wamp.List{"first"}}}, false
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan any, 1)
	if _, err := s.Subscribe(t.Context(), "topic", "", func(e *wamp.Event) { got <- e.Arguments[0] }); err != nil {
		t.Fatal(err)
	}
	select {
	case v := <-got:
		if v != "first" {
			t.Errorf("got %v", v)
		}
	case <-time.After(10 * time.Second):
		t.Error("the event is lost")
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	r := newRouter(t)
	s := join(t, r)
	if err := s.Register(t.Context(), "wamp.x", nil, nil); err == nil {
		t.Error("a reserved name was registered")
	}
	if _, err := s.Subscribe(t.Context(), "a..b", "", nil); err == nil {
		t.Error("a topic that is none was subscribed to")
	}
	if err := s.Publish(t.Context(), "a..b", nil, nil, nil); err == nil {
		t.Error("a topic that is none was published to")
	}
	taken := make(chan error, 1)
	if err := s.PublishAsync(t.Context(), "a..b", nil, nil, func(err error) { taken <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-taken; err == nil {
		t.Error("a topic that is none was published to")
	}
}

func TestCloseWaitsForItsRelayOnlySoLong(t *testing.T) {
	r := newRouter(t)
	s, err := faulty(t, r, in(wamp.GOODBYE, faultpeer.Drop))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.Close()
	if took := time.Since(began); took > goodbyeTimeout+3*time.Second {
		t.Errorf("took %s", took)
	}
	if e := s.Ended(); e == nil || e.Reason != "closed" {
		t.Errorf("ended by %v", e)
	}
}

// TestARequestIsForgottenOnce: a relay that answers what has not been sent yet, and
// then is lost, ends it twice.
func TestARequestIsForgottenOnce(t *testing.T) {
	s := &Session{waiting: map[wamp.ID]*request{}}
	r := s.expect(7, nil)
	for range 2 {
		s.forget(7, r)
	}
	select {
	case <-r.gone:
	default:
		t.Error("nobody is told that it is over")
	}
	if len(s.waiting) > 0 {
		t.Error("it is kept")
	}
}
