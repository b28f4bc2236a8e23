package route_test

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/shared/peer"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

func TestCallReachesTheAgentUnchanged(t *testing.T) {
	r := newRig(t, route.Config{}, peer.Options{})
	r.addNode("n1", oid1)
	for _, as := range serializers {
		for _, cs := range serializers {
			t.Run(cs+" to "+as, func(t *testing.T) {
				var got *wamp.Invocation
				a := r.agent("n1", as, func(_ context.Context, inv *wamp.Invocation) client.InvokeResult {
					got = inv
					return client.InvokeResult{Args: inv.Arguments, Kwargs: inv.ArgumentsKw}
				})
				defer func() { a.Close(); r.online("n1", false) }()
				c := r.member(wire.Owner, cs)
				defer c.Close()
				args := wamp.List{"n1", "w1", int64(-5), uint64(1 << 53), 1.5, nil, true, []byte{0, 1, 255}, wamp.Dict{"a": wamp.List{"ü\"\\", ""}}}
				kwargs := wamp.Dict{"k": "v", "n": wamp.Dict{"b": []byte("x")}}
				res, err := c.Call(t.Context(), "cfc.remote.node.get_worker", wamp.Dict{"timeout": 5000}, args, kwargs, nil)
				if err != nil {
					t.Fatal(err)
				}
				want := append(wamp.List{"node.get_worker"}, args[1:]...)
				same(t, "arguments", got.Arguments, want)
				same(t, "result", res.Arguments, want)
				same(t, "keywords", got.ArgumentsKw, kwargs)
				same(t, "result's keywords", res.ArgumentsKw, kwargs)
				d := wamp.NormalizeDict(got.Details)
				if id, _ := wamp.AsID(d["caller"]); id != c.ID() || d["caller_authid"] != "alice" || d["caller_authrole"] != "owner" {
					t.Errorf("details %v", d)
				}
				if ms, _ := wamp.AsInt64(d["timeout"]); ms != 5000 {
					t.Errorf("timeout %v", d["timeout"])
				}
			})
		}
	}
}

// same compares with numbers made alike.
func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := plain(got), plain(want); !reflect.DeepEqual(g, w) {
		t.Errorf("%s: got %#v, want %#v", what, g, w)
	}
}

func plain(v any) any {
	switch v := v.(type) {
	case wamp.List:
		return plain([]any(v))
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case wamp.Dict:
		return plain(map[string]any(v))
	case map[string]any:
		out := map[string]any{}
		for k := range v {
			out[k] = plain(v[k])
		}
		return out
	case int64, uint64, int:
		return fmt.Sprint(v)
	}
	return v
}

func TestProgressCancelTimeoutError(t *testing.T) {
	for _, ser := range serializers {
		t.Run(ser, func(t *testing.T) {
			r := newRig(t, route.Config{}, peer.Options{})
			r.addNode("n1", oid1)
			ended := make(chan error, 1)
			var agent *client.Client
			agent = r.agent("n1", ser, func(ctx context.Context, inv *wamp.Invocation) client.InvokeResult {
				switch inv.Arguments[0] {
				case "node.get_workers":
					for i := range 3 {
						if err := agent.SendProgress(ctx, wamp.List{i}, wamp.Dict{"step": i}); err != nil {
							return client.InvokeResult{Err: "test.error", Args: wamp.List{err.Error()}}
						}
					}
					return client.InvokeResult{Args: wamp.List{"done"}}
				case "node.get_worker":
					return client.InvokeResult{Err: "crossbar.error.custom", Args: wamp.List{7, "why"}, Kwargs: wamp.Dict{"k": "v"}}
				}
				<-ctx.Done()
				ended <- ctx.Err()
				return client.InvocationCanceled
			})
			c := r.member(wire.Owner, ser)

			var steps []string
			res, err := c.Call(t.Context(), "cfc.remote.node.get_workers", nil, wamp.List{"n1"}, nil, func(p *wamp.Result) {
				steps = append(steps, fmt.Sprint(p.Arguments, p.ArgumentsKw))
			})
			if err != nil || fmt.Sprint(res.Arguments) != "[done]" || fmt.Sprint(steps) != "[[0] map[step:0] [1] map[step:1] [2] map[step:2]]" {
				t.Errorf("progress: %v %v %v", steps, res, err)
			}
			_, err = c.Call(t.Context(), "cfc.remote.node.get_worker", nil, wamp.List{"n1"}, nil, nil)
			if e := rpcError(t, err); e.Error != "crossbar.error.custom" || fmt.Sprint(e.Arguments, e.ArgumentsKw) != "[7 why] map[k:v]" {
				t.Errorf("error: %v", e)
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(20*time.Millisecond, cancel)
			_, err = c.Call(ctx, "cfc.remote.node.get_status", nil, wamp.List{"n1"}, nil, nil)
			if err == nil {
				t.Error("a canceled call had a result")
			}
			wait(t, ended, "end of the canceled work")
			began := time.Now()
			_, err = c.Call(t.Context(), "cfc.remote.node.get_status", wamp.Dict{"timeout": 150}, wamp.List{"n1"}, nil, nil)
			took := time.Since(began)
			if e := rpcError(t, err); e.Error != wamp.ErrTimeout || took < 150*time.Millisecond || took > 250*time.Millisecond {
				t.Errorf("timeout: %v after %v", e, took)
			}
			wait(t, ended, "end of the timed out work")
		})
	}
}
