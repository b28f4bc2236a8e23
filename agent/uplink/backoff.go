package uplink

import (
	"errors"
	"math/rand/v2"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

const (
	firstWindow   = time.Second
	unreachable   = 15 * time.Second // largest window while the relay cannot be reached
	refused       = time.Minute      // and while it refuses this agent
	longestAfter  = 10 * time.Minute // what a relay may ask for
	stableSession = 10 * time.Second
)

// backoff says when to try again.
type backoff struct {
	failures int
	random   func() float64 // of [0, 1)
}

// next is the delay after a failure; lived is how long the session had lived
// that failed, zero where there was none.
func (b *backoff) next(err error, lived time.Duration) time.Duration {
	if lived >= stableSession {
		b.failures = 0
	}
	b.failures++
	window, limit := firstWindow, unreachable
	if refusesThisAgent(err) {
		limit = refused
	}
	for i := 2; i < b.failures && window < limit; i++ {
		window *= 2
	}
	random := b.random
	if random == nil {
		random = rand.Float64
	}
	jitter := time.Duration(random() * float64(min(window, limit)))
	return askedFor(err) + jitter
}

// refusesThisAgent tells a relay that does not want this agent, where a person
// has to do something first, from one that has no time for it.
func refusesThisAgent(err error) bool {
	switch cfcerr.KindOf(asError(err)) {
	case cfcerr.NotAuthorized, cfcerr.AuthenticationFailed, cfcerr.TokenInvalid, cfcerr.NodeUnpaired, cfcerr.NoSuchRealm,
		cfcerr.NameTaken, cfcerr.DuplicateIdentity, cfcerr.AlreadyExists, cfcerr.InvalidArgument:
		return true
	}
	return false
}

// askedFor is the relay's own wish, "after" in seconds.
func askedFor(err error) time.Duration {
	var e *cfcerr.Error
	if !errors.As(err, &e) {
		return 0
	}
	s, ok := wamp.AsFloat64(e.Details["after"])
	if !ok || !(s > 0) {
		return 0
	}
	return time.Duration(min(s, longestAfter.Seconds()) * float64(time.Second))
}
