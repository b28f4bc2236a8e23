package pairing

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

// options is a dict of named options. Null means that an option is not given.
type options struct {
	all  map[string]any
	path string
}

func (o options) bad(name, expected string) error { return cfcerr.Argument(o.path+name, expected) }

// only refuses every other option, the first by name.
func (o options) only(known ...string) error {
	for _, name := range sortedKeys(o.all) {
		if !slices.Contains(known, name) {
			return o.bad(name, "no such option here: "+strings.Join(known, ", "))
		}
	}
	return nil
}

func (o options) text(name, form string, valid func(string) bool) (string, error) {
	v := o.all[name]
	if v == nil {
		return "", nil
	}
	s, ok := v.(string)
	if !ok || !valid(s) {
		return "", o.bad(name, form)
	}
	return s, nil
}

func (o options) role(name string) (wire.Role, error) {
	s, err := o.text(name, wire.RoleForm, func(s string) bool { return wire.Role(s).Valid() })
	return wire.Role(s), err
}

func (o options) flag(name string) (bool, error) {
	switch v := o.all[name].(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	}
	return false, o.bad(name, "true or false")
}

func (o options) count(name string, most int) (int, error) {
	v := o.all[name]
	if v == nil {
		return 1, nil
	}
	n, ok := whole(v)
	if !ok || n < 1 || n > int64(most) {
		return 0, o.bad(name, fmt.Sprintf("an integer from 1 to %d", most))
	}
	return int(n), nil
}

func whole(v any) (int64, bool) {
	switch f := v.(type) {
	case float64:
		return int64(f), f == math.Trunc(f) && math.Abs(f) < 1<<53
	case float32:
		return whole(float64(f))
	case uint64:
		return int64(f), f <= math.MaxInt64
	}
	return wamp.AsInt64(v)
}

var units = map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}

// ttl is seconds, or a number with a unit: "90m", "12h", "7d".
func (o options) ttl(name string, most time.Duration) (time.Duration, error) {
	form := fmt.Sprintf(`seconds, or a string such as "90m", "12h" or "7d"; at most %d days`, most/(24*time.Hour))
	v := o.all[name]
	if v == nil {
		return defaultTTL, nil
	}
	unit := time.Second
	n, ok := whole(v)
	if s, isText := v.(string); isText && s != "" {
		if u, has := units[s[len(s)-1]]; has {
			s, unit = s[:len(s)-1], u
		}
		i, err := strconv.ParseUint(s, 10, 40)
		n, ok = int64(i), err == nil
	}
	if !ok || n < 1 || n > int64(most/unit) {
		return 0, o.bad(name, form)
	}
	return time.Duration(n) * unit, nil
}

const (
	maxLabels     = 64
	maxLabelKey   = 63
	maxLabelValue = 255
)

func (o options) labels(name string) (map[string]string, error) {
	form := fmt.Sprintf("a dict of at most %d strings, keys up to %d characters, values up to %d", maxLabels, maxLabelKey, maxLabelValue)
	v := o.all[name]
	if v == nil {
		return nil, nil
	}
	d, ok := wamp.AsDict(v)
	if !ok || len(d) > maxLabels {
		return nil, o.bad(name, form)
	}
	out := make(map[string]string, len(d))
	for k, v := range d {
		s, ok := v.(string)
		if !ok || k == "" || len(k) > maxLabelKey || len(s) > maxLabelValue {
			return nil, o.bad(name, form)
		}
		out[k] = s
	}
	return out, nil
}
