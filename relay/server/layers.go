package server

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

// layer is parts that end together.
type layer []part

// runLayers runs all parts until ctx ends or one of them does, and then ends
// the layers one after another, the first first: who takes new work goes
// before who carries it out, and who writes down how it went comes last. Every
// part is awaited. A part that ends before it is told to is a failure.
func runLayers(ctx context.Context, layers ...layer) error {
	type exit struct {
		name string
		err  error
	}
	out := make(chan exit)
	base := context.WithoutCancel(ctx)
	end := make([]context.CancelFunc, len(layers))
	done := make([]sync.WaitGroup, len(layers))
	for i, l := range layers {
		var within context.Context
		within, end[i] = context.WithCancel(base)
		for _, p := range l {
			done[i].Go(func() { out <- exit{p.name, p.run(within)} })
		}
	}
	var failures []error
	failed := func(e exit, early bool) {
		switch {
		case e.err != nil:
			failures = append(failures, fmt.Errorf("%s: %w", e.name, e.err))
		case early:
			failures = append(failures, fmt.Errorf("%s: ended by itself", e.name))
		}
	}
	select {
	case <-ctx.Done():
	case e := <-out:
		failed(e, true)
	}
	for i := range layers {
		end[i]()
		ended := make(chan struct{})
		go func() { done[i].Wait(); close(ended) }()
		for waiting := true; waiting; {
			select {
			case e := <-out:
				failed(e, false)
			case <-ended:
				waiting = false
			}
		}
	}
	return errors.Join(failures...)
}
