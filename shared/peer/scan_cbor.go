package peer

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// cborScanner reads RFC 8949, items of indefinite length included.
type cborScanner struct{}

const (
	cborBreak = 0xff
	// cborSelfDescribed is the one tag that changes nothing.
	cborSelfDescribed = 55799
)

// cborHead reads major type and argument; endless is the indefinite length.
func cborHead(b []byte, at int) (major byte, arg uint64, next int, endless bool, err error) {
	if at >= len(b) {
		return 0, 0, 0, false, errShort
	}
	major, info := b[at]>>5, b[at]&31
	at++
	switch {
	case info < 24:
		return major, uint64(info), at, false, nil
	case info < 28:
		w := 1 << (info - 24)
		if len(b)-at < w {
			return 0, 0, 0, false, errShort
		}
		return major, bigEndian(b[at : at+w]), at + w, false, nil
	case info == 31 && major >= 2 && major <= 5:
		return major, 0, at, true, nil
	}
	return 0, 0, 0, false, errItem
}

func bigEndian(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	}
	return binary.BigEndian.Uint64(b)
}

func (cborScanner) skip(b []byte, at, nesting int) (item, error) {
	var s levels
	s.max, s.found.from = nesting, at
	for {
		if at < len(b) && b[at] == cborBreak {
			if s.n == 0 || !s.open[s.n-1].endless || s.open[s.n-1].dict && s.open[s.n-1].left&1 == 1 {
				return item{}, errItem
			}
			at++
			s.n--
			if s.done() {
				return s.end(at)
			}
			continue
		}
		start := at
		major, arg, next, endless, err := cborHead(b, at)
		if err != nil {
			return item{}, err
		}
		if s.wantsKey() && major != 3 {
			return item{}, errKey
		}
		k, complete := kindOther, true
		switch at = next; major {
		case 0, 1:
			if k = kindInt; major == 1 && arg > math.MaxInt64 { // decoders make 0 of -2^64
				err = errRange
			}
		case 2, 3:
			k = kindBytes
			if major == 3 {
				k = kindString
			}
			at, err = cborString(b, at, arg, endless, major)
		case 4, 5:
			k = kindList
			l := level{left: int(arg), endless: endless}
			if major == 5 {
				k, l.dict, l.left = kindDict, true, int(2*arg)
			}
			switch {
			case arg > uint64(len(b)-at): // an item takes a byte at least
				err = errShort
			case s.n >= s.max: // an empty one counts too
				err = errNesting
			case arg > 0 || endless:
				err, complete = s.push(l), false
			}
		case 6:
			switch {
			case at >= len(b):
				err = errShort
			case s.n >= s.max:
				err = errNesting
			default:
				s.found.foreign = s.found.foreign || arg != cborSelfDescribed
				err, complete = s.push(level{left: 1}), false
			}
		case 7:
			k, err = cborSimple(b[start:at])
		}
		if err != nil {
			return item{}, err
		}
		if s.begin(k); complete && s.done() {
			return s.end(at)
		}
	}
}

// cborString is the end of a byte or text string whose head is read.
func cborString(b []byte, at int, n uint64, endless bool, major byte) (int, error) {
	for {
		if endless {
			if at < len(b) && b[at] == cborBreak {
				return at + 1, nil
			}
			m, arg, next, nested, err := cborHead(b, at)
			if err != nil {
				return 0, err
			}
			if m != major || nested {
				return 0, errItem
			}
			n, at = arg, next
		}
		if n > uint64(len(b)-at) {
			return 0, errShort
		}
		end := at + int(n)
		if major == 3 && !utf8.Valid(b[at:end]) {
			return 0, errUTF8
		}
		if at = end; !endless {
			return at, nil
		}
	}
}

func cborSimple(b []byte) (itemKind, error) {
	switch b[0] {
	case 0xf4, 0xf5:
		return kindBool, nil
	case 0xf6, 0xf7:
		return kindNull, nil
	case 0xf9, 0xfa:
		return kindOther, nil
	case 0xfb:
		if _, ok := wholeFloat(binary.BigEndian.Uint64(b[1:])); ok {
			return kindInt, nil
		}
		return kindOther, nil
	}
	return 0, errItem
}

// wholeFloat is the value of a float64 without a fraction; some clients send
// larger integers so.
func wholeFloat(bits uint64) (uint64, bool) {
	v := math.Float64frombits(bits)
	return uint64(v), v >= 0 && v <= 1<<53 && v == math.Trunc(v)
}

func (cborScanner) open(b []byte, at int, dict bool) (int, int, error) {
	major, arg, next, endless, err := cborHead(b, at)
	switch {
	case err != nil:
		return 0, 0, err
	case dict && major != 5, !dict && major != 4:
		return 0, 0, errList
	case endless:
		return -1, next, nil
	case arg > uint64(len(b)-next):
		return 0, 0, errShort
	case major == 5:
		arg *= 2
	}
	return int(arg), next, nil
}

func (cborScanner) next(b []byte, at, _ int, _ bool) (int, bool, error) {
	if at >= len(b) {
		return 0, false, errShort
	}
	if b[at] == cborBreak { // skip refuses it in a list of known length
		return at + 1, true, nil
	}
	return at, false, nil
}

func (cborScanner) uint(b []byte) (uint64, bool) {
	if b[0] == 0xfb {
		return wholeFloat(binary.BigEndian.Uint64(b[1:]))
	}
	major, arg, _, _, _ := cborHead(b, 0)
	return arg, major == 0
}

func (cborScanner) bool(b []byte) bool { return b[0] == 0xf5 }

func (cborScanner) text(b []byte) []byte {
	_, n, at, endless, _ := cborHead(b, 0)
	if !endless {
		return b[at : at+int(n)]
	}
	var out []byte
	for b[at] != cborBreak {
		_, n, next, _, _ := cborHead(b, at)
		at = next + int(n)
		out = append(out, b[next:at]...)
	}
	return out
}
