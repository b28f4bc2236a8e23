package route

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// maxRow bounds the arguments of a row of the relay, in bytes on the wire: they
// are decoded, and decoded they can be forty times as large.
const maxRow = 1 << 20

// run carries out a row of the relay, called by a name on which its result
// depends or an empty one, in a goroutine of which a session has no
// more than calls in flight, answered or not.
func (s *session) run(c *call, op *catalog.Op, named string, p peer.Payload) error {
	caller := s.caller
	caller.Procedure = named
	handler, ok := s.hub.cfg.Table.HandlerFor(op, caller)
	if !ok {
		return cfcerr.New(cfcerr.NotSupported, "cannot call %s: this relay does not have it", op.URI()).With("reason", "not built in")
	}
	if p.Size() > maxRow {
		return cfcerr.New(cfcerr.LimitExceeded, "cannot call %s: its arguments have more than %d bytes", op.URI(), maxRow).With("limit", maxRow)
	}
	args, kwargs, err := p.Expand() // the payload lasts no longer than this message
	if err != nil {
		return cfcerr.Argument("args", "values that can be decoded")
	}
	var ctx context.Context
	var cancel context.CancelFunc
	if changes(op) { // what has begun is finished, whether or not the caller waits
		ctx, cancel = context.WithTimeout(s.hub.base, max(c.limit, op.Deadline()))
	} else {
		ctx, cancel = context.WithTimeout(s.hub.base, c.limit)
		c.stop = cancel
	}
	c.working = true // before others can find it
	if err := c.begin(); err != nil {
		cancel()
		return err
	}
	c.arm()
	err = s.hub.handle(func() {
		defer cancel()
		out, err := s.carryOut(ctx, handler, catalog.Call{Op: op, Caller: caller, Args: args, Kwargs: kwargs})
		c.worked()
		s.finish(c, out, err)
	})
	if err != nil {
		cancel()
		c.worked()
		c.fail(errStopping)
	}
	return nil
}

// worked is the end of the handler: only now the caller has room for another.
func (c *call) worked() {
	s := c.caller
	s.mu.Lock()
	defer s.mu.Unlock()
	c.working = false
	if c.zombie {
		s.running--
	}
}

// changes reports whether a row of the relay changes something.
func changes(op *catalog.Op) bool {
	return op.Mutates() || op.Realm == catalog.Users && !strings.HasPrefix(op.Name, "get_")
}

func (s *session) carryOut(ctx context.Context, h catalog.Handler, c catalog.Call) (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("handler of %s panicked: %v\n%s", c.Op.URI(), p, debug.Stack())
		}
	}()
	return h(ctx, c)
}

// finish answers a row's call in its handler's goroutine.
func (s *session) finish(c *call, out any, err error) {
	if err != nil {
		e, id := cfcerr.Public(err)
		if id != "" {
			s.hub.log.Error("row failed", zap.String("id", id), zap.String("authid", s.id.AuthID), zap.Error(err))
		}
		c.fail(e)
		return
	}
	if !c.take() {
		return
	}
	s.hub.met.answered(c.started, "")
	err = s.conn.Write(&wamp.Result{Request: c.request, Details: wamp.Dict{}, Arguments: wamp.List{out}})
	if err != nil && err != peer.ErrClosed && err != peer.ErrSlow {
		e, id := cfcerr.Public(fmt.Errorf("cannot encode the result: %w", err))
		s.hub.log.Error("row failed", zap.String("id", id), zap.Error(err))
		_ = s.conn.Write(e.Wamp(wamp.CALL, c.request))
	}
}
