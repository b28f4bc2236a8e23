// Package profile tells what a Python process spends its time on, by looking at
// its stack from outside a hundred times a second: neither the process nor its
// code takes part in it, and it goes on as fast as before.
//
// The looking is done by py-spy (PyPI), a program that is started for each
// profile and writes a file for speedscope. What an operating system asks of
// somebody who reads another process' memory, it asks of py-spy: the same user
// and a kernel that allows it, or root.
package profile

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fabric.center/cfc/shared/cfcerr"
)

const (
	// Name is the profiler's id.
	Name = "py-spy"

	rate      = 100              // samples a second
	overtime  = 20 * time.Second // what starting and writing may take beyond the profile itself
	mostBytes = 8 << 20          // of a profile
	rows      = 40               // of the text
)

// Sampler starts py-spy.
type Sampler struct {
	// Beside are directories that are looked in before PATH, such as the one
	// that the crossbar command is in.
	Beside []string
}

// Result is what was seen.
type Result struct {
	Samples    int
	Text       string // a table of functions
	Speedscope []byte // the file that speedscope opens, JSON
}

// Beside makes a Sampler that looks beside a program, which may be a link.
func Beside(program string) Sampler {
	path, err := exec.LookPath(program)
	if err != nil {
		return Sampler{}
	}
	s := Sampler{Beside: []string{filepath.Dir(path)}}
	if real, err := filepath.EvalSymlinks(path); err == nil && filepath.Dir(real) != s.Beside[0] {
		s.Beside = append(s.Beside, filepath.Dir(real))
	}
	return s
}

func unavailable(reason string) *cfcerr.Error {
	return cfcerr.New(cfcerr.Unavailable, "cannot profile: %s: %s", Name, reason).With("part", Name).With("reason", reason)
}

// Find is py-spy's path.
func (s Sampler) Find() (string, error) {
	for _, dir := range s.Beside {
		path := filepath.Join(dir, Name)
		if i, err := os.Stat(path); err == nil && i.Mode().IsRegular() && i.Mode().Perm()&0o111 != 0 {
			return path, nil
		}
	}
	path, err := exec.LookPath(Name)
	if err != nil {
		return "", unavailable("it is not installed; pip install py-spy beside the node puts it there")
	}
	return path, nil
}

// Version is what py-spy says of itself.
func (s Sampler) Version(ctx context.Context) (string, error) {
	path, err := s.Find()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", unavailable("it does not run: " + err.Error())
	}
	return strings.TrimSpace(strings.TrimPrefix(string(out), Name)), nil
}

// Sample looks at a process for so long.
func (s Sampler) Sample(ctx context.Context, pid int, runtime time.Duration) (Result, error) {
	path, err := s.Find()
	if err != nil {
		return Result{}, err
	}
	dir, err := os.MkdirTemp("", "cfc-profile-")
	if err != nil {
		return Result{}, fmt.Errorf("cannot profile: %w", err)
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "profile.json")
	ctx, cancel := context.WithTimeout(ctx, runtime+overtime)
	defer cancel()
	seconds := strconv.Itoa(max(1, int(runtime.Round(time.Second)/time.Second)))
	cmd := exec.CommandContext(ctx, path, "record", "--pid", strconv.Itoa(pid), "--duration", seconds, "--rate", strconv.Itoa(rate),
		"--format", "speedscope", "--output", out, "--threads", "--idle", "--nonblocking")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	said := &beginning{}
	cmd.Stderr = said
	if err := cmd.Run(); err != nil {
		return Result{}, failed(ctx, err, said.String())
	}
	return read(out)
}

// beginning keeps the first of what is written to it: py-spy goes on telling
// what disturbs it for as long as it samples.
type beginning struct{ bytes.Buffer }

const mostSaid = 8 << 10

func (b *beginning) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), mostSaid-min(b.Len(), mostSaid))])
	return len(p), nil
}

// failed says why py-spy did not make it.
func failed(ctx context.Context, err error, said string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("cannot profile: %w", context.Cause(ctx))
	}
	text := strings.TrimSpace(said)
	if i := strings.LastIndex(text, "Error: "); i >= 0 {
		text = text[i+len("Error: "):]
	}
	text, _, _ = strings.Cut(text, "\n")
	switch {
	case strings.Contains(strings.ToLower(said), "permission denied"), strings.Contains(said, "not permitted"):
		return unavailable("the host does not let it read the process: " + text)
	case text == "":
		text = err.Error()
	}
	return unavailable(text)
}

// file is what of a speedscope file is read here.
type file struct {
	Shared struct {
		Frames []frame `json:"frames"`
	} `json:"shared"`
	Profiles []struct {
		Samples [][]int   `json:"samples"`
		Weights []float64 `json:"weights"`
	} `json:"profiles"`
}

type frame struct {
	Name string `json:"name"`
	File string `json:"file"`
	Line int    `json:"line"`
}

func read(path string) (Result, error) {
	i, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Result{}, unavailable("it has seen nothing: the process has ended, or runs no Python")
	}
	if err != nil {
		return Result{}, fmt.Errorf("cannot read the profile: %w", err)
	}
	if i.Size() > mostBytes {
		return Result{}, cfcerr.New(cfcerr.LimitExceeded, "cannot keep the profile: it has %d bytes, at most %d are kept; take a shorter one", i.Size(), mostBytes).With("limit", mostBytes)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Result{}, fmt.Errorf("cannot read the profile: %w", err)
	}
	return parse(b)
}

func parse(b []byte) (Result, error) {
	r := Result{Speedscope: b}
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return Result{}, fmt.Errorf("cannot read the profile: %w", err)
	}
	var err error
	r.Samples, r.Text, err = f.table()
	return r, err
}

// table adds up, for each function, the samples in which it was at work itself
// and those in which it or what it called was.
func (f *file) table() (samples int, text string, err error) {
	type count struct{ own, total int }
	counts := map[int]*count{}
	for _, p := range f.Profiles {
		for _, stack := range p.Samples {
			samples++
			for i, at := range stack {
				if at < 0 || at >= len(f.Shared.Frames) {
					return 0, "", fmt.Errorf("cannot read the profile: a sample names frame %d of %d", at, len(f.Shared.Frames))
				}
				if counts[at] == nil {
					counts[at] = &count{}
				}
				if !slices.Contains(stack[:i], at) {
					counts[at].total++
				}
				if i == len(stack)-1 {
					counts[at].own++
				}
			}
		}
	}
	frames := make([]int, 0, len(counts))
	for at := range counts {
		frames = append(frames, at)
	}
	slices.SortFunc(frames, func(a, b int) int {
		return cmp.Or(cmp.Compare(counts[b].own, counts[a].own), cmp.Compare(counts[b].total, counts[a].total), cmp.Compare(a, b))
	})
	var t strings.Builder
	fmt.Fprintf(&t, "%7s %7s  function\n", "own", "total")
	for _, at := range frames[:min(rows, len(frames))] {
		c, fr := counts[at], f.Shared.Frames[at]
		fmt.Fprintf(&t, "%6.1f%% %6.1f%%  %s (%s:%d)\n", share(c.own, samples), share(c.total, samples), fr.Name, fr.File, fr.Line)
	}
	return samples, t.String(), nil
}

func share(part, of int) float64 { return 100 * float64(part) / float64(max(of, 1)) }
