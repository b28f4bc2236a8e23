package config

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Fault is one thing wrong. A Validate method gives Key and Message; Load adds
// the place from which the key got its value.
type Fault struct {
	// Key is the path, "limits.half_open"; relative to the struct whose
	// Validate gave it. Empty for the whole.
	Key     string
	Message string

	place string // "relay.yaml", "CFC_RELAY_LISTEN", "--listen"
	line  int    // in the file; 0 elsewhere
}

// Faultf makes a fault for a Validate method to return.
func Faultf(key, format string, args ...any) Fault {
	return Fault{Key: key, Message: fmt.Sprintf(format, args...)}
}

// String is the fault with its place: "relay.yaml:7: tls.key: why".
func (f Fault) String() string {
	var b strings.Builder
	if f.place != "" {
		b.WriteString(f.place)
		if f.line > 0 {
			fmt.Fprintf(&b, ":%d", f.line)
		}
		b.WriteString(": ")
	}
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	return b.String() + f.Message
}

// Faults is all that is wrong: the file's by line, then the others'.
type Faults []Fault

// Error has one line for each fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

func (l *loader) result() error {
	if len(l.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(l.faults, func(a, b Fault) int { return cmp.Compare(l.rank(a), l.rank(b)) })
	return l.faults
}

func (l *loader) rank(f Fault) int {
	switch {
	case f.line > 0:
		return f.line
	case f.place == l.file:
		return 0
	}
	return math.MaxInt
}

// Validator is a configuration, or a struct within one, with rules that tags
// cannot say. It runs only where each key for itself is right.
type Validator interface{ Validate() []Fault }

func (l *loader) fault(key, format string, args ...any) {
	l.add(Fault{Key: key, Message: fmt.Sprintf(format, args...)})
}

// add places a fault: where its key, or the nearest mapping around it, was set.
func (l *loader) add(f Fault) {
	for path := f.Key; ; {
		if o, ok := l.origins[path]; ok {
			f.place, f.line = o.place, o.line
			break
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			f.place = l.file
			break
		}
		path = path[:cut]
	}
	l.faults = append(l.faults, f)
}
