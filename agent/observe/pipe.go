package observe

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"unicode/utf8"

	"fabric.center/cfc/shared/cfcerr"
)

// Bounds of a pipe and of one read.
const (
	// PipeBytes is what a pipe keeps; one record more where it is larger.
	PipeBytes = 1 << 20
	// MostBytes and MostRecords bound one answer.
	MostBytes   = 1 << 20
	MostRecords = 8192
	// recordBytes is what a record takes beside its data.
	recordBytes = 512
)

// Record is one piece of a stream.
type Record struct {
	Fields map[string]any // as the reader gets it
	Size   int            // bytes of its data
	// Position names the place behind it in what the stream is about, where
	// another stream can go on; empty where there is no such place.
	Position string
}

// End is how a stream has ended. The zero End is one that ended as it should.
type End struct {
	Reason string
	// Err is why it ended before its time.
	Err *cfcerr.Error
	// Details are what is known beyond, such as an exit status.
	Details map[string]any
}

// Batch is what one read gives.
type Batch struct {
	Records  []any
	Next     int64  // where the next read begins
	Position string // of the last record before Next
	End      *End   // there is nothing behind Next
}

// Pipe holds the records of a stream between who fills it and who reads.
type Pipe struct {
	limit int

	mu      sync.Mutex
	first   int64 // number of kept[0]
	kept    []Record
	bytes   int
	behind  string // position of the last record before first
	end     *End
	changed chan struct{} // closed and made anew at each change
}

// NewPipe makes an empty pipe that keeps so many bytes.
func NewPipe(limit int) *Pipe { return &Pipe{limit: limit, changed: make(chan struct{})} }

func (r Record) takes() int { return recordBytes + r.Size + len(r.Position) }

// change wakes all who wait. The lock is held.
func (p *Pipe) change() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Put appends a record, and waits while the pipe is full; it fails when ctx ends
// first.
func (p *Pipe) Put(ctx context.Context, r Record) error {
	size := r.takes()
	for {
		p.mu.Lock()
		if p.bytes == 0 || p.bytes+size <= p.limit {
			p.kept = append(p.kept, r)
			p.bytes += size
			p.change()
			p.mu.Unlock()
			return nil
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Gap marks that records are missing here; how many is 0 where nobody knows.
func (p *Pipe) Gap(ctx context.Context, lost int64, reason string) error {
	gap := map[string]any{"lost": nil, "reason": reason}
	if lost > 0 {
		gap["lost"] = lost
	}
	return p.Put(ctx, Record{Fields: map[string]any{"gap": gap}, Size: len(reason)})
}

// Finish says that no record comes any more.
func (p *Pipe) Finish(e End) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end = &e
	p.change()
}

// Read gives the records from number from on, at most max bytes of them but one
// at least. It waits for one until ctx ends, and is empty then. What is before
// from is given up.
func (p *Pipe) Read(ctx context.Context, from int64, max int) (Batch, error) {
	for {
		p.mu.Lock()
		b, ready, err := p.take(from, max)
		changed := p.changed
		p.mu.Unlock()
		if ready || err != nil {
			return b, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return b, nil
		}
	}
}

// take is Read without waiting; ready says that there is no need to.
func (p *Pipe) take(from int64, max int) (b Batch, ready bool, err error) {
	last := p.first + int64(len(p.kept))
	if from < p.first || from > last {
		return Batch{}, false, cfcerr.Argument("from", fmt.Sprintf("next of the last answer: the stream holds %d to %d", p.first, last)).
			With("first", p.first).With("next", last)
	}
	p.release(int(from - p.first))
	b = Batch{Records: []any{}, Next: from, Position: p.behind}
	size := 0
	for _, r := range p.kept {
		size += r.takes()
		if len(b.Records) > 0 && size > max || len(b.Records) == MostRecords {
			break
		}
		b.Records = append(b.Records, r.Fields)
		b.Position = cmp.Or(r.Position, b.Position)
	}
	b.Next += int64(len(b.Records))
	if len(b.Records) == len(p.kept) {
		b.End = p.end
	}
	return b, len(b.Records) > 0 || b.End != nil, nil
}

// release forgets the first n records and lets who fills the pipe go on.
func (p *Pipe) release(n int) {
	if n == 0 {
		return
	}
	for i := range n {
		p.bytes -= p.kept[i].takes()
		p.behind = cmp.Or(p.kept[i].Position, p.behind)
		p.kept[i] = Record{}
	}
	p.kept = p.kept[n:]
	p.first += int64(n)
	p.change()
}

// held is what the pipe takes now.
func (p *Pipe) held() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}

// Data is b as a record carries it through every serializer alike: text where
// it is UTF-8, else bytes. Text that begins with NUL goes as bytes too, since
// JSON spells bytes that way.
func Data(b []byte) any {
	if utf8.Valid(b) && (len(b) == 0 || b[0] != 0) {
		return string(b)
	}
	return append([]byte(nil), b...)
}

// Whole is how much of b ends with a whole character: output is cut wherever
// it happens to be read, and half a character would make bytes of text.
func Whole(b []byte) int {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax+1; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}
