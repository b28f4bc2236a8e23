package uplink

import (
	"context"
	"runtime"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// longestKey bounds what a relay can have written into the log.
const longestKey = 200

// Describe is what an agent tells about itself at log-in (authextra "agent").
func Describe(version, hostname string, started time.Time) wamp.Dict {
	return wamp.Dict{"version": version, "protocol": wire.Protocol, "os": runtime.GOOS, "arch": runtime.GOARCH,
		"hostname": hostname, "started": wire.Time(started)}
}

// handler takes the invocations of one session.
func (u *Uplink) handler(realm string) session.Handler {
	return func(ctx context.Context, inv *session.Invocation) (any, error) {
		if len(inv.Args) == 0 {
			return nil, cfcerr.Argument("args[0]", "the operation, area.op")
		}
		key, ok := wamp.AsString(inv.Args[0])
		if !ok || len(key) > longestKey {
			return nil, cfcerr.Argument("args[0]", "the operation, area.op")
		}
		caller := inv.Caller
		caller.Realm = realm
		began := time.Now()
		v, err := u.cfg.Handler(ctx, caller, key, inv.Args[1:], inv.Kwargs)
		u.told(caller, key, time.Since(began), err)
		return v, err
	}
}

// told writes down who did what: changes always, reading and each step through
// a stream where it is wanted.
func (u *Uplink) told(c catalog.Caller, key string, took time.Duration, err error) {
	log := u.log.Debug
	if op, ok := u.index.ByKey(key); !ok || op.Mutates() && !op.OnStream {
		log = u.log.Info
	}
	fields := []zap.Field{zap.String("operation", key), zap.String("caller", c.AuthID), zap.String("role", string(c.Role)), zap.Duration("took", took)}
	if err != nil {
		fields = append(fields, zap.Error(err))
	}
	log("call", fields...)
}
