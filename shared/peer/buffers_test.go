package peer

import (
	"bytes"
	"testing"
)

func TestBuffers(t *testing.T) {
	var p pool
	for _, c := range []struct{ asked, has int }{
		{0, 2 << 10}, {2 << 10, 2 << 10}, {2<<10 + 1, 16 << 10}, {100 << 10, 128 << 10}, {1 << 20, 1 << 20}, {1<<20 + 1, 1<<20 + 1}, {16 << 20, 16 << 20},
	} {
		b := p.get(c.asked)
		if len(*b) != 0 || cap(*b) != c.has {
			t.Errorf("of %d bytes: len %d, cap %d", c.asked, len(*b), cap(*b))
		}
		*b = append(*b, "used"...)
		p.put(b)
		if again := p.get(c.asked); len(*again) != 0 || cap(*again) < c.asked {
			t.Errorf("of %d bytes, used again: len %d, cap %d", c.asked, len(*again), cap(*again))
		}
	}
	b, all := p.get(0), []byte(nil)
	for i := range 3 << 20 {
		b = p.grow(b, 1)
		*b = append(*b, byte(i))
		all = append(all, byte(i))
	}
	if !bytes.Equal(*b, all) {
		t.Error("what was in it was lost as it grew")
	}
	if b = p.grow(b, 20<<20); cap(*b)-len(*b) < 20<<20 || !bytes.Equal(*b, all) {
		t.Error("no room, or what was in it was lost")
	}
}
