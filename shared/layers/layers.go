// Package layers runs the long-lived parts of a program and ends them in order.
//
// A part runs until its context ends. Parts that end together are a layer;
// layers end one after another, the first first: who takes new work goes before
// who carries it out, and who writes down how it went comes last. The first part
// that ends by itself ends all, and every part is awaited. So a program has one
// place that says what stops when, and no goroutine without an owner.
package layers

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Part is something long-lived.
type Part struct {
	Name string
	Run  func(context.Context) error
}

// Layer is parts that end together.
type Layer []Part

// Run runs all parts until ctx ends or one of them does, and then ends the
// layers. A part that ends before it is told to has failed; the error holds all
// failures, each with its part's name.
func Run(ctx context.Context, all ...Layer) error {
	base := context.WithoutCancel(ctx)
	ended := make(chan error)
	stop := make([]context.CancelFunc, len(all))
	running := make([]sync.WaitGroup, len(all))
	for i, layer := range all {
		var within context.Context
		within, stop[i] = context.WithCancel(base)
		for _, p := range layer {
			running[i].Go(func() { ended <- p.run(within) })
		}
	}
	var failures []error
	select {
	case <-ctx.Done():
	case err := <-ended:
		failures = append(failures, err)
	}
	for i := range all {
		stop[i]()
		done := make(chan struct{})
		go func() { running[i].Wait(); close(done) }()
		for waiting := true; waiting; {
			select {
			case err := <-ended:
				failures = append(failures, err)
			case <-done:
				waiting = false
			}
		}
	}
	return errors.Join(failures...)
}

func (p Part) run(within context.Context) error {
	err := p.Run(within)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", p.Name, err)
	case within.Err() == nil:
		return fmt.Errorf("%s: ended by itself", p.Name)
	}
	return nil
}
