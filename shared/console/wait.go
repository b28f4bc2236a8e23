package console

import "context"

// Wait gives what read gives or, once done is closed, context.Canceled: nothing
// ends a read of a pipe but its other end, so it is left to the end of the program.
func Wait[T any](done <-chan struct{}, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	got := make(chan result, 1)
	go func() {
		v, err := read()
		got <- result{v, err}
	}()
	select {
	case r := <-got:
		return r.value, r.err
	case <-done:
		var none T
		return none, context.Canceled
	}
}
