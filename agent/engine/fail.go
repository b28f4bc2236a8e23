package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"fabric.center/cfc/shared/cfcerr"
	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

// Failed is what an error of the engine's client means to the caller. doing
// completes "cannot …" and names the object; ctx is the one of the failed call.
// Errors of package cfcerr stay as they are.
func (e *Engine) Failed(ctx context.Context, doing string, err error) error {
	var known *cfcerr.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known) && !errors.Is(err, errSlow):
		return known
	case errors.Is(err, errSlow), errors.Is(context.Cause(ctx), errSlow):
		return unavailable(doing, errSlow.Error())
	case ctx.Err() != nil:
		return cfcerr.New(cfcerr.KindOf(ctx.Err()), "cannot %s: %w", doing, ctx.Err())
	case disconnected(err):
		e.lost()
		return unavailable(doing, e.whyNot(err))
	}
	return failure(doing, err)
}

// failure reads an answer that the engine has given.
func failure(doing string, err error) error {
	text := plain(err)
	answer := func(k cfcerr.Kind) error { return cfcerr.New(k, "cannot %s: %s", doing, text) }
	switch {
	case strings.Contains(text, "no space left on device"):
		return unavailable(doing, "no space left on the engine's disk")
	case strings.Contains(text, "OCI runtime"): // under whichever status
		return answer(cfcerr.CannotStart)
	case cerrdefs.IsNotFound(err):
		return answer(cfcerr.NoSuchObject)
	case cerrdefs.IsConflict(err) && strings.Contains(text, "already in use"):
		return answer(cfcerr.AlreadyExists)
	case cerrdefs.IsConflict(err) && (strings.Contains(text, "is using") || strings.Contains(text, "is being used") || strings.Contains(text, "running container")):
		return answer(cfcerr.NotEmpty)
	case cerrdefs.IsConflict(err):
		return answer(cfcerr.NotRunning)
	case cerrdefs.IsInvalidArgument(err):
		return answer(cfcerr.InvalidConfiguration)
	case cerrdefs.IsUnavailable(err):
		return unavailable(doing, text)
	case cerrdefs.IsNotImplemented(err):
		return cfcerr.New(cfcerr.NotSupported, "cannot %s: %s", doing, text).With("reason", text)
	case errors.Is(err, errStrange) || !slices.ContainsFunc(refusals, func(is func(error) bool) bool { return is(err) }):
		return unavailable(doing, errStrange.Error()+": "+text)
	}
	return answer(cfcerr.CannotStart)
}

// refusals are the other kinds of answers that an engine gives; all else is none.
var refusals = []func(error) bool{cerrdefs.IsInternal, cerrdefs.IsUnknown, cerrdefs.IsUnauthorized, cerrdefs.IsPermissionDenied, cerrdefs.IsNotModified}

func unavailable(doing, reason string) *cfcerr.Error {
	return cfcerr.New(cfcerr.Unavailable, "cannot %s: Docker is not available: %s", doing, reason).With("part", "docker").With("reason", reason)
}

// disconnected reports whether the engine has not answered, or not to the end.
func disconnected(err error) bool {
	var network net.Error
	return client.IsErrConnectionFailed(err) || errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		strings.Contains(plain(err), "client version")
}

// whyNot says in plain words why there is no engine at the address.
func (e *Engine) whyNot(err error) string {
	for _, known := range []struct{ part, reason string }{
		{"permission denied", "the agent may not use "},
		{"no such file", "there is none at "},
		{"Is the docker daemon running", "nobody answers at "},
		{"refused", "nobody answers at "},
		{"EOF", "the connection was lost with "},
		{"client version", "it was replaced by another version at "},
	} {
		if strings.Contains(err.Error(), known.part) {
			return known.reason + e.Address()
		}
	}
	return plain(err)
}

// plain is the engine's own sentence.
func plain(err error) string {
	text := err.Error()
	for _, prefix := range []string{"Error response from daemon: ", "error during connect: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}
