package engine

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	cerrdefs "github.com/containerd/errdefs"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reason is why the engine is not available.
func reason(t *testing.T, err error) string {
	t.Helper()
	var e *cfcerr.Error
	if !errors.As(err, &e) || e.Kind != cfcerr.Unavailable || e.Details["part"] != "docker" {
		t.Fatalf("expected that Docker is unavailable, got %v", err)
	}
	return e.Details["reason"].(string)
}

func TestNoEngine(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale.sock")
	ln, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"none configured": {Config{}, "docker.socket"},
		"no socket":       {Config{Socket: filepath.Join(dir, "none.sock")}, "none.sock"},
		"nobody listens":  {Config{Socket: stale}, "stale.sock"},
		"no port open":    {Config{Host: "tcp://127.0.0.1:1"}, "tcp://127.0.0.1:1"},
		"no such file":    {Config{Host: "tcp://127.0.0.1:1", CA: filepath.Join(dir, "ca.pem")}, "ca.pem"},
		"no certificate":  {Config{Host: "tcp://127.0.0.1:1", CA: stale}, "stale.sock"},
		"no key":          {Config{Host: "tcp://127.0.0.1:1", Cert: filepath.Join(dir, "c.pem"), Key: "k"}, "c.pem"},
	} {
		if _, err := New(c.cfg).Status(t.Context()); !strings.Contains(reason(t, err), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheEnvironmentIsNotAsked(t *testing.T) {
	t.Setenv("DOCKER_HOST", "tcp://127.0.0.1:2")
	t.Setenv("DOCKER_API_VERSION", "1.24")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:3")
	e := New(Config{Host: "tcp://127.0.0.1:1"})
	if _, err := e.Ping(t.Context()); !strings.Contains(reason(t, err), "127.0.0.1:1") {
		t.Error(err)
	}
	api, err := e.dial()
	if err != nil || api.ClientVersion() == "1.24" || api.DaemonHost() != "tcp://127.0.0.1:1" {
		t.Errorf("%v, %v", api, err)
	}
}

func TestAnswersHaveTheirKinds(t *testing.T) {
	for _, c := range []struct {
		err  error
		want cfcerr.Kind
	}{
		{cerrdefs.ErrNotFound.WithMessage("No such container: x"), cfcerr.NoSuchObject},
		{cerrdefs.ErrConflict.WithMessage("The container name \"/x\" is already in use by container"), cfcerr.AlreadyExists},
		{cerrdefs.ErrConflict.WithMessage("unable to remove repository reference (must force) - container 1 is using its referenced image 2"), cfcerr.NotEmpty},
		{cerrdefs.ErrConflict.WithMessage("Container x is not running"), cfcerr.NotRunning},
		{cerrdefs.ErrInvalidArgument.WithMessage("invalid port specification"), cfcerr.InvalidConfiguration},
		{cerrdefs.ErrNotImplemented.WithMessage("no"), cfcerr.NotSupported},
		{cerrdefs.ErrUnavailable.WithMessage("swarm"), cfcerr.Unavailable},
		{cerrdefs.ErrInternal.WithMessage("write /x: no space left on device"), cfcerr.Unavailable},
		{cerrdefs.ErrInvalidArgument.WithMessage("OCI runtime create failed: no such file"), cfcerr.CannotStart},
		{cerrdefs.ErrInternal.WithMessage("OCI runtime create failed"), cfcerr.CannotStart},
		{cfcerr.New(cfcerr.DeniedByHost, "cannot"), cfcerr.DeniedByHost},
		{nil, 0},
	} {
		if err := New(Config{}).Failed(t.Context(), "do it", c.err); cfcerr.KindOf(err) != c.want {
			t.Errorf("%v became %v", c.err, err)
		}
	}
}

func TestASlowEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Config{Socket: "x"})
		slow := func(ctx context.Context) error {
			ctx, cancel := patiently(ctx)
			defer cancel()
			<-ctx.Done()
			return e.Failed(ctx, "do it", ctx.Err())
		}
		if why := reason(t, slow(t.Context())); !strings.Contains(why, "did not answer") {
			t.Error(why)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := slow(ctx); cfcerr.KindOf(err) != cfcerr.Timeout {
			t.Errorf("the caller's own deadline: %v", err)
		}
		cancel()
		if err := slow(ctx); err == nil {
			t.Error("a call that has ended succeeds")
		}
	})
}

// TestItComesBack is an engine that goes and comes back as another version.
func TestItComesBack(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	serve := func(version string) *http.Server {
		_ = os.Remove(socket)
		ln, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Api-Version", version) })}
		go func() { _ = s.Serve(ln) }()
		return s
	}
	e := New(Config{Socket: socket})
	for _, version := range []string{"1.41", "1.47"} {
		s := serve(version)
		api, err := e.API(t.Context())
		if err != nil || api.ClientVersion() != version {
			t.Fatalf("%v, %v", api, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Ping(t.Context()); reason(t, err) == "" {
			t.Error("no reason")
		}
	}
}

// TestSomethingElseAnswers, in place of an engine: that is no refusal of what is
// asked, nor a reason to panic.
func TestSomethingElseAnswers(t *testing.T) {
	for _, body := range []string{"null", "{}", "[]", `"x"`, `{"Id":"c1"}`, `{"Id":5}`, "<html>"} {
		socket := filepath.Join(t.TempDir(), "s")
		ln, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })}
		go func() { _ = s.Serve(ln) }()
		e := New(Config{Socket: socket})
		for what, do := range map[string]func(context.Context) error{
			"get":  func(ctx context.Context) error { _, err := e.Container(ctx, "web"); return err },
			"stop": func(ctx context.Context) error { _, err := e.Stop(ctx, "web", 1); return err },
			"logs": func(ctx context.Context) error {
				_, _, err := e.Logs(ctx, catalog.OpenDockerLogsIn{Container: "web"})
				return err
			},
			"exec": func(ctx context.Context) error {
				_, _, err := e.Exec(ctx, catalog.ExecDockerContainerIn{Container: "web", Cmd: []string{"x"}, Rows: 1, Cols: 1})
				return err
			},
			"end": func(ctx context.Context) error { return asError(e.ended(ctx, "web", nil).Err) },
		} {
			if why := reason(t, do(t.Context())); !strings.Contains(why, "as Docker does") {
				t.Errorf("%s, answered by %s: %s", what, body, why)
			}
		}
		ids, err := e.Containers(t.Context(), true)
		if body == "[]" && (err != nil || len(ids) > 0) || body != "[]" && !strings.Contains(reason(t, err), "as Docker does") {
			t.Errorf("list, answered by %s: %v, %v", body, ids, err)
		}
		e.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func asError(e *cfcerr.Error) error {
	if e == nil {
		return nil
	}
	return e
}
