package console

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestOutput(t *testing.T) {
	full, other := errors.New("no space left"), errors.New("no such node")
	for _, c := range []struct {
		name        string
		fails, went error
		want        string
	}{
		{"all is well", nil, nil, "<nil>"},
		{"the work failed", nil, other, "<nil>"},
		{"nobody looked", full, nil, "cannot write the output: no space left"},
		{"somebody did", full, full, "cannot write the output: no space left"},
		{"both failed", full, other, "<nil>"},
	} {
		out := NewOutput(failing{c.fails})
		fmt.Fprintln(out, "a line")
		fmt.Fprintln(out, "and another")
		if got := fmt.Sprint(out.Failed(c.went)); got != c.want {
			t.Errorf("%s: %s, expected %s", c.name, got, c.want)
		}
	}
}

// failing fails with its error, once, where it has one.
type failing struct{ error }

func (f failing) Write(b []byte) (int, error) {
	if f.error == nil {
		return io.Discard.Write(b)
	}
	return 0, f.error
}
