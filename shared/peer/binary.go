package peer

import (
	"encoding/base64"
	"strings"

	"github.com/gammazero/nexus/v3/wamp"
)

// JSON has no bytes: WAMP writes them as a string of NUL and base64.

func binaryFromJSON(v any) any {
	switch v := v.(type) {
	case string:
		if rest, ok := strings.CutPrefix(v, "\x00"); ok {
			if b, err := base64.StdEncoding.DecodeString(rest); err == nil {
				return b
			}
		}
	case []any:
		for i := range v {
			v[i] = binaryFromJSON(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = binaryFromJSON(v[k])
		}
	}
	return v
}

// binaryToJSON leaves what it is given as it is and returns a copy where
// there are bytes in it.
func binaryToJSON(v any) any {
	switch v := v.(type) {
	case []byte:
		return "\x00" + base64.StdEncoding.EncodeToString(v)
	case wamp.List:
		return wamp.List(listToJSON(v))
	case []any:
		return listToJSON(v)
	case wamp.Dict:
		return wamp.Dict(dictToJSON(v))
	case map[string]any:
		return dictToJSON(v)
	}
	return v
}

func listToJSON(l []any) []any {
	if l == nil {
		return nil
	}
	out := make([]any, len(l))
	for i, v := range l {
		out[i] = binaryToJSON(v)
	}
	return out
}

func dictToJSON(d map[string]any) map[string]any {
	if d == nil {
		return nil
	}
	out := make(map[string]any, len(d))
	for k, v := range d {
		out[k] = binaryToJSON(v)
	}
	return out
}

// payloadOf are args and kwargs of a message that has them.
func payloadOf(m wamp.Message) (*wamp.List, *wamp.Dict) {
	switch m := m.(type) {
	case *wamp.Publish:
		return &m.Arguments, &m.ArgumentsKw
	case *wamp.Event:
		return &m.Arguments, &m.ArgumentsKw
	case *wamp.Call:
		return &m.Arguments, &m.ArgumentsKw
	case *wamp.Result:
		return &m.Arguments, &m.ArgumentsKw
	case *wamp.Invocation:
		return &m.Arguments, &m.ArgumentsKw
	case *wamp.Yield:
		return &m.Arguments, &m.ArgumentsKw
	case *wamp.Error:
		return &m.Arguments, &m.ArgumentsKw
	}
	return nil, nil
}

// withPayload is a copy of a message that others may have too.
func withPayload(m wamp.Message, f func(any) any) wamp.Message {
	var c wamp.Message
	switch m := m.(type) {
	case *wamp.Publish:
		n := *m
		c = &n
	case *wamp.Event:
		n := *m
		c = &n
	case *wamp.Call:
		n := *m
		c = &n
	case *wamp.Result:
		n := *m
		c = &n
	case *wamp.Invocation:
		n := *m
		c = &n
	case *wamp.Yield:
		n := *m
		c = &n
	case *wamp.Error:
		n := *m
		c = &n
	default:
		return m
	}
	args, kwargs := payloadOf(c)
	*args, _ = f(*args).(wamp.List)
	*kwargs, _ = f(*kwargs).(wamp.Dict)
	return c
}
