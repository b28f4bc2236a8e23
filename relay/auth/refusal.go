package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"time"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// refusal is what the refused one is told, with the true reason for the audit log.
type refusal struct {
	error
	why string
}

// Unwrap is what is told.
func (r refusal) Unwrap() error { return r.error }

var (
	errPath      = cfcerr.New(cfcerr.NotAuthorized, "cannot log in: agents join at /agent with authrole node, users at /ws without")
	errPlainText = cfcerr.New(cfcerr.NotAuthorized, "cannot log in: a token or ticket is taken over TLS or loopback only; revoke it, it was sent in clear")
	errAuth      = cfcerr.New(cfcerr.AuthenticationFailed, "cannot log in: key or ticket is not known here")
	errUnpaired  = cfcerr.New(cfcerr.NodeUnpaired, "cannot join: this node's key is not, or no longer, paired")
	errStale     = cfcerr.New(cfcerr.NotAuthorized, "cannot join: the right to has changed meanwhile")
)

func tooLate(ctx context.Context, what string) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return errGone
	}
	return cfcerr.New(cfcerr.Timeout, "cannot log in: no %s in time", what)
}

func violation(m wamp.Message, expected string) error {
	return cfcerr.FromWamp(string(wamp.ErrProtocolViolation), wamp.List{fmt.Sprintf("cannot log in: %v where %s was expected", m.MessageType(), expected)}, nil)
}

// refuse answers the failure of a log-in, and writes it down.
func (at *attempt) refuse(err error) error {
	if errors.Is(err, errGone) {
		at.Close()
		return err
	}
	told, ref := cfcerr.Public(err)
	if ref != "" {
		at.cfg.Log.Error("log-in failed", zap.String("id", ref), zap.Error(err))
	} else if told.Kind != cfcerr.Timeout {
		v := at.throttle.fail(at.host, at.who(), at.cfg.Now())
		if v.after == 0 || v.first {
			// The rest of a flood must not drive what matters out of the log.
			at.record(err, told, v.first)
		}
		if v.after > 0 {
			seconds := int64(math.Ceil(v.after.Seconds()))
			told = cfcerr.New(cfcerr.LimitExceeded, "cannot log in: too many failures, try again in %d s", seconds).With("after", seconds)
		}
	}
	details := wamp.Dict{"message": told.Message}
	maps.Copy(details, told.Details)
	at.Finish(&wamp.Abort{Reason: wamp.URI(told.URI()), Details: details})
	return err
}

// who is whom the throttle counts the failure for.
func (at *attempt) who() string {
	if at.hello.pubkey != "" {
		return at.hello.pubkey
	}
	return at.hello.authid
}

func (at *attempt) record(err error, told *cfcerr.Error, last bool) {
	e := audit.Event{Event: audit.LoginRefused, Address: at.host, Realm: limited(at.hello.realm), User: limited(at.user), Node: at.hello.nodeID,
		Key: at.hello.pubkey, Kind: told.URI(), Reason: told.Message}
	var token *store.TokenError
	var own refusal
	switch {
	case errors.As(err, &token):
		e.Token, e.Reason = token.ID, "token "+token.Reason
	case errors.As(err, &own):
		e.Reason = own.why
	}
	if last {
		e.Reason += "; over the limit, further failures of this minute are not recorded"
	}
	at.cfg.Audit.Record(e)
}

// limited keeps what a stranger sent to a size that a line of a log can bear.
func limited(s string) string {
	if len(s) > 254 {
		return s[:254] + "…"
	}
	return s
}

func host(address string) string {
	h, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return h
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// site is what counts as one address: an IPv6 customer has a whole /64.
func site(host string) string {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}

const window = time.Minute
