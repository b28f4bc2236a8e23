package nodelink

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// A node that is busy when it comes says late who it is. Without its word nobody
// knows which process of it this is: it would count as another one, and what was
// broken off with the last agent would never be finished.
func TestANodeThatIsBusyWhenItComesIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		accepted := make(chan *socket, 1)
		go func() {
			sock, err := accept(here, 30*time.Second)
			if err != nil {
				t.Error(err)
			}
			accepted <- sock
		}()
		node := shake(t, there, 3)
		if err := there.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		s := newSession(<-accepted, "")
		l := &Link{log: zap.NewNop()}
		l.occupy(s)
		var notices []Notice
		l.Watch(func(n Notice) { notices = append(notices, n) })
		ended := make(chan struct{})
		go func() { defer close(ended); l.run(t.Context(), s) }()

		node.send(&wamp.Register{Request: 1, Options: wamp.Dict{}, Procedure: prefix + "get_status"})
		receive[*wamp.Registered](node)
		node.send(&wamp.Call{Request: 2, Options: wamp.Dict{}, Procedure: statusProcedure})
		receive[*wamp.Result](node)
		asked := receive[*wamp.Invocation](node)
		time.Sleep(time.Minute)
		node.send(&wamp.Yield{Request: asked.Request, Options: wamp.Dict{}, Arguments: wamp.List{
			wamp.Dict{"title": "Crossbar.io 26.10.1", "controller_pid": 4711, "started": "2026-01-31T12:00:00.000Z"}}})
		synctest.Wait()
		there.Close()
		<-ended
		var ready []Notice
		for _, n := range notices {
			if n.Kind == Ready {
				ready = append(ready, n)
			}
		}
		want := NodeInfo{Kind: "crossbar", Version: "26.10.1", PID: 4711, Started: "2026-01-31T12:00:00.000Z"}
		if len(ready) != 1 || ready[0].Node != want {
			t.Errorf("told is %+v, expected %+v once", ready, want)
		}
	})
}

// A session that handle gives up has ended: nothing else would wake its writer,
// and the node, which may have one session, could never come again.
func TestAGoodbyeThatFindsNoRoomEndsTheSession(t *testing.T) {
	for room := range 4 {
		here, there := net.Pipe()
		defer there.Close()
		s := newSession(&socket{conn: here, codec: newNodeCBOR(), out: make(chan []byte, room), maxSend: maxMessage}, "")
		if goesOn := s.handle(&Link{}, &wamp.Goodbye{Reason: wamp.CloseRealm, Details: wamp.Dict{}}, nil); goesOn == s.ended() {
			t.Errorf("with room for %d it goes on: %v, and has ended: %v", room, goesOn, s.ended())
		}
	}
}
