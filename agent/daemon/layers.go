package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// part is something long-lived. It runs until its context ends.
type part struct {
	name string
	run  func(context.Context) error
}

// runLayers runs all parts until ctx ends or one of them does, then ends the
// layers one after the other, the first first, and awaits every part. One that
// ends before it is told to is a failure.
func runLayers(ctx context.Context, layers ...[]part) error {
	early := make(chan error, 1)
	stopping := make(chan struct{})
	var mu sync.Mutex
	var failures []error
	base := context.WithoutCancel(ctx)
	end := make([]context.CancelFunc, len(layers))
	groups := make([]sync.WaitGroup, len(layers))
	for i, l := range layers {
		var within context.Context
		within, end[i] = context.WithCancel(base)
		for _, p := range l {
			groups[i].Go(func() {
				err := p.run(within)
				if err != nil {
					err = fmt.Errorf("%s: %w", p.name, err)
				} else if within.Err() == nil {
					err = fmt.Errorf("%s: ended by itself", p.name)
				}
				select {
				case <-stopping:
				case early <- err: // who is first stops all
					return
				default:
				}
				mu.Lock()
				defer mu.Unlock()
				failures = append(failures, err)
			})
		}
	}
	var first error
	select {
	case <-ctx.Done():
	case first = <-early:
	}
	close(stopping)
	for i := range layers {
		end[i]()
		groups[i].Wait()
	}
	select { // one that ended while the stop began
	case err := <-early:
		failures = append(failures, err)
	default:
	}
	return errors.Join(append([]error{first}, failures...)...)
}
