package cli

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"fabric.center/cfc/shared/config"
	"github.com/gammazero/nexus/v3/wamp"
)

// barWidth is how many characters of a bar stand for all of it.
const barWidth = 30

// bar draws how far a call has come on one line of a terminal. It reads any
// progressive result that is a dict with share, from 0 to 1, and where they are
// there bytes and total.
type bar struct {
	w     io.Writer
	drawn int // characters on the line
}

func (b *bar) take(r *wamp.Result) {
	if len(r.Arguments) == 0 {
		return
	}
	d, ok := wamp.AsDict(r.Arguments[0])
	share, known := wamp.AsFloat64(d["share"])
	if !ok || !known || math.IsNaN(share) {
		return
	}
	share = min(1, max(0, share))
	full := int(share * barWidth)
	line := fmt.Sprintf("[%s%s] %3d %%", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), int(share*100))
	bytes, _ := wamp.AsInt64(d["bytes"])
	if total, _ := wamp.AsInt64(d["total"]); total > 0 {
		line += fmt.Sprintf("  %s of %s", size(bytes), size(total))
	}
	b.draw(line)
}

// draw replaces the line.
func (b *bar) draw(line string) {
	n := utf8.RuneCountInString(line)
	_, _ = fmt.Fprint(b.w, "\r"+line+strings.Repeat(" ", max(0, b.drawn-n))) // a bar that is lost harms nobody
	b.drawn = n
}

// clear takes the bar away, so that the result stands alone.
func (b *bar) clear() {
	if b.drawn > 0 {
		_, _ = fmt.Fprint(b.w, "\r"+strings.Repeat(" ", b.drawn)+"\r")
		b.drawn = 0
	}
}

// size is a number of bytes for people.
func size(n int64) string {
	for _, unit := range []struct {
		name string
		size config.Size
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= int64(unit.size) {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
