package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"fabric.center/cfc/shared/measure"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

type plan struct {
	rounds, size int
	each         time.Duration
	profile      string
	progress     io.Writer
}

// sample is one round of one contestant.
type sample struct {
	p50, p99 float64 // us, one call at a time
	rate     float64 // calls/s at 64 in flight
	cpu      float64 // us of the router's process a call, at 64 in flight
}

const inFlight = 64

var serializers = []string{"cbor", "msgpack"}

func (p plan) measure(ctx context.Context, out io.Writer) error {
	results := map[string][]sample{}
	for round := range p.rounds {
		for _, ser := range serializers {
			for _, who := range []string{"nexus", "relay"} {
				s, err := p.run(ctx, who, ser)
				if err != nil {
					return fmt.Errorf("%s/%s: %w", who, ser, err)
				}
				fmt.Fprintf(p.progress, "round %d %s/%s: %+.0f\n", round+1, who, ser, s)
				results[who+"/"+ser] = append(results[who+"/"+ser], s)
			}
		}
	}
	p.report(out, results)
	return nil
}

// run starts router and callee, measures, and stops them.
func (p plan) run(ctx context.Context, who, ser string) (s sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	router, url, err := start(ctx, "-role", who, "-profile", p.profile)
	if err != nil {
		return s, err
	}
	defer router.stop()
	callee, _, err := start(ctx, "-role", "callee", "-url", url, "-serializer", ser)
	if err != nil {
		return s, err
	}
	defer callee.stop()
	c, err := connect(ctx, url+wire.UserPath, ser)
	if err != nil {
		return s, err
	}
	defer c.Close()
	payload := strings.Repeat("x", p.size)
	call := func() error {
		res, err := c.Call(ctx, procedure, wamp.Dict{"timeout": 10000}, wamp.List{nodeID, payload}, nil, nil)
		if err == nil && (len(res.Arguments) != 1 || res.Arguments[0] != payload) {
			err = fmt.Errorf("wrong result %v", res.Arguments)
		}
		return err
	}
	if _, _, err = measure.Calls(p.each/3, inFlight, call); err != nil { // warm up
		return s, err
	}
	p50, p99, err := measure.Latency(p.each, call)
	if err != nil {
		return s, err
	}
	s.p50, s.p99 = us(p50), us(p99)
	cpu := router.cpu()
	n, took, err := measure.Calls(p.each, inFlight, call)
	s.rate = float64(n) / took.Seconds()
	s.cpu = float64((router.cpu() - cpu).Microseconds()) / float64(n)
	return s, err
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// child is one of the other processes.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// start runs this program in another role and waits for its first line.
func start(ctx context.Context, args ...string) (*child, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	c := &child{cmd: cmd, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		c.stop()
		return nil, "", fmt.Errorf("%v did not start: %w", args, err)
	}
	return c, strings.TrimSpace(line), nil
}

func (c *child) stop() {
	_ = c.stdin.Close()
	_ = c.cmd.Wait()
}

// cpu is the processor time that the process has used so far: utime and stime
// of proc(5), in ticks of 10 ms.
func (c *child) cpu() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks time.Duration
	for _, f := range fields[11:13] {
		n, _ := strconv.Atoi(f)
		ticks += time.Duration(n)
	}
	return ticks * 10 * time.Millisecond
}

// report prints the table.
func (p plan) report(out io.Writer, results map[string][]sample) {
	fmt.Fprintf(out, "%d rounds in turn of %v each measurement, payload %d bytes each way, %d calls in flight, %s.\n\n",
		p.rounds, p.each, p.size, inFlight, measure.Machine())
	fmt.Fprintln(out, "| contestant | p50 us (range) | p99 us (range) | calls/s at 64 (range) | router CPU us/call (range) |")
	fmt.Fprintln(out, "|---|---|---|---|---|")
	columns := []func(sample) float64{
		func(s sample) float64 { return s.p50 }, func(s sample) float64 { return s.p99 },
		func(s sample) float64 { return s.rate }, func(s sample) float64 { return s.cpu },
	}
	for _, ser := range serializers {
		for _, who := range []string{"nexus", "relay"} {
			row := []string{who + "/" + ser}
			for i, f := range columns {
				prec := 0
				if i == 3 {
					prec = 1
				}
				row = append(row, measure.Cell(each(results[who+"/"+ser], f), prec))
			}
			fmt.Fprintln(out, "| "+strings.Join(row, " | ")+" |")
		}
	}
	fmt.Fprintln(out, "\n| relay / nexus, within each round | p50 | p99 | calls/s at 64 | router CPU a call |")
	fmt.Fprintln(out, "|---|---|---|---|---|")
	for _, ser := range serializers {
		row := []string{ser}
		for _, f := range columns {
			row = append(row, measure.Cell(measure.Ratios(each(results["relay/"+ser], f), each(results["nexus/"+ser], f)), 2))
		}
		fmt.Fprintln(out, "| "+strings.Join(row, " | ")+" |")
	}
	fmt.Fprintln(out, "| target | ≤ 1.0 | | ≥ 1.15 | ≤ 0.65 |")
}

func each(rounds []sample, f func(sample) float64) []float64 {
	var v []float64
	for _, s := range rounds {
		v = append(v, f(s))
	}
	return v
}
