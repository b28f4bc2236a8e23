package docker

import (
	"errors"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/enginetest"
)

func TestStatus(t *testing.T) {
	real, e := start(t, enginetest.Options{})
	ctx := within(t, time.Minute)
	ping, err := e.Ping(ctx)
	if err != nil || ping.OSType != "linux" || ping.APIVersion == "" {
		t.Errorf("ping %+v, %v", ping, err)
	}
	version, err := e.Version(ctx)
	if err != nil || version.APIVersion != ping.APIVersion || version.Components["containerd"] == "" {
		t.Errorf("version %+v, %v", version, err)
	}
	info, err := e.Info(ctx)
	if err != nil || info.DefaultRuntime != "runc" || !strings.HasPrefix(info.RootDir, real.Home) {
		t.Errorf("info %+v, %v", info, err)
	}
	status, err := e.Status(ctx)
	if err != nil || status.Version != version.Version || status.APIVersion != ping.APIVersion || status.Address != "unix://"+real.Socket {
		t.Errorf("status %+v, %v", status, err)
	}
}

// TestAnEngineThatGoesAndComes is stopped, started and killed under way.
func TestAnEngineThatGoesAndComes(t *testing.T) {
	real, e := start(t, enginetest.Options{})
	ctx := within(t, 2*time.Minute)
	for _, end := range []func(){real.Stop, real.Kill} {
		if _, err := e.Status(ctx); err != nil {
			t.Fatalf("while it is there: %v", err)
		}
		end()
		_, err := e.Status(ctx)
		var known *cfcerr.Error
		if !errors.As(err, &known) || known.Kind != cfcerr.Unavailable || known.Details["part"] != "docker" || known.Details["reason"] == "" {
			t.Errorf("while it is away: %v", err)
		}
		real.Restart()
	}
	if _, err := e.Status(ctx); err != nil {
		t.Errorf("after it came back: %v", err)
	}
}
