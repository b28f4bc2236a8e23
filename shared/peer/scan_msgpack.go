package peer

import (
	"encoding/binary"
	"unicode/utf8"
)

// msgpackScanner reads MessagePack with its newer types: str is text, bin is bytes.
type msgpackScanner struct{}

// msgpackHead reads the first bytes of an item: its kind, how many bytes or
// items follow, and where.
func msgpackHead(b []byte, at int) (k itemKind, n, next int, err error) {
	if at >= len(b) {
		return 0, 0, 0, errShort
	}
	c := b[at]
	at++
	sized := func(k itemKind, w int) (itemKind, int, int, error) {
		if len(b)-at < w {
			return 0, 0, 0, errShort
		}
		return k, int(bigEndian(b[at : at+w])), at + w, nil
	}
	switch {
	case c < 0x80, c >= 0xe0:
		return kindInt, 0, at, nil
	case c < 0x90:
		return kindDict, int(c & 15), at, nil
	case c < 0xa0:
		return kindList, int(c & 15), at, nil
	case c < 0xc0:
		return kindString, int(c & 31), at, nil
	case c == 0xc0:
		return kindNull, 0, at, nil
	case c == 0xc2, c == 0xc3:
		return kindBool, 0, at, nil
	case c >= 0xc4 && c <= 0xc6:
		return sized(kindBytes, 1<<(c-0xc4))
	case c >= 0xc7 && c <= 0xc9: // ext: a byte of type comes with the data
		k, n, next, err = sized(kindOther, 1<<(c-0xc7))
		return k, n + 1, next, err
	case c == 0xca:
		return kindOther, 4, at, nil
	case c == 0xcb:
		if len(b)-at >= 8 {
			if _, ok := wholeFloat(binary.BigEndian.Uint64(b[at:])); ok {
				return kindInt, 8, at, nil
			}
		}
		return kindOther, 8, at, nil
	case c >= 0xcc && c <= 0xcf:
		return kindInt, 1 << (c - 0xcc), at, nil
	case c >= 0xd0 && c <= 0xd3:
		return kindInt, 1 << (c - 0xd0), at, nil
	case c >= 0xd4 && c <= 0xd8:
		return kindOther, 1 + 1<<(c-0xd4), at, nil
	case c >= 0xd9 && c <= 0xdb:
		return sized(kindString, 1<<(c-0xd9))
	case c == 0xdc, c == 0xdd:
		return sized(kindList, 2<<(c-0xdc))
	case c == 0xde, c == 0xdf:
		return sized(kindDict, 2<<(c-0xde))
	}
	return 0, 0, 0, errItem
}

func (msgpackScanner) skip(b []byte, at, nesting int) (item, error) {
	var s levels
	s.max, s.found.from = nesting, at
	for {
		start := at
		k, n, next, err := msgpackHead(b, at)
		if err != nil {
			return item{}, err
		}
		if s.wantsKey() && k != kindString {
			return item{}, errKey
		}
		if n > len(b)-next { // an item takes a byte at least
			return item{}, errShort
		}
		s.begin(k)
		complete := true
		switch at = next; k {
		case kindList, kindDict:
			if s.n >= s.max {
				return item{}, errNesting
			}
			l := level{left: n, dict: k == kindDict}
			if l.dict {
				l.left = 2 * n
			}
			if n > 0 {
				err, complete = s.push(l), false
			}
		case kindString:
			if at += n; !utf8.Valid(b[next:at]) {
				err = errUTF8
			}
		case kindOther:
			at += n
			s.found.foreign = s.found.foreign || b[start] != 0xca && b[start] != 0xcb
		default:
			at += n
		}
		if err != nil {
			return item{}, err
		}
		if complete && s.done() {
			return s.end(at)
		}
	}
}

func (msgpackScanner) open(b []byte, at int, dict bool) (int, int, error) {
	k, n, next, err := msgpackHead(b, at)
	switch {
	case err != nil:
		return 0, 0, err
	case dict && k != kindDict, !dict && k != kindList:
		return 0, 0, errList
	case n > len(b)-next:
		return 0, 0, errShort
	case k == kindDict:
		n *= 2
	}
	return n, next, nil
}

func (msgpackScanner) next(b []byte, at, _ int, _ bool) (int, bool, error) { return at, false, nil }

func (msgpackScanner) uint(b []byte) (uint64, bool) {
	c := b[0]
	switch {
	case c < 0x80:
		return uint64(c), true
	case c == 0xcb:
		return wholeFloat(binary.BigEndian.Uint64(b[1:]))
	case c >= 0xcc && c <= 0xcf:
		return bigEndian(b[1:]), true
	case c >= 0xd0 && c <= 0xd3:
		return bigEndian(b[1:]), b[1]&0x80 == 0
	}
	return 0, false
}

func (msgpackScanner) bool(b []byte) bool { return b[0] == 0xc3 }

func (msgpackScanner) text(b []byte) []byte {
	_, n, at, _ := msgpackHead(b, 0)
	return b[at : at+n]
}
