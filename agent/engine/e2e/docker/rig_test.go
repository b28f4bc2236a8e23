// Package docker drives package engine against a real Docker Engine and a real
// registry.
package docker

import (
	"context"
	"testing"
	"time"

	"fabric.center/cfc/agent/engine"
	"fabric.center/cfc/shared/e2e/enginetest"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// within bounds a test's work with the engine.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// start starts an engine of the test's own and the way to it.
func start(t *testing.T, o enginetest.Options) (*enginetest.Engine, *engine.Engine) {
	t.Helper()
	real := enginetest.Start(t, o)
	e := engine.New(engine.Config{Socket: real.Socket, Log: zaptest.NewLogger(t)})
	t.Cleanup(e.Close)
	return real, e
}
