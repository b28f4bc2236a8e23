package layers_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"fabric.center/cfc/shared/layers"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder notes the order in which parts end.
type recorder struct {
	mu    sync.Mutex
	ended []string
}

func (r *recorder) part(name string, fail error) layers.Part {
	return layers.Part{Name: name, Run: func(ctx context.Context) error {
		<-ctx.Done()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ended = append(r.ended, name)
		return fail
	}}
}

func TestLayersEndInOrder(t *testing.T) {
	for range 100 {
		var r recorder
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		boom := errors.New("boom")
		err := layers.Run(ctx, layers.Layer{r.part("front", nil)}, layers.Layer{r.part("hub", boom)}, nil, layers.Layer{r.part("presence", nil)})
		if !errors.Is(err, boom) || err.Error() != "hub: boom" {
			t.Fatalf("got %v", err)
		}
		if !slices.Equal(r.ended, []string{"front", "hub", "presence"}) {
			t.Fatalf("ended %v", r.ended)
		}
	}
}

func TestNothingFailed(t *testing.T) {
	var r recorder
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := layers.Run(ctx, layers.Layer{r.part("a", nil), r.part("b", nil)}); err != nil || len(r.ended) != 2 {
		t.Errorf("%v, ended %v", err, r.ended)
	}
}

func TestFirstOutEndsAll(t *testing.T) {
	for want, out := range map[string]error{"listener: boom": errors.New("boom"), "listener: ended by itself": nil} {
		var r recorder
		first := layers.Part{Name: "listener", Run: func(context.Context) error { return out }}
		err := layers.Run(t.Context(), layers.Layer{r.part("a", nil), first}, layers.Layer{r.part("b", nil)})
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if !slices.Equal(r.ended, []string{"a", "b"}) {
			t.Errorf("ended %v", r.ended)
		}
	}
}
