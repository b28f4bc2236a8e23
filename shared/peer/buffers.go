package peer

import "sync"

// sizes are those of the buffers that are kept: a message that grows goes from
// one to the next. What is larger is made for one message, and not kept.
var sizes = [...]int{2 << 10, 16 << 10, 128 << 10, 1 << 20}

// buffers are used in turn by all connections: what is read, what is encoded and
// what is queued are in one for as long as that takes, and an idle connection has
// none.
var buffers pool

type pool [len(sizes)]sync.Pool

// get is an empty buffer with room for n bytes at least.
func (p *pool) get(n int) *[]byte {
	for i, size := range sizes {
		if n > size {
			continue
		}
		if b, ok := p[i].Get().(*[]byte); ok {
			return b
		}
		n = size
		break
	}
	b := make([]byte, 0, n)
	return &b
}

// put takes a buffer back that nobody uses any more.
func (p *pool) put(b *[]byte) {
	if cap(*b) > 2*sizes[len(sizes)-1] {
		return
	}
	for i := len(sizes) - 1; i >= 0; i-- {
		if cap(*b) >= sizes[i] {
			*b = (*b)[:0]
			p[i].Put(b)
			return
		}
	}
}

// grow is b, or another buffer with what was in b, with room for n bytes more.
func (p *pool) grow(b *[]byte, n int) *[]byte {
	if n <= cap(*b)-len(*b) {
		return b
	}
	larger := p.get(max(len(*b)+n, 2*cap(*b)))
	*larger = append(*larger, *b...)
	p.put(b)
	return larger
}
