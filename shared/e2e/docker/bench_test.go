package docker

import (
	"io"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// BenchmarkExecStream is the output of a command in a container, through relay
// and agent by `cfc docker exec` against `docker exec` straight on the engine's
// socket: medians of rounds in turn, and of their ratios.
func BenchmarkExecStream(b *testing.B) {
	const mib, rounds = 256, 7
	s := newStage(b)
	s.box("web", "wait")
	words := []string{"web", "/box", "flood", "256"}
	var ours, theirs, ratios []float64
	for range rounds {
		direct := throughput(b, exec.Command("docker", append([]string{"--host", "unix://" + s.engine.Socket, "exec"}, words...)...), mib)
		through := throughput(b, s.cfc(append([]string{"docker", "exec", "n1"}, words...)...), mib)
		ours, theirs, ratios = append(ours, through), append(theirs, direct), append(ratios, through/direct)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ours), "MiB/s")
	b.ReportMetric(median(theirs), "MiB/s-docker")
	b.ReportMetric(median(ratios), "cfc/docker")
	b.Logf("MiB/s: cfc %.0f, docker exec %.0f", ours, theirs)
}

// throughput is how many MiB a second a command writes, until it has written mib.
func throughput(b *testing.B, cmd *exec.Cmd, mib int64) float64 {
	b.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	began := time.Now()
	if _, err := io.CopyN(io.Discard, out, mib<<20); err != nil {
		b.Fatal(err)
	}
	return float64(mib) / time.Since(began).Seconds()
}

func median(x []float64) float64 {
	return slices.Sorted(slices.Values(x))[len(x)/2]
}
