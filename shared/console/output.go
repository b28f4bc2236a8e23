package console

import (
	"errors"
	"fmt"
	"io"
)

// Output remembers that it could not be written, so that who prints a line here
// and a line there need not look each time. (A program that has told a full disk
// what it was asked for has failed.)
type Output struct {
	w   io.Writer
	err error
}

// NewOutput is for one goroutine, as a program's standard output is.
func NewOutput(w io.Writer) *Output { return &Output{w: w} }

// Write implements io.Writer.
func (o *Output) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

// Failed is that the output could not be written, where that is all that went
// wrong: err is how the program has gone.
func (o *Output) Failed(err error) error {
	if o.err == nil || err != nil && !errors.Is(o.err, err) {
		return nil
	}
	return fmt.Errorf("cannot write the output: %w", o.err)
}
