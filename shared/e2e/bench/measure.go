package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/measure"
)

// inFlight is how many calls stand out at once where calls a second count.
const inFlight = 16

// aims of a call on the whole way, as ratios to Crossbar.io's master, and of
// the agent's memory.
const (
	aimLatency = "≤ 0.5"
	aimRate    = "≥ 2"
	aimMemory  = 40 // MB
)

type plan struct {
	rounds int
	each   time.Duration
}

// sample is one round of one contestant.
type sample struct {
	p50, p99 float64 // ms, one call at a time
	rate     float64 // calls/s
}

var columns = []struct {
	name   string
	digits int
	value  func(sample) float64
}{
	{"p50 ms", 2, func(s sample) float64 { return s.p50 }},
	{"p99 ms", 2, func(s sample) float64 { return s.p99 }},
	{"calls/s at 16", 0, func(s sample) float64 { return s.rate }},
}

func (p plan) measure(ctx context.Context, ours, theirs *contestant, out, progress io.Writer) error {
	rounds := map[*contestant][]sample{}
	order := []*contestant{theirs, ours}
	for round := range p.rounds {
		for _, c := range order {
			s, err := p.round(ctx, c)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Fprintf(progress, "round %d %s: %+.2f\n", round+1, c.name, s)
			rounds[c] = append(rounds[c], s)
		}
		slices.Reverse(order)
	}
	fmt.Fprintf(out, "%d rounds in turn of %v each measurement, %s, %d calls in flight, %s.\n\n", p.rounds, p.each, serializer, inFlight, measure.Machine())
	report(out, ours, theirs, rounds)
	return memory(out, ours, theirs)
}

func (p plan) round(ctx context.Context, c *contestant) (s sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute+3*p.each)
	defer cancel()
	call := func() error { return c.call(ctx) }
	if _, _, err := measure.Calls(p.each/3, inFlight, call); err != nil { // warm up
		return s, err
	}
	p50, p99, err := measure.Latency(p.each, call)
	if err != nil {
		return s, err
	}
	n, took, err := measure.Calls(p.each, inFlight, call)
	return sample{p50: ms(p50), p99: ms(p99), rate: float64(n) / took.Seconds()}, err
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// report prints the tables of what calls take.
func report(out io.Writer, ours, theirs *contestant, rounds map[*contestant][]sample) {
	head := "| contestant |"
	for _, c := range columns {
		head += " " + c.name + " (range) |"
	}
	fmt.Fprintf(out, "%s\n|%s\n", head, strings.Repeat("---|", 1+len(columns)))
	for _, who := range []*contestant{theirs, ours} {
		fmt.Fprintf(out, "| %s |", who.name)
		for _, c := range columns {
			fmt.Fprintf(out, " %s |", measure.Cell(each(rounds[who], c.value), c.digits))
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "| %s / %s, within each round |", ours.name, theirs.name)
	for _, c := range columns {
		fmt.Fprintf(out, " %s |", measure.Cell(measure.Ratios(each(rounds[ours], c.value), each(rounds[theirs], c.value)), 2))
	}
	fmt.Fprintf(out, "\n| aim | %s | | %s |\n", aimLatency, aimRate)
}

func each(rounds []sample, value func(sample) float64) []float64 {
	var v []float64
	for _, s := range rounds {
		v = append(v, value(s))
	}
	return v
}

// memory prints what the processes take after the load.
func memory(out io.Writer, contestants ...*contestant) error {
	fmt.Fprint(out, "\n| after the load | processes | RSS MB | of it, of its own |\n|---|---|---|---|\n")
	for _, c := range contestants {
		for _, what := range []string{"agent", "relay", "Crossbar.io's master"} {
			pids := c.memory[what]
			if len(pids) == 0 {
				continue
			}
			var rss, own float64
			for _, pid := range pids {
				m, err := fleet.Memory(pid)
				if err != nil {
					return err
				}
				rss, own = rss+m.RSS, own+m.Anonymous
			}
			fmt.Fprintf(out, "| %s | %d | %.0f | %.0f |\n", what, len(pids), rss, own)
		}
	}
	fmt.Fprintf(out, "| aim for the agent | | ≤ %d | |\n", aimMemory)
	return nil
}
