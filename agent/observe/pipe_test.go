package observe

import (
	"bytes"
	"context"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func put(t *testing.T, p *Pipe, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if err := p.Put(t.Context(), Record{Fields: map[string]any{"data": s}, Size: len(s)}); err != nil {
			t.Fatal(err)
		}
	}
}

// read is what is there now, as the texts of the records.
func read(t *testing.T, p *Pipe, from int64, max int) (texts []string, next int64, end *End) {
	t.Helper()
	now, cancel := context.WithCancel(t.Context())
	cancel()
	b, err := p.Read(now, from, max)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range b.Records {
		texts = append(texts, r.(map[string]any)["data"].(string))
	}
	return texts, b.Next, b.End
}

func TestPipeKeepsWhatIsNotAskedBeyond(t *testing.T) {
	p := NewPipe(PipeBytes)
	put(t, p, "a", "b", "c")
	for _, tt := range []struct {
		from int64
		max  int
		want []string
		next int64
	}{
		{0, MostBytes, []string{"a", "b", "c"}, 3},
		{0, MostBytes, []string{"a", "b", "c"}, 3}, // the answer was lost
		{0, 1, []string{"a"}, 1},                   // one at least
		{1, 2 * (recordBytes + 1), []string{"b", "c"}, 3},
		{2, MostBytes, []string{"c"}, 3},
		{3, MostBytes, nil, 3},
	} {
		if got, next, end := read(t, p, tt.from, tt.max); !reflect.DeepEqual(got, tt.want) || next != tt.next || end != nil {
			t.Errorf("from %d: %v, next %d, end %v", tt.from, got, next, end)
		}
	}
	for _, from := range []int64{-1, 0, 2, 4} {
		if _, err := p.Read(t.Context(), from, 1); cfcerr.KindOf(err) != cfcerr.InvalidArgument {
			t.Errorf("from %d, of which 3 is left: %v", from, err)
		}
	}
	put(t, p, "d")
	p.Finish(End{Reason: "done"})
	if got, next, end := read(t, p, 3, MostBytes); len(got) != 1 || next != 4 || end == nil || end.Reason != "done" {
		t.Errorf("%v, %d, %v", got, next, end)
	}
}

func TestPipeTellsItsEndBehindTheLastRecord(t *testing.T) {
	p := NewPipe(PipeBytes)
	put(t, p, "a", "b")
	p.Finish(End{})
	if _, _, end := read(t, p, 0, 1); end != nil {
		t.Error("the end came before the last record")
	}
	if _, _, end := read(t, p, 1, 1); end == nil {
		t.Error("the end did not come with the last record")
	}
	if got, _, end := read(t, p, 2, 1); end == nil || got != nil {
		t.Errorf("behind the last record: %v, %v", got, end)
	}
}

func TestBatchSaysItsPosition(t *testing.T) {
	p := NewPipe(PipeBytes)
	for _, position := range []string{"", "a", "b", ""} {
		if err := p.Put(t.Context(), Record{Position: position}); err != nil {
			t.Fatal(err)
		}
	}
	p.Finish(End{})
	for _, tt := range []struct {
		from int64
		max  int
		want string
	}{{0, 1, ""}, {1, 1, "a"}, {2, MostBytes, "b"}, {3, 1, "b"}, {4, 1, "b"}} {
		if b, err := p.Read(t.Context(), tt.from, tt.max); err != nil || b.Position != tt.want {
			t.Errorf("from %d: %q, %v, want %q", tt.from, b.Position, err, tt.want)
		}
	}
}

func TestFullPipeHoldsBackWhoFillsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPipe(3 * (recordBytes + 1))
		put(t, p, "a", "b", "c")
		done := make(chan error, 1)
		go func() { done <- p.Put(t.Context(), Record{Size: 1}) }()
		synctest.Wait()
		if len(done) > 0 || p.held() > p.limit {
			t.Fatalf("the pipe took more than its limit: %d", p.held())
		}
		read(t, p, 0, MostBytes) // which gives nothing up
		synctest.Wait()
		if len(done) > 0 {
			t.Fatal("room was made by a read that may be repeated")
		}
		read(t, p, 1, MostBytes)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Put(ctx, Record{Size: 1}); err != context.DeadlineExceeded {
			t.Errorf("who waited in vain was told %v", err)
		}
	})
}

func TestLargeRecordPassesAPipeThatIsEmpty(t *testing.T) {
	p := NewPipe(1000)
	put(t, p, string(bytes.Repeat([]byte("x"), 5000)))
	if got, _, _ := read(t, p, 0, 1); len(got) != 1 || len(got[0]) != 5000 {
		t.Errorf("%d records", len(got))
	}
}

func TestReadWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPipe(PipeBytes)
		go func() {
			time.Sleep(time.Second)
			_ = p.Gap(t.Context(), 7, "rotated")
			time.Sleep(time.Second)
			p.Finish(End{Reason: "done"})
		}()
		began := time.Now()
		b, err := p.Read(t.Context(), 0, MostBytes)
		want := map[string]any{"gap": map[string]any{"lost": int64(7), "reason": "rotated"}}
		if err != nil || len(b.Records) != 1 || !reflect.DeepEqual(b.Records[0], want) || time.Since(began) != time.Second {
			t.Errorf("%v, %v after %v", b, err, time.Since(began))
		}
		if b, err = p.Read(t.Context(), 1, MostBytes); err != nil || b.End == nil || time.Since(began) != 2*time.Second {
			t.Errorf("%v, %v after %v", b, err, time.Since(began))
		}
	})
}

func TestData(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want any
	}{{"", ""}, {"grün\x1b[1m\n", "grün\x1b[1m\n"}, {"a\x00b", "a\x00b"}, {"\x00ab", []byte("\x00ab")}, {"\xff", []byte("\xff")}, {"a\xc3", []byte("a\xc3")}} {
		if got := Data([]byte(tt.in)); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %#v", tt.in, got)
		}
	}
}

func TestWhole(t *testing.T) {
	for in, want := range map[string]int{"": 0, "abc": 3, "ü": 2, "ü"[:1]: 0, "a€"[:3]: 1, "a€": 4, "a😀"[:4]: 1, "a😀": 5,
		"\x80\x80\x80\x80": 4, "a\xff": 2, "\xf0\x80": 2} {
		if got := Whole([]byte(in)); got != want {
			t.Errorf("%q: %d, want %d", in, got, want)
		}
	}
}
