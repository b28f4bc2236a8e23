package peer

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// jsonScanner reads RFC 8259.
type jsonScanner struct{}

func jsonSpace(b []byte, at int) int {
	for at < len(b) && (b[at] == ' ' || b[at] == '\n' || b[at] == '\r' || b[at] == '\t') {
		at++
	}
	return at
}

func (jsonScanner) skip(b []byte, at, nesting int) (item, error) {
	var s levels
	s.max, s.found.from = nesting, jsonSpace(b, at)
	for {
		at = jsonSpace(b, at)
		if at >= len(b) {
			return item{}, errShort
		}
		var k itemKind
		var err error
		complete := true
		switch c := b[at]; {
		case s.wantsKey() && c != '"':
			return item{}, errKey
		case c == '"':
			k = kindString
			at, err = jsonString(b, at)
		case c == '[', c == '{':
			k = kindList
			l := level{endless: true}
			if c == '{' {
				k, l.dict = kindDict, true
			}
			if err = s.push(l); err != nil {
				break
			}
			at, complete = jsonSpace(b, at+1), false
			if at < len(b) && b[at] == c+2 { // ] and } come two after [ and {
				at++
				s.n--
				complete = true
			}
		case c == '-' || c >= '0' && c <= '9':
			at, k, err = jsonNumber(b, at)
		default:
			at, k, err = jsonWord(b, at)
		}
		if err != nil {
			return item{}, err
		}
		if s.begin(k); !complete {
			continue
		}
		for {
			if s.done() {
				return s.end(at)
			}
			var closed bool
			if at, closed, err = jsonBetween(b, at, &s.open[s.n-1]); err != nil {
				return item{}, err
			}
			if !closed {
				break
			}
			s.n--
		}
	}
}

// jsonBetween reads what stands after an item of l: comma, colon or the end.
func jsonBetween(b []byte, at int, l *level) (int, bool, error) {
	at = jsonSpace(b, at)
	if at >= len(b) {
		return 0, false, errShort
	}
	c := b[at]
	switch {
	case l.dict && l.left&1 == 1:
		if c == ':' {
			return at + 1, false, nil
		}
	case c == ',':
		return at + 1, false, nil
	case c == '}' && l.dict, c == ']' && !l.dict:
		return at + 1, true, nil
	}
	return 0, false, errItem
}

func jsonString(b []byte, at int) (int, error) {
	start := at
	for at++; at < len(b); at++ {
		switch c := b[at]; {
		case c == '"':
			if !utf8.Valid(b[start:at]) {
				return 0, errUTF8
			}
			return at + 1, nil
		case c < 0x20:
			return 0, errItem
		case c == '\\':
			at++
			if at >= len(b) {
				return 0, errShort
			}
			switch b[at] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				var err error
				if at, err = jsonCodePoint(b, at); err != nil {
					return 0, err
				}
			default:
				return 0, errItem
			}
		}
	}
	return 0, errShort
}

// jsonCodePoint reads the u and four digits at b[at:] up to the last digit, and of a surrogate
// the other half too: decoders fail on one half alone.
func jsonCodePoint(b []byte, at int) (int, error) {
	const high, low, end = 0xd800, 0xdc00, 0xe000
	for half := range 2 {
		if len(b)-at < 5 {
			return 0, errShort
		}
		v, err := strconv.ParseUint(string(b[at+1:at+5]), 16, 16)
		if err != nil {
			return 0, errItem
		}
		at += 4
		if half == 1 && (v < low || v >= end) || half == 0 && v >= low && v < end {
			return 0, errHalf
		}
		if half == 1 || v < high || v >= end {
			break
		}
		if len(b)-at < 3 {
			return 0, errShort
		}
		if b[at+1] != '\\' || b[at+2] != 'u' {
			return 0, errHalf
		}
		at += 2
	}
	return at, nil
}

// floatDigits is how many digits before the point every float64 has room for.
const floatDigits = 308

func jsonNumber(b []byte, at int) (int, itemKind, error) {
	start := at
	digits := func() bool {
		start := at
		for at < len(b) && b[at] >= '0' && b[at] <= '9' {
			at++
		}
		return at > start
	}
	if b[at] == '-' {
		at++
	}
	k := kindInt
	if at < len(b) && b[at] == '0' {
		at++
	} else if !digits() {
		return 0, 0, errItem
	}
	large := at-start > floatDigits
	if at < len(b) && b[at] == '.' {
		k = kindOther
		if at++; !digits() {
			return 0, 0, errItem
		}
	}
	if at < len(b) && (b[at] == 'e' || b[at] == 'E') {
		k, large = kindOther, true
		if at++; at < len(b) && (b[at] == '+' || b[at] == '-') {
			at++
		}
		if !digits() {
			return 0, 0, errItem
		}
	}
	if large {
		if _, err := strconv.ParseFloat(string(b[start:at]), 64); err != nil {
			return 0, 0, errRange
		}
	}
	return at, k, nil
}

func jsonWord(b []byte, at int) (int, itemKind, error) {
	for _, w := range [...]struct {
		text string
		kind itemKind
	}{{"true", kindBool}, {"false", kindBool}, {"null", kindNull}} {
		if len(b)-at >= len(w.text) && string(b[at:at+len(w.text)]) == w.text {
			return at + len(w.text), w.kind, nil
		}
	}
	return 0, 0, errItem
}

func (jsonScanner) open(b []byte, at int, dict bool) (int, int, error) {
	at = jsonSpace(b, at)
	if at >= len(b) {
		return 0, 0, errShort
	}
	if dict && b[at] != '{' || !dict && b[at] != '[' {
		return 0, 0, errList
	}
	return -1, at + 1, nil
}

func (jsonScanner) next(b []byte, at, i int, dict bool) (int, bool, error) {
	at = jsonSpace(b, at)
	if at >= len(b) {
		return 0, false, errShort
	}
	end := byte(']')
	if dict {
		end = '}'
	}
	if i == 0 {
		if b[at] == end {
			return at + 1, true, nil
		}
		return at, false, nil
	}
	at, closed, err := jsonBetween(b, at, &level{dict: dict, left: i})
	return jsonSpace(b, at), closed, err
}

func (jsonScanner) uint(b []byte) (uint64, bool) {
	v, err := strconv.ParseUint(string(b), 10, 64)
	return v, err == nil
}

func (jsonScanner) bool(b []byte) bool { return b[0] == 't' }

func (jsonScanner) text(b []byte) []byte {
	for _, c := range b {
		if c == '\\' {
			var s string
			_ = json.Unmarshal(b, &s) // it was scanned
			return []byte(s)
		}
	}
	return b[1 : len(b)-1]
}
