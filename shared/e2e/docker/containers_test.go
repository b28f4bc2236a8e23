package docker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/enginetest"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/measure"
	"fabric.center/cfc/shared/session"
	"github.com/gammazero/nexus/v3/wamp"
)

// TestAPullOnItsWholeWay: its progress reaches the caller, its events the realm,
// and a caller who cancels stops the engine.
func TestAPullOnItsWholeWay(t *testing.T) {
	s := newStage(t)
	r := enginetest.StartRegistry(t)
	name := r.Addr + "/app:1"
	s.engine.Build(name, []enginetest.File{{Name: "layer", Data: []byte(strings.Repeat("0123456789abcdef", 1<<17))}})
	s.engine.Push(name)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	owner, err := s.Join(ctx, fleet.Realm)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	var mu sync.Mutex
	finished := map[string]wamp.Dict{}
	_, err = owner.Subscribe(ctx, catalog.OnDockerImageUpdateFinished.URI(), "", func(e *wamp.Event) {
		mu.Lock()
		defer mu.Unlock()
		image, _ := wamp.AsString(e.Arguments[1])
		finished[image], _ = wamp.AsDict(e.Arguments[2])
	})
	if err != nil {
		t.Fatal(err)
	}
	var shares []float64
	result, err := owner.Call(ctx, catalog.DockerUpdateImage.URI(), wamp.List{fleet.NodeID, name}, nil, session.CallOptions{Progress: func(r *wamp.Result) {
		d, _ := wamp.AsDict(r.Arguments[0])
		share, _ := wamp.AsFloat64(d["share"])
		shares = append(shares, share)
	}})
	if err != nil || len(shares) < 1 || shares[len(shares)-1] != 1 {
		t.Fatalf("%v, progress %v", err, shares)
	}
	if d, _ := wamp.AsDict(result.Arguments[0]); d["changed"] != true || d["old_digest"] != nil || d["digest"] == nil {
		t.Errorf("result %v", d)
	}
	if err := fleet.Poll(ctx, func() error {
		mu.Lock()
		defer mu.Unlock()
		if finished[name]["changed"] != true {
			return fmt.Errorf("finished: %v", finished)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	s.engine.Do(http.MethodDelete, "/images/"+name, nil, nil)
	words, err := s.cfc("docker", "start-docker-container", "n1", "x1", "{image: box:1, privileged: true}").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != cfcerr.DeniedByHost.Exit() || !strings.Contains(string(words), "privileged") {
		t.Errorf("privileged: %v, %s", err, words)
	}
	if words, err := s.cfc("docker", "start-docker-container", "n1", "web", "{image: box:1}").CombinedOutput(); err != nil || !strings.Contains(string(words), "running") {
		t.Errorf("start: %v, %s", err, words)
	}
	for list, want := range map[string]string{"ps": "web", "images": "box:1"} {
		words, err := s.cfc("docker", list, "n1").CombinedOutput()
		if lines := strings.Split(string(words), "\n"); err != nil || len(lines) < 2 || !strings.HasPrefix(lines[1], want+" ") {
			t.Errorf("%s: %v\n%s", list, err, words)
		}
	}
}

// BenchmarkGetContainers is the list of 200 containers through relay and agent
// against the same call on the engine's socket, in turn: milliseconds at p50 and
// p99, and calls a second with 16 in flight.
func BenchmarkGetContainers(b *testing.B) {
	const containers, rounds, each, inFlight = 200, 7, 2 * time.Second, 16
	s := newStage(b)
	for i := range containers {
		s.engine.Do(http.MethodPost, fmt.Sprintf("/containers/create?name=c%03d", i), map[string]any{"Image": "box:1"}, nil)
	}
	owner, err := s.Join(b.Context(), fleet.Realm)
	if err != nil {
		b.Fatal(err)
	}
	defer owner.Close()
	through := func() error {
		r, err := owner.Call(b.Context(), catalog.DockerGetContainers.URI(), wamp.List{fleet.NodeID}, nil, session.CallOptions{Timeout: 30 * time.Second})
		if err == nil {
			if l, _ := wamp.AsList(r.Arguments[0]); len(l) != containers {
				err = fmt.Errorf("%d containers", len(l))
			}
		}
		return err
	}
	direct := func() error {
		var list []struct{ ID string }
		err := s.engine.Try(http.MethodGet, "/containers/json?all=1", nil, &list)
		if err == nil && len(list) != containers {
			err = fmt.Errorf("%d containers", len(list))
		}
		return err
	}
	figures := map[string][]float64{}
	for range rounds {
		p50 := map[string]float64{}
		for name, call := range map[string]func() error{"cfc": through, "socket": direct} {
			median, p99, err := measure.Latency(each, call)
			if err != nil {
				b.Fatal(err)
			}
			p50[name] = float64(median) / 1e6
			figures["p99-ms-"+name] = append(figures["p99-ms-"+name], float64(p99)/1e6)
			figures["p50-ms-"+name] = append(figures["p50-ms-"+name], p50[name])
			n, took, err := measure.Calls(each, inFlight, call)
			if err != nil {
				b.Fatal(err)
			}
			figures["calls/s-"+name] = append(figures["calls/s-"+name], float64(n)/took.Seconds())
		}
		figures["p50-ms-more"] = append(figures["p50-ms-more"], p50["cfc"]-p50["socket"])
	}
	b.ReportMetric(0, "ns/op")
	for name, rounds := range figures {
		b.ReportMetric(median(rounds), name)
	}
}
