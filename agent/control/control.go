// Package control is the agent's control socket: how the command line on the
// host asks the running agent for its state, and has it pair and unpair.
//
// # Protocol
//
// HTTP/1.1 with JSON bodies on a Unix socket of mode 0600. Who connects must be
// root or the agent's own user, as the kernel tells (SO_PEERCRED); others are
// cut off before a byte is read. Requests are at most 64 KiB and have
// deadlines; 16 connections at a time, more wait.
//
//	GET  /v1/status            Status
//	POST /v1/pair    Request   the pairing, when the relay has taken it
//	POST /v1/unpair            the pairing that was ended
//	POST /v1/reload            {}; policy and pairing are read again
//
// A failure is {"error": {"uri", "message", "details"}}, uri empty where it is
// none of the relay's.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"fabric.center/cfc/agent/state"
	"fabric.center/cfc/shared/cfcerr"
	"go.uber.org/zap"
)

// DefaultPath is where an installed agent listens.
const DefaultPath = "/run/cfc-agent/agent.sock"

const (
	maxRequest     = 64 << 10
	maxConnections = 16
	// PairTimeout is how long a pairing may take.
	PairTimeout = 30 * time.Second
	readTimeout = 5 * time.Second
	stopTimeout = 5 * time.Second
)

// Agent is what the socket gives access to.
type Agent interface {
	Status() Status
	Pair(ctx context.Context, r state.Request) (*state.Pairing, error)
	Unpair(ctx context.Context) (*state.Pairing, error)
	Reload(ctx context.Context) error
}

// Server is the listening side.
type Server struct {
	ln    *listener
	agent Agent
	log   *zap.Logger
}

// NewServer serves agent on the socket at path, which Run removes again. A socket that
// a dead agent has left is replaced, one that answers is not.
func NewServer(ctx context.Context, path string, agent Agent, log *zap.Logger) (*Server, error) {
	ln, err := listen(ctx, path, log)
	if err != nil {
		return nil, err
	}
	return &Server{ln: ln, agent: agent, log: log}, nil
}

// Run serves until ctx ends; requests under way may finish, for some seconds.
func (s *Server) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", answer(s, func(context.Context, struct{}) (any, error) { return s.agent.Status(), nil }))
	mux.HandleFunc("POST /v1/pair", answer(s, func(ctx context.Context, r state.Request) (any, error) { return s.agent.Pair(ctx, r) }))
	mux.HandleFunc("POST /v1/unpair", answer(s, func(ctx context.Context, _ struct{}) (any, error) { return s.agent.Unpair(ctx) }))
	mux.HandleFunc("POST /v1/reload", answer(s, func(ctx context.Context, _ struct{}) (any, error) { return struct{}{}, s.agent.Reload(ctx) }))
	srv := &http.Server{
		Handler: mux, ReadTimeout: readTimeout, WriteTimeout: PairTimeout + readTimeout, IdleTimeout: readTimeout,
		MaxHeaderBytes: maxRequest, ErrorLog: zap.NewStdLog(s.log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		stopped <- errors.Join(srv.Shutdown(last), srv.Close())
	})
	err := srv.Serve(s.ln)
	if !stop() {
		return <-stopped
	}
	return errors.Join(fmt.Errorf("control socket failed: %w", err), srv.Close())
}

// failure is an error on the socket.
type failure struct {
	URI     string         `json:"uri"`
	Message string         `json:"message"`
	Details map[string]any `json:"details,omitempty"`
}

// answer makes a handler of a function from request to result. Whoever is let
// in here owns the agent, so errors are told as they are.
func answer[In any](s *Server, f func(context.Context, In) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), PairTimeout)
		defer cancel()
		var in In
		body, code := any(nil), http.StatusOK
		err := decode(http.MaxBytesReader(w, r.Body, maxRequest), &in)
		if err == nil {
			body, err = f(ctx, in)
		}
		if err != nil {
			fail := failure{Message: err.Error()}
			var e *cfcerr.Error
			if errors.As(err, &e) {
				fail.URI, fail.Details = e.URI(), e.Details
			}
			body, code = map[string]failure{"error": fail}, http.StatusUnprocessableEntity
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		if err := json.NewEncoder(w).Encode(body); err != nil {
			s.log.Debug("control answer was not taken", zap.Error(err))
		}
	}
}

// decode reads one strict JSON value; nothing at all is the zero value.
func decode(r io.Reader, in any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil && !errors.Is(err, io.EOF) {
		// The decoder's own words may quote what was sent, a token for one.
		return cfcerr.New(cfcerr.InvalidArgument, "cannot read the request: not the JSON that this agent's version expects")
	}
	return nil
}
