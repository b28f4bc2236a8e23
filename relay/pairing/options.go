package pairing

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

const (
	defaultTTL = time.Hour
	maxTTL     = 30 * 24 * time.Hour
	maxTicket  = 365 * 24 * time.Hour
	maxUses    = 10_000
	maxLabels  = 32
	maxLabel   = 128
)

// options reads a dict of options strictly. The first fault is kept; done
// tells it, or the first option that nobody asked for.
type options struct {
	name   string // of the argument
	values map[string]any
	seen   []string
	err    error
}

func (o *options) get(key string) (any, bool) {
	o.seen = append(o.seen, key)
	v, ok := o.values[key]
	return v, ok && v != nil
}

func (o *options) fail(key, expected string) {
	if o.err == nil {
		o.err = cfcerr.Argument(o.name+"."+key, expected)
	}
}

func (o *options) done() error {
	for _, k := range slices.Sorted(maps.Keys(o.values)) {
		if !slices.Contains(o.seen, k) {
			o.fail(k, "one of the options "+strings.Join(o.seen, ", "))
		}
	}
	return o.err
}

// text is a string that one of the catalogue's types accepts.
func text[T interface {
	~string
	catalog.Checker
}](o *options, key string) string {
	v, ok := o.get(key)
	if !ok {
		return ""
	}
	s, ok := v.(string)
	if !ok || !T(s).Valid() {
		o.fail(key, T("").Form())
		return ""
	}
	return s
}

func (o *options) flag(key string) bool {
	v, ok := o.get(key)
	if !ok {
		return false
	}
	b, ok := v.(bool)
	if !ok {
		o.fail(key, "true or false")
	}
	return b
}

func (o *options) uses() int {
	v, ok := o.get("uses")
	if !ok {
		return 1
	}
	n, ok := whole(v)
	if !ok || n < 1 || n > maxUses {
		o.fail("uses", fmt.Sprintf("an integer from 1 to %d", maxUses))
		return 1
	}
	return int(n)
}

// ttl takes seconds, or a number with s, m, h or d.
func (o *options) ttl(most time.Duration) time.Duration {
	v, ok := o.get("ttl")
	if !ok {
		return min(defaultTTL, most)
	}
	d, ok := duration(v)
	if !ok || d < time.Second || d > most {
		o.fail("ttl", fmt.Sprintf("seconds, or a time such as 90m, 12h or 7d, at most %dd", int(most.Hours()/24)))
		return defaultTTL
	}
	return d
}

func duration(v any) (time.Duration, bool) {
	if s, ok := v.(string); ok {
		if days, ok := strings.CutSuffix(s, "d"); ok {
			var n int
			if _, err := fmt.Sscanf(days+"\n", "%d\n", &n); err != nil || n < 0 || n > 1000 {
				return 0, false
			}
			return time.Duration(n) * 24 * time.Hour, true
		}
		d, err := time.ParseDuration(s)
		return d, err == nil
	}
	n, ok := whole(v)
	if !ok || n < 0 || n > int64(maxTicket/time.Second)*2 {
		return 0, false
	}
	return time.Duration(n) * time.Second, true
}

func whole(v any) (int64, bool) {
	switch n := v.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case uint64:
		return int64(n), n < 1<<62
	case float64:
		return int64(n), n == float64(int64(n)) && n > -1e15 && n < 1e15
	}
	return 0, false
}

func (o *options) labels() map[string]string {
	v, ok := o.get("labels")
	if !ok {
		return nil
	}
	form := fmt.Sprintf("a dict of at most %d strings, names and values of at most %d characters", maxLabels, maxLabel)
	d, ok := wamp.AsDict(v)
	if !ok || len(d) > maxLabels {
		o.fail("labels", form)
		return nil
	}
	out := map[string]string{}
	for k, v := range d {
		s, ok := v.(string)
		if !ok || k == "" || len(k) > maxLabel || len(s) > maxLabel {
			o.fail("labels", form)
			return nil
		}
		out[k] = s
	}
	return out
}

func (o *options) role() wire.Role { return wire.Role(text[catalog.RoleName](o, "role")) }
