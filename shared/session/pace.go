package session

import (
	"context"
	"fmt"
	"reflect"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/peer"
	"github.com/gammazero/nexus/v3/wamp"
)

// paceBytes is how much may be on its way to the relay before whoever has more
// to say waits. The transport drops a connection whose queue overruns; so big
// answers over a slow link must come at the link's pace.
const paceBytes = 1 << 20

// sendPaced is send for payloads; it waits while too much is on its way. It is
// not for the reader, which must never wait.
func (s *Session) sendPaced(ctx context.Context, m wamp.Message, size int) error {
	if size > peer.MaxMessage {
		return cfcerr.New(cfcerr.LimitExceeded, "cannot send %d bytes in one message: at most %d", size, peer.MaxMessage).With("limit", peer.MaxMessage)
	}
	s.pacing.Lock()
	defer s.pacing.Unlock()
	if s.unpaced > 0 && s.unpaced+size > paceBytes {
		// The answer to a ping says that all before it has arrived. A link
		// that is dead ends the session, and with it the waiting.
		if err := s.Ping(ctx); err != nil {
			return fmt.Errorf("%w: %w", ErrOver, err)
		}
		s.unpaced = 0
	}
	s.unpaced += size
	return s.send(m)
}

// Size is about how many bytes v takes on the wire, never much less.
func Size(v any) int { return sizeOf(reflect.ValueOf(v), 0) }

const (
	scalarSize = 9
	maxDepth   = 100 // nothing that deep can be sent
)

func sizeOf(v reflect.Value, depth int) int {
	if depth > maxDepth {
		return peer.MaxMessage
	}
	n := scalarSize
	switch v.Kind() {
	case reflect.String:
		n = v.Len() + 5
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			return sizeOf(v.Elem(), depth+1)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return v.Len() + 5
		}
		for i := range v.Len() {
			n += sizeOf(v.Index(i), depth+1)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			n += sizeOf(it.Key(), depth+1) + sizeOf(it.Value(), depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += len(v.Type().Field(i).Name) + sizeOf(v.Field(i), depth+1)
		}
	}
	return n
}
