package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	ours, theirs := &contestant{name: "cfc", memory: map[string][]int{"agent": {os.Getpid()}}}, &contestant{name: "crossbar"}
	rounds := map[*contestant][]sample{
		ours:   {{p50: 1, p99: 2, rate: 300}, {p50: 2, p99: 3, rate: 200}, {p50: 1, p99: 2, rate: 400}},
		theirs: {{p50: 4, p99: 8, rate: 100}, {p50: 4, p99: 9, rate: 100}, {p50: 2, p99: 8, rate: 100}},
	}
	var out bytes.Buffer
	report(&out, ours, theirs, rounds)
	if err := memory(&out, ours, theirs); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"| contestant | p50 ms (range) | p99 ms (range) | calls/s at 16 (range) |",
		"| crossbar | 4.00 (2.00-4.00) | 8.00 (8.00-9.00) | 100 (100-100) |",
		"| cfc | 1.00 (1.00-2.00) | 2.00 (2.00-3.00) | 300 (200-400) |",
		"| cfc / crossbar, within each round | 0.50 (0.25-0.50) | 0.25 (0.25-0.33) | 3.00 (2.00-4.00) |",
		"| aim | ≤ 0.5 | | ≥ 2 |",
		"| agent | 1 | ",
		"| aim for the agent | | ≤ 40 | |",
	} {
		if !strings.Contains(out.String(), "\n"+line) && !strings.HasPrefix(out.String(), line) {
			t.Errorf("no line %q in\n%s", line, out.String())
		}
	}
	ours.memory["agent"] = []int{-1}
	if err := memory(&out, ours); err == nil {
		t.Error("the memory of a process that is not there")
	}
}

func TestWhatFails(t *testing.T) {
	if err := run(t.Context(), []string{"-nonsense"}, &bytes.Buffer{}, &bytes.Buffer{}); err == nil {
		t.Error("an unknown flag is taken")
	}
}
