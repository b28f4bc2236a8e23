package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// window is columns and rows of the terminal on standard output.
func window() string {
	w, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return "no terminal"
	}
	return fmt.Sprintf("%d %d", w.Col, w.Row)
}
