// Command box is what the containers of the tests run: one static program with
// a word for each thing that a test needs a container to do.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if filepath.Base(os.Args[0]) == "kill" {
		kill(os.Args[1:])
		return
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	word, args := "wait", os.Args[1:]
	if len(args) > 0 {
		word, args = args[0], args[1:]
	}
	switch word {
	case "wait": // until it is told to end
		<-stop
	case "deaf": // to SIGTERM
		signal.Ignore(syscall.SIGTERM)
		select {}
	case "exit": // with this code
		os.Exit(number(args))
	case "print": // this many numbered lines, then wait
		w := bufio.NewWriter(os.Stdout)
		for i := range number(args) {
			fmt.Fprintln(w, "line", i)
		}
		_ = w.Flush()
		<-stop
	case "tick": // a numbered line every millisecond
		for i := 0; ; i++ {
			fmt.Println("line", i)
			time.Sleep(time.Millisecond)
		}
	case "flood": // this many MiB of lines, then wait
		line := []byte(strings.Repeat("x", 1023) + "\n")
		w := bufio.NewWriterSize(os.Stdout, 1<<20)
		for range number(args) << 10 {
			_, _ = w.Write(line)
		}
		_ = w.Flush()
		<-stop
	case "say": // the words, the first half of them to standard error
		fmt.Fprintln(os.Stderr, strings.Join(args[:len(args)/2], " "))
		fmt.Println(strings.Join(args[len(args)/2:], " "))
	case "cat":
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "env": // the value of a variable
		fmt.Println(os.Getenv(args[0]))
	case "size": // of the terminal, at each change of it
		winch := make(chan os.Signal, 8)
		signal.Notify(winch, syscall.SIGWINCH)
		for {
			fmt.Println(window())
			select {
			case <-winch:
			case <-stop:
				return
			}
		}
	case "serve": // HTTP on port 8080
		go func() { <-stop; os.Exit(0) }()
		_ = http.ListenAndServe(":8080", nil)
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "box: no such word:", word)
		os.Exit(2)
	}
}

// kill is the program of that name, where an image has box as that: -SIGNAL PID.
func kill(args []string) {
	signal, pid := -number(args[:1]), number(args[1:])
	if err := syscall.Kill(pid, syscall.Signal(signal)); err != nil {
		fmt.Fprintln(os.Stderr, "kill:", err)
		os.Exit(1)
	}
}

func number(args []string) int {
	if len(args) == 0 {
		return 0
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, "box:", err)
		os.Exit(2)
	}
	return n
}
