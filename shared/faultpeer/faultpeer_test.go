package faultpeer_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"fabric.center/cfc/shared/faultpeer"
	"github.com/gammazero/nexus/v3/transport"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func published(i int) wamp.Message { return &wamp.Published{Request: wamp.ID(i)} }

func TestFaults(t *testing.T) {
	odd := func(m wamp.Message) bool { return m.(*wamp.Published).Request%2 == 1 }
	for _, c := range []struct {
		name  string
		rules []faultpeer.Rule
		want  string // of 1 to 5, what arrives
	}{
		{"none", nil, "[1 2 3 4 5]"},
		{"drop the second", []faultpeer.Rule{{Nth: 2, Do: faultpeer.Drop}}, "[1 3 4 5]"},
		{"drop the second odd", []faultpeer.Rule{{Only: odd, Nth: 2, Do: faultpeer.Drop}}, "[1 2 4 5]"},
		{"drop all odd", []faultpeer.Rule{{Only: odd, Do: faultpeer.Drop}}, "[2 4]"},
		{"double the last", []faultpeer.Rule{{Type: wamp.PUBLISHED, Nth: 5, Do: faultpeer.Double}}, "[1 2 3 4 5 5]"},
		{"another type", []faultpeer.Rule{{Type: wamp.RESULT, Do: faultpeer.Drop}}, "[1 2 3 4 5]"},
		{"end at the third", []faultpeer.Rule{{Nth: 3, Do: faultpeer.End}}, "[1 2]"},
		{"replace", []faultpeer.Rule{{Nth: 1, Do: faultpeer.Replace(func(wamp.Message) wamp.Message { return published(9) })}}, "[9 2 3 4 5]"},
		{"the first rule wins, all count", []faultpeer.Rule{{Nth: 1, Do: faultpeer.Drop}, {Nth: 1, Do: faultpeer.Double}, {Nth: 2, Do: faultpeer.Double}}, "[2 2 3 4 5]"},
		{"delay", []faultpeer.Rule{{Nth: 2, Do: faultpeer.Delay(time.Hour)}}, "[1 2 3 4 5]"},
	} {
		for _, side := range []faultpeer.Side{faultpeer.In, faultpeer.Out} {
			t.Run(fmt.Sprint(c.name, " ", side), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { run(t, side, c.rules, c.want) })
			})
		}
	}
}

func run(t *testing.T, side faultpeer.Side, rules []faultpeer.Rule, want string) {
	near, far := transport.LinkedPeers()
	mine := make([]faultpeer.Rule, len(rules))
	copy(mine, rules)
	for i := range mine {
		mine[i].Side = side
	}
	p := faultpeer.Wrap(near, mine...)
	from, to := p.Send(), far.Recv()
	if side == faultpeer.In {
		from, to = far.Send(), p.Recv()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := range 5 {
			select {
			case from <- published(i + 1):
			case <-time.After(2 * time.Hour):
			}
		}
	}()
	var got []wamp.ID
	for {
		select {
		case m, ok := <-to:
			if ok {
				got = append(got, m.(*wamp.Published).Request)
				continue
			}
		case <-time.After(3 * time.Hour):
		}
		break
	}
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	for i := range mine {
		if mine[i].Nth == 2 && mine[i].Only == nil && p.Seen(i) < 2 {
			t.Errorf("rule %d saw %d", i, p.Seen(i))
		}
	}
	<-ended
	p.Close()
}

func TestHold(t *testing.T) {
	near, far := transport.LinkedPeers()
	release := make(chan struct{})
	p := faultpeer.Wrap(near, faultpeer.Rule{Side: faultpeer.In, Nth: 1, Do: faultpeer.Hold(release)})
	defer p.Close()
	far.Send() <- published(1)
	far.Send() <- published(2)
	select {
	case m := <-p.Recv():
		t.Fatalf("%v was not held", m)
	default:
	}
	close(release)
	for want := wamp.ID(1); want <= 2; want++ {
		if m := <-p.Recv(); m.(*wamp.Published).Request != want {
			t.Errorf("got %v, want %d", m, want)
		}
	}
	if p.IsLocal() != near.IsLocal() {
		t.Error("it is another kind of peer")
	}
}
