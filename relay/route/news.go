package route

import (
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// news is what an agent tells of its node while it is connected. It is kept,
// stored and shown, so it is held to the limits of what HELLO tells.
type news struct {
	catalog.AttachedInfo
	kind, version bool // are told
}

// maxText is how long a text of an agent may be, in bytes.
const maxText = 255

// readNews reads the details of on_node_attached and on_node_detached. All of
// it may be missing; what is there has to be right.
func readNews(d wamp.Dict) (*news, error) {
	n := &news{}
	var err error
	if n.Reason, _, err = text(d, "reason"); err != nil {
		return nil, err
	}
	if n.Version, n.version, err = text(d, "version"); err != nil {
		return nil, err
	}
	if v, told := d["kind"]; told {
		kind, isText := v.(string)
		switch {
		case v == nil:
		case isText && (kind == "crossbar" || kind == "builtin"):
			n.Kind = &kind
		default:
			return nil, cfcerr.Argument("details.kind", "crossbar, builtin or null")
		}
		n.kind = true
	}
	at := time.Now()
	if s, told, err := text(d, "time"); err != nil {
		return nil, err
	} else if told {
		if at, err = time.Parse(time.RFC3339, s); err != nil {
			return nil, cfcerr.Argument("details.time", "an ISO 8601 time")
		}
	}
	n.Since = wire.OptionalTime(at)
	return n, nil
}

// text is a string that a person can be shown; null is as good as none.
func text(d wamp.Dict, name string) (s string, told bool, err error) {
	v := d[name]
	if v == nil {
		return "", false, nil
	}
	s, ok := v.(string)
	if !ok || len(s) > maxText || !utf8.ValidString(s) || slices.ContainsFunc([]rune(s), func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", false, cfcerr.Argument("details."+name, fmt.Sprintf("a string of at most %d printable characters", maxText))
	}
	return s, true, nil
}

// attached keeps what the agent tells of its node.
func (n *node) attached(h *Hub, s *session, about *news) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.agent != s {
		return
	}
	at := about.AttachedInfo
	if !about.kind {
		at.Kind = n.presence.Node.Kind
	}
	if !about.version {
		at.Version = n.presence.Node.Version
	}
	s.attached, n.presence.Node = at, at
	n.changed(h)
}
