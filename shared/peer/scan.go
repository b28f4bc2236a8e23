package peer

import (
	"errors"
)

// itemKind is what an item is, as far as messages need to know.
type itemKind uint8

const (
	kindOther itemKind = iota // floats with a fraction, tags, extensions
	kindNull
	kindBool
	kindInt // an integer, or a float without a fraction
	kindString
	kindBytes
	kindList
	kindDict
)

var (
	errShort   = errors.New("it ends in the middle of an item")
	errNesting = errors.New("it is nested too deeply")
	errUTF8    = errors.New("it has text that is not UTF-8")
	errKey     = errors.New("it has a dict with a key that is not text")
	errItem    = errors.New("it has an item that its serializer does not know")
	errRange   = errors.New("it has a number that fits neither 64 bits nor a float")
	errHalf    = errors.New("it has text with half of a surrogate pair")
	errMore    = errors.New("it goes on after its end")
	errList    = errors.New("it is no list of a type and what belongs to it")
)

// scanner is what a serializer can say about encoded bytes. It finds the end
// of an item and checks all of it on the way: lengths, nesting, text that is
// text, dict keys that are text. It neither recurses nor allocates, so that
// nothing a stranger sends costs more than its length; and since undecoded
// payloads are passed on to the sessions of others, it refuses whatever their
// decoders might not take.
type scanner interface {
	// skip is the item at b[at:]. A scalar needs a nesting of 0, a list of
	// scalars 1.
	skip(b []byte, at, nesting int) (item, error)
	// open is the head of a list, or of a dict: how many items follow (keys and
	// values both count; -1 where only the end tells) and where.
	open(b []byte, at int, dict bool) (count, first int, err error)
	// next is where item i begins, when the one before ended at b[at:], or
	// where the whole ends.
	next(b []byte, at, i int, dict bool) (from int, end bool, err error)
	// uint is the value of an item of kindInt, when it is not negative.
	uint(b []byte) (uint64, bool)
	// bool is the value of an item of kindBool.
	bool(b []byte) bool
	// text is the value of an item of kindString. It may alias b.
	text(b []byte) []byte
}

// item is one element, at b[from:to].
type item struct {
	from, to int
	kind     itemKind
	// foreign: it is or holds what is not in every serializer, a CBOR tag or a
	// MessagePack extension.
	foreign bool
	// count is how many items it consists of, itself and keys of dicts included.
	count int
}

// level is a list or dict that a scan is inside of.
type level struct {
	left    int // items to come; of an endless one, items so far
	endless bool
	dict    bool
}

// levels is a scan of one item, from its beginning on.
type levels struct {
	open  [MaxNesting]level
	n     int
	max   int
	found item
}

// begin takes note of the kind of one more item.
func (s *levels) begin(k itemKind) {
	if s.found.count == 0 {
		s.found.kind = k
	}
	s.found.count++
}

// end is the scanned item, once its end is known.
func (s *levels) end(at int) (item, error) {
	s.found.to = at
	return s.found, nil
}

func (s *levels) push(l level) error {
	if s.n >= s.max || s.n >= len(s.open) {
		return errNesting
	}
	s.open[s.n] = l
	s.n++
	return nil
}

// wantsKey reports whether the next item is a key of a dict.
func (s *levels) wantsKey() bool {
	return s.n > 0 && s.open[s.n-1].dict && s.open[s.n-1].left&1 == 0
}

// done takes note of one complete item and reports whether it was the outermost.
func (s *levels) done() bool {
	for s.n > 0 {
		l := &s.open[s.n-1]
		if l.endless {
			l.left++
			return false
		}
		if l.left--; l.left != 0 {
			return false
		}
		s.n--
	}
	return true
}

// items walks the list or dict at b[at:]: it puts the first elements into into
// and returns how many there are and where the whole ends.
func (f *format) items(b []byte, at, nesting int, dict bool, into []item) (n, end int, err error) {
	count, at, err := f.scan.open(b, at, dict)
	if err != nil {
		return 0, 0, err
	}
	if nesting < 1 {
		return 0, 0, errNesting
	}
	for n = 0; n != count; n++ {
		from, end, err := f.scan.next(b, at, n, dict)
		if err != nil {
			return 0, 0, err
		}
		if end && count >= 0 {
			return 0, 0, errItem
		}
		if end {
			return n, from, nil
		}
		it, err := f.scan.skip(b, from, nesting-1)
		if err != nil {
			return 0, 0, err
		}
		if n < len(into) {
			into[n] = it
		}
		at = it.to
	}
	return n, at, nil
}
