package route

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// pipe is both ends of a connection, after its log-in.
func pipe(t *testing.T) (here, there *peer.Conn) {
	t.Helper()
	accepted := make(chan *peer.Conn, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := peer.Upgrade(w, r, peer.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		c.Welcomed()
		accepted <- c
	}))
	t.Cleanup(srv.Close)
	there, err := peer.Dial(t.Context(), "ws"+strings.TrimPrefix(srv.URL, "http"), peer.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	here = <-accepted
	t.Cleanup(func() {
		for _, c := range []*peer.Conn{here, there} {
			c.Close()
			<-c.Done()
		}
	})
	return here, there
}

// A progressive result that is on its way while the caller cancels, or while the
// deadline passes, does not come behind the answer.
func TestNoProgressBehindTheAnswer(t *testing.T) {
	h := New(Config{})
	conn, client := pipe(t)
	line, far := pipe(t)
	caller := newSession(h, h.realm(wire.UsersRealm), conn, Identity{Role: wire.RoleUser})
	agent := newSession(h, h.realm(wire.UsersRealm), line, Identity{Role: wire.RoleNode})
	for request := range wamp.ID(3) {
		c := &call{caller: caller, request: request + 1, progress: true, agent: agent, invocation: request + 1}
		if err := c.begin(); err != nil {
			t.Fatal(err)
		}
		agent.invocations[c.invocation] = c
	}
	told := make(chan struct{})
	line.HandleRaw(func(m wamp.Message) wamp.Message { // as session.yield does, with what comes in between
		y := m.(*peer.Yield)
		c := agent.pending(y.Request)
		switch y.Request {
		case 1:
			c.canceled(wamp.CancelModeSkip)
		case 2:
			c.timedOut()
		case 3:
			defer close(told)
		}
		c.further(agent, y.Payload)
		return nil
	})
	for id := range wamp.ID(3) {
		if err := far.Write(&wamp.Yield{Request: id + 1, Options: wamp.Dict{wamp.OptProgress: true}, Arguments: wamp.List{"half"}}); err != nil {
			t.Fatal(err)
		}
	}
	<-told
	conn.Finish(&wamp.Goodbye{Reason: wamp.CloseRealm, Details: wamp.Dict{}})
	ended, further := map[wamp.ID]bool{}, map[wamp.ID]bool{}
	for over := false; !over; {
		select {
		case m := <-client.Recv():
			switch m := m.(type) {
			case *wamp.Error:
				ended[m.Request] = true
			case *wamp.Result:
				if further[m.Request] = true; ended[m.Request] {
					t.Errorf("call %d: a result behind the answer", m.Request)
				}
			default:
				over = true
			}
		case <-time.After(10 * time.Second):
			t.Fatal("no GOODBYE")
		}
	}
	if !ended[1] || !ended[2] || ended[3] || !further[3] {
		t.Errorf("ended are %v, gone on %v", ended, further)
	}
}
