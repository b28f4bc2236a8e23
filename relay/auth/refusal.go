package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
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
	errStopping  = cfcerr.FromWamp(string(wamp.CloseSystemShutdown), wamp.List{"cannot log in: the relay is stopping"}, nil)
	errStale     = cfcerr.New(cfcerr.NotAuthorized, "cannot join: the right to has changed meanwhile")
)

func tooLate(ctx context.Context, what string) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return errStopping
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
	} else if told.Kind != cfcerr.Timeout && !errors.Is(err, errStopping) {
		if after := at.failed(at.who(), at.event(err, told)); after > 0 {
			seconds := int64(math.Ceil(after.Seconds()))
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

// event is a failure with its true reason, for the audit log.
func (at *attempt) event(err error, told *cfcerr.Error) audit.Event {
	e := audit.Event{Address: at.host, Realm: name(at.hello.realm), User: name(at.user), Node: name(at.hello.nodeID), Key: name(at.hello.pubkey),
		Kind: told.URI(), Reason: told.Message}
	var token *store.TokenError
	var own refusal
	switch {
	case errors.As(err, &token):
		e.Token, e.Reason = name(token.ID), "token "+token.Reason
	case errors.As(err, &own):
		e.Reason = own.why
	}
	return e
}

// failed counts a failure of key or user who, and writes it down unless there
// are too many: then only that there are, and in the next minute how many there
// were, so that no flood drives out of the log what matters. after is when to
// try again, zero within the limits.
func (a *Auth) failed(who string, e audit.Event) (after time.Duration) {
	v, before := a.throttle.fail(e.Address, who, a.cfg.Now())
	for _, m := range before {
		sum := audit.Event{Event: audit.LoginRefused, Address: m.address, Kind: cfcerr.LimitExceeded.URI(), Reason: fmt.Sprintf("%d more within a minute, over the limit", m.n)}
		if wire.ValidPubkey(m.key) {
			sum.Key = m.key
		} else {
			sum.User = name(m.key)
		}
		a.cfg.Audit.Record(sum)
	}
	if v.after > 0 && !v.first {
		return v.after
	}
	e.Event, e.Reason = audit.LoginRefused, printable(e.Reason, maxReason)
	if v.first {
		e.Reason += "; over the limit, further failures of this minute are only counted"
	}
	a.cfg.Audit.Record(e)
	return v.after
}

// Refused writes down that a session whose log-in was good was not taken after
// all, as that of the second of two hosts with one key.
func (a *Auth) Refused(id route.Identity, err error) {
	told, ref := cfcerr.Public(err)
	if ref != "" || told.Kind == cfcerr.Unavailable || told.Kind == cfcerr.Canceled || told.Kind == cfcerr.Timeout {
		return // nobody's fault, and in the relay's log
	}
	e := audit.Event{Address: host(id.Address), Realm: id.Realm, Key: id.Pubkey, Token: id.TokenID, Kind: told.URI(), Reason: told.Message}
	if e.User = id.AuthID; id.NodeOID != "" {
		e.User, e.Node, e.OID = "", id.AuthID, id.NodeOID
	}
	who := id.Pubkey
	if who == "" {
		who = id.AuthID
	}
	a.failed(who, e)
}

const (
	maxName   = 64
	maxReason = 256
)

// name is what a stranger gives for a name. What cannot be one is quoted and
// cut, so that a line stays one that can be read, and short.
func name(s string) string {
	if s == "" || wire.ValidNodeID(s) || wire.ValidRealm(s) || wire.ValidUser(s) || wire.ValidPubkey(s) || s == wire.UsersRealm || wire.ValidTokenID(s) {
		return s
	}
	return cut(strconv.QuoteToASCII(s[:min(len(s), maxName)]), maxName)
}

// printable is a text that may have in it what a stranger sent.
func printable(s string, limit int) string {
	for _, r := range s {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			s = strings.Trim(strconv.QuoteToASCII(s[:min(len(s), limit)]), `"`)
			break
		}
	}
	return cut(s, limit)
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
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
