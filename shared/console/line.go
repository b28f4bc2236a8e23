package console

import (
	"bufio"
	"errors"
	"io"
)

// longestLine is more than any token has.
const longestLine = 1024

// FirstLine reads one line, which need not end; what is longer is cut.
func FirstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, longestLine)).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return line, err
}
