// Package enginetest runs a real Docker Engine and a real registry for tests:
// Debian's packages docker.io and docker-registry, each with its own place,
// socket and port, so that they share nothing with what else the host runs.
// Nothing is fetched: images are built from scratch out of a program of our own
// (see box).
//
// The engine has no default network, which would take a bridge and rules of the
// host's; Network makes one where a test publishes ports. It wants root.
package enginetest

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/shared/e2e/fleet"
)

// startWithin is enough for an engine on a busy machine.
const startWithin = 60 * time.Second

// Engine is a Docker Engine of a test.
type Engine struct {
	Home   string
	Socket string

	tb   testing.TB
	args []string
	proc *fleet.Proc
	http *http.Client
}

// Options of an engine. The zero value is good.
type Options struct {
	// Data is where images and containers are kept; below Home if empty.
	Data string
	// Args are further arguments of dockerd.
	Args []string
}

// Start starts an engine that ends with the test.
func Start(tb testing.TB, o Options) *Engine {
	tb.Helper()
	home, err := os.MkdirTemp("", "cfc-engine") // a socket's path is short
	if err != nil {
		tb.Fatal(err)
	}
	e := &Engine{Home: home, Socket: filepath.Join(home, "docker.sock"), tb: tb}
	if o.Data == "" {
		o.Data = filepath.Join(home, "data")
	}
	e.args = append([]string{"--data-root", o.Data, "--exec-root", filepath.Join(home, "exec"), "--pidfile", filepath.Join(home, "docker.pid"),
		"--host", "unix://" + e.Socket, "--bridge", "none", "--iptables=false", "--ip-forward=false", "--ip-masq=false",
		"--max-concurrent-downloads", "2", "--shutdown-timeout", "2"}, o.Args...)
	e.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", e.Socket)
	}}}
	tb.Cleanup(e.end)
	e.Restart()
	return e
}

// Restart starts an engine that was stopped or killed.
func (e *Engine) Restart() {
	e.tb.Helper()
	path, err := exec.LookPath("dockerd")
	if err != nil {
		e.tb.Fatalf("no Docker Engine: run shared/e2e/setup.sh docker, or leave it out by CFC_WITHOUT=docker: %v", err)
	}
	if e.proc, err = fleet.Start(fleet.Command{Name: "dockerd", Path: path, Args: e.args, Home: e.Home}); err != nil {
		e.tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(e.tb.Context(), startWithin)
	defer cancel()
	err = fleet.Poll(ctx, func() error {
		if !e.proc.Running() {
			return nil
		}
		_, err := e.call(ctx, http.MethodGet, "/_ping", nil, "")
		return err
	})
	if err != nil || !e.proc.Running() {
		e.tb.Fatalf("the engine does not start: %v\n%s", err, e.proc.Tail(20))
	}
}

// Kill is kill -9 of the engine, which takes its containerd along. Where nobody
// reaps orphans the next engine would take that for alive, so its pid is forgotten.
func (e *Engine) Kill() {
	e.tb.Helper()
	if err := e.proc.Kill(); err != nil {
		e.tb.Fatal(err)
	}
	if err := os.Remove(filepath.Join(e.Home, "exec", "containerd", "containerd.pid")); err != nil {
		e.tb.Fatal(err)
	}
}

// Stop ends the engine in order, and its containers with it.
func (e *Engine) Stop() {
	e.tb.Helper()
	if err := e.proc.Stop(); err != nil {
		e.tb.Fatal(err)
	}
}

// Freeze stops the engine's process and gives what lets it go on.
func (e *Engine) Freeze() (thaw func()) {
	e.tb.Helper()
	if err := e.proc.Signal(syscall.SIGSTOP); err != nil {
		e.tb.Fatal(err)
	}
	return func() { _ = e.proc.Signal(syscall.SIGCONT) }
}

func (e *Engine) end() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.tb.Context()), time.Minute)
	defer cancel()
	if e.proc != nil {
		_ = e.proc.Signal(syscall.SIGCONT)
		if e.proc.Running() {
			e.removeAll(ctx)
		}
		if err := e.proc.Stop(); err != nil {
			e.tb.Error(err)
		}
	}
	e.http.CloseIdleConnections()
	if _, err := fleet.Reap(ctx, e.Home, 5*time.Second); err != nil { // a containerd that a kill left
		e.tb.Error(err)
	}
	unmount(e.Home)
	if err := os.RemoveAll(e.Home); err != nil {
		e.tb.Errorf("the engine left something behind: %v", err)
	}
}

// removeAll ends containers at once, which the engine's end would give time to.
func (e *Engine) removeAll(ctx context.Context) {
	b, err := e.call(ctx, http.MethodGet, "/containers/json?all=1", nil, "")
	var list []struct{ ID string }
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil {
		e.tb.Error(err)
	}
	var wg sync.WaitGroup
	turns := make(chan struct{}, 8)
	for _, c := range list {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			_, _ = e.call(ctx, http.MethodDelete, "/containers/"+c.ID+"?force=1&v=1", nil, "") // the engine's end is next
		})
	}
	wg.Wait()
}

// unmount takes away what killed engines left mounted below dir.
func unmount(dir string) {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	lines := strings.Split(string(b), "\n")
	for i := range lines { // the innermost first
		if f := strings.Fields(lines[len(lines)-1-i]); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			_ = syscall.Unmount(f[1], syscall.MNT_DETACH)
		}
	}
}

func (e *Engine) call(ctx context.Context, method, path string, body io.Reader, kind string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, body)
	if err != nil {
		return nil, err
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	r.Header.Set("X-Registry-Auth", base64.URLEncoding.EncodeToString([]byte("{}")))
	resp, err := e.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode >= http.StatusBadRequest || bytes.Contains(b, []byte(`"errorDetail"`))) {
		err = fmt.Errorf("the engine answers %s %s: %s %s", method, path, resp.Status, b)
	}
	return b, err
}

// Do asks the engine itself, past the product, with a body in JSON or none, and
// reads the answer into out where that is not nil.
func (e *Engine) Do(method, path string, body, out any) {
	e.tb.Helper()
	if err := e.Try(method, path, body, out); err != nil {
		e.tb.Fatal(err)
	}
}

// Try is Do for what may fail.
func (e *Engine) Try(method, path string, body, out any) error {
	var r io.Reader
	kind := ""
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r, kind = bytes.NewReader(b), "application/json"
	}
	b, err := e.call(e.tb.Context(), method, path, r, kind)
	if err == nil && out != nil {
		err = json.Unmarshal(b, out)
	}
	return err
}

// Told is how often the engine itself has told each action of a container.
func (e *Engine) Told(id string) map[string]int {
	e.tb.Helper()
	path := "/events?since=0&until=" + strconv.FormatInt(time.Now().Unix()+1, 10) + "&filters=" + url.QueryEscape(`{"container":["`+id+`"]}`)
	b, err := e.call(e.tb.Context(), http.MethodGet, path, nil, "")
	if err != nil {
		e.tb.Fatal(err)
	}
	told := map[string]int{}
	for in := json.NewDecoder(bytes.NewReader(b)); ; {
		var event struct{ Action string }
		if err := in.Decode(&event); err == io.EOF {
			return told
		} else if err != nil {
			e.tb.Fatal(err)
		}
		told[event.Action]++
	}
}

// File is a file of an image.
type File struct {
	Name string
	Data []byte
}

// Build makes an image that runs box, with each file as a further layer, and
// lines of a Dockerfile after that.
func (e *Engine) Build(name string, files []File, lines ...string) {
	e.tb.Helper()
	program, err := Box()
	if err != nil {
		e.tb.Fatal(err)
	}
	recipe := "FROM scratch\nCOPY box /box\nENTRYPOINT [\"/box\"]\n"
	for _, f := range files {
		recipe += "COPY " + f.Name + " /" + f.Name + "\n"
	}
	recipe += strings.Join(lines, "\n") + "\n"
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range append(files, File{"box", program}, File{"Dockerfile", []byte(recipe)}) {
		if err := w.WriteHeader(&tar.Header{Name: f.Name, Mode: 0o755, Size: int64(len(f.Data))}); err != nil {
			e.tb.Fatal(err)
		}
		if _, err := w.Write(f.Data); err != nil {
			e.tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		e.tb.Fatal(err)
	}
	if _, err := e.call(e.tb.Context(), http.MethodPost, "/build?t="+url.QueryEscape(name), &b, "application/x-tar"); err != nil {
		e.tb.Fatal(err)
	}
}

// Push sends an image to its registry and removes it here.
func (e *Engine) Push(name string) {
	e.tb.Helper()
	repository, tag := name[:strings.LastIndex(name, ":")], name[strings.LastIndex(name, ":")+1:]
	e.Do(http.MethodPost, "/images/"+repository+"/push?tag="+tag, nil, nil)
	e.Do(http.MethodDelete, "/images/"+name, nil, nil)
}

// Tag gives an image one more name.
func (e *Engine) Tag(from, to string) {
	e.tb.Helper()
	i := strings.LastIndex(to, ":")
	e.Do(http.MethodPost, "/images/"+from+"/tag?repo="+url.QueryEscape(to[:i])+"&tag="+to[i+1:], nil, nil)
}

// Network makes a network on which ports can be published.
func (e *Engine) Network(name string) {
	e.tb.Helper()
	var err error
	for i := range 64 { // another test may have the range
		subnet := "10.213." + strconv.Itoa((os.Getpid()+i)%256) + ".0/24"
		err = e.Try(http.MethodPost, "/networks/create", map[string]any{"Name": name, "Driver": "bridge",
			"IPAM": map[string]any{"Config": []map[string]string{{"Subnet": subnet}}}}, nil)
		if err == nil {
			e.tb.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(e.tb.Context()), time.Minute)
				defer cancel()
				if e.proc.Running() {
					e.removeAll(ctx)
					_, _ = e.call(ctx, http.MethodDelete, "/networks/"+name, nil, "")
				}
			})
			return
		}
	}
	e.tb.Fatal(err)
}

var box = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "cfc-box")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "box")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "fabric.center/cfc/shared/e2e/enginetest/box")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cannot build box: %w: %s", err, text)
	}
	return os.ReadFile(out)
})

// Box is the program that images run, built once.
func Box() ([]byte, error) { return box() }
