package session

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"github.com/gammazero/nexus/v3/wamp"
)

// A relay that reads slowly gets every answer, although all of them together
// are more than the transport would queue.
func TestBigAnswersComeAtThePaceOfTheLink(t *testing.T) {
	const calls, size = 40, 512 << 10
	conns := make(chan *peer.Conn, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := peer.Upgrade(w, r, peer.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		conns <- c
	}))
	defer srv.Close()
	joined := make(chan *Session, 1)
	go func() {
		s, err := Join(t.Context(), Config{URL: "ws" + strings.TrimPrefix(srv.URL, "http"), Key: key(t)})
		if err != nil {
			t.Error(err)
		}
		joined <- s
	}()
	c := <-conns
	defer func() { c.Close(); <-c.Done() }()
	<-c.Recv()
	c.Welcomed()
	_ = c.Write(&wamp.Welcome{ID: 1, Details: wamp.Dict{}})
	s := <-joined
	if s == nil {
		return
	}
	defer func() { s.Drop("closed"); s.Close() }()
	registered := make(chan error, 1)
	go func() {
		registered <- s.Register(t.Context(), "big", nil, func(context.Context, *Invocation) (any, error) { return make([]byte, size), nil })
	}()
	r, ok := (<-c.Recv()).(*wamp.Register)
	if !ok {
		t.Fatal("no REGISTER")
	}
	_ = c.Write(&wamp.Registered{Request: r.Request, Registration: 3})
	if err := <-registered; err != nil {
		t.Fatal(err)
	}
	for i := range calls {
		_ = c.Write(&wamp.Invocation{Request: wamp.ID(i + 1), Registration: 3, Details: wamp.Dict{}})
	}
	for i := range calls {
		time.Sleep(5 * time.Millisecond) // the link is slow
		m, open := <-c.Recv()
		if !open {
			t.Fatalf("after %d answers the connection ended: %v", i, s.Err())
		}
		if y, ok := m.(*wamp.Yield); !ok || len(y.Arguments) != 1 {
			t.Fatalf("answer %d is %v", i, m.MessageType())
		}
	}
}

func TestAnAnswerOverTheLimitIsAnError(t *testing.T) {
	s, far := mute(t)
	err := s.Register(t.Context(), "huge", nil, func(context.Context, *Invocation) (any, error) { return make([]byte, peer.MaxMessage+1), nil })
	if err != nil {
		t.Fatal(err)
	}
	far.say <- &wamp.Invocation{Request: 1, Registration: 7, Details: wamp.Dict{}}
	e, ok := (<-far.got).(*wamp.Error)
	if !ok || cfcerr.FromWamp(string(e.Error), nil, nil).Kind != cfcerr.LimitExceeded {
		t.Errorf("got %+v", e)
	}
}

func TestSize(t *testing.T) {
	type inner struct{ A, B string }
	p := &inner{"xx", "yyy"}
	for name, c := range map[string]struct {
		v    any
		size int // at least
	}{
		"null": {nil, 1}, "string": {"hello", 5}, "bytes": {make([]byte, 1000), 1000}, "list": {wamp.List{"a", 1, nil}, 10},
		"dict": {wamp.Dict{"key": "value"}, 8}, "struct": {*p, 7}, "pointer": {p, 7}, "nil pointer": {(*inner)(nil), 1},
	} {
		if got := Size(c.v); got < c.size || got > 10*c.size+50 {
			t.Errorf("%s: %d, expected about %d", name, got, c.size)
		}
	}
	var loop []any
	loop = append(loop, nil)
	loop[0] = loop
	if Size(loop) < peer.MaxMessage {
		t.Error("what cannot be sent seems small")
	}
}
