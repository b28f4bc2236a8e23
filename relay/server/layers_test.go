package server

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
)

// recorder notes the order in which parts end.
type recorder struct {
	mu    sync.Mutex
	ended []string
}

func (r *recorder) part(name string, fail error) part {
	return part{name, func(ctx context.Context) error {
		<-ctx.Done()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ended = append(r.ended, name)
		return fail
	}}
}

func TestLayersEndInOrder(t *testing.T) {
	var r recorder
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	boom := errors.New("boom")
	err := runLayers(ctx, layer{r.part("front", nil)}, layer{r.part("hub", boom)}, layer{r.part("presence", nil)})
	if !errors.Is(err, boom) || err.Error() != "hub: boom" {
		t.Errorf("got %v", err)
	}
	if !slices.Equal(r.ended, []string{"front", "hub", "presence"}) {
		t.Errorf("ended %v", r.ended)
	}
}

func TestFirstOutEndsAll(t *testing.T) {
	for want, out := range map[string]error{"listener: boom": errors.New("boom"), "listener: ended by itself": nil} {
		var r recorder
		first := part{"listener", func(context.Context) error { return out }}
		err := runLayers(t.Context(), layer{r.part("a", nil), first}, layer{r.part("b", nil)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if !slices.Equal(r.ended, []string{"a", "b"}) {
			t.Errorf("ended %v", r.ended)
		}
	}
}
