package observe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func ringOf(bounds Bounds, lines ...string) *Ring[string] {
	r := NewRing(bounds, func(s string) int { return len(s) })
	for _, s := range lines {
		r.Add(s)
	}
	return r
}

// show is a page as one string: "[number:text …] next, lost, end".
func show(p Page[string]) string {
	s := "["
	for i, r := range p.Entries {
		if i > 0 {
			s += " "
		}
		s += fmt.Sprintf("%d:%s", r.Seq, r.Value)
	}
	return fmt.Sprintf("%s] next %d lost %d end %v", s, p.Next, p.Lost, p.End)
}

func TestRead(t *testing.T) {
	all, small := Bounds{Records: 10, Bytes: 100}, Bounds{Records: 3, Bytes: 100}
	five := []string{"a", "b", "c", "d", "e"}
	tests := []struct {
		name  string
		ring  *Ring[string]
		from  uint64
		limit Bounds
		want  string
	}{
		{"empty", ringOf(all), 0, all, "[] next 1 lost 0 end false"},
		{"from the beginning", ringOf(all, five...), 0, all, "[1:a 2:b 3:c 4:d 5:e] next 6 lost 0 end false"},
		{"from within", ringOf(all, five...), 4, all, "[4:d 5:e] next 6 lost 0 end false"},
		{"at the end", ringOf(all, five...), 6, all, "[] next 6 lost 0 end false"},
		{"from another ring", ringOf(all, five...), 7, all, "[1:a 2:b 3:c 4:d 5:e] next 6 lost 0 end false"},
		{"at most so many", ringOf(all, five...), 2, Bounds{Records: 2, Bytes: 100}, "[2:b 3:c] next 4 lost 0 end false"},
		{"at most so large", ringOf(all, "aaaa", "bbbb", "cccc"), 0, Bounds{Records: 10, Bytes: 9}, "[1:aaaa 2:bbbb] next 3 lost 0 end false"},
		{"one at least", ringOf(all, "aaaa", "bbbb"), 0, Bounds{Records: 10, Bytes: 1}, "[1:aaaa] next 2 lost 0 end false"},
		{"dropped by number", ringOf(small, five...), 0, all, "[3:c 4:d 5:e] next 6 lost 2 end false"},
		{"dropped by number, asked for later ones", ringOf(small, five...), 2, all, "[3:c 4:d 5:e] next 6 lost 1 end false"},
		{"dropped by size", ringOf(Bounds{Records: 9, Bytes: 6}, "aaa", "bbb", "cc"), 0, all, "[2:bbb 3:cc] next 4 lost 1 end false"},
		{"larger than the ring", ringOf(Bounds{Records: 9, Bytes: 6}, "a", "bbbbbbb"), 0, all, "[] next 3 lost 2 end false"},
	}
	for _, tt := range tests {
		if got := show(tt.ring.Read(tt.from, tt.limit)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestLast(t *testing.T) {
	r := ringOf(Bounds{Records: 4, Bytes: 100}, "aaa", "bbb", "ccc", "ddd", "eee")
	tests := []struct {
		limit Bounds
		want  string
	}{
		{Bounds{Records: 2, Bytes: 100}, "[4:ddd 5:eee] next 6 lost 0 end false"},
		{Bounds{Records: 100, Bytes: 100}, "[2:bbb 3:ccc 4:ddd 5:eee] next 6 lost 0 end false"},
		{Bounds{Records: 100, Bytes: 7}, "[4:ddd 5:eee] next 6 lost 0 end false"},
		{Bounds{Records: 100, Bytes: 1}, "[5:eee] next 6 lost 0 end false"},
		{Bounds{Records: 0, Bytes: 100}, "[] next 6 lost 0 end false"},
	}
	for _, tt := range tests {
		if got := show(r.Last(tt.limit)); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.limit, got, tt.want)
		}
	}
}

func TestClose(t *testing.T) {
	r := ringOf(Bounds{Records: 10, Bytes: 100}, "a", "b")
	r.Close()
	if seq := r.Add("c"); seq != 0 {
		t.Errorf("a closed ring takes a record as number %d", seq)
	}
	if got := show(r.Read(0, Bounds{Records: 1, Bytes: 9})); got != "[1:a] next 2 lost 0 end false" {
		t.Errorf("first page: %s", got)
	}
	if got := show(r.Read(2, Bounds{Records: 1, Bytes: 9})); got != "[2:b] next 3 lost 0 end true" {
		t.Errorf("last page: %s", got)
	}
}

func TestAwait(t *testing.T) {
	limit := Bounds{Records: 10, Bytes: 100}
	tests := []struct {
		name   string
		before []string
		during func(r *Ring[string], cancel func())
		want   string
		after  time.Duration
		err    error
	}{
		{"there already", []string{"a"}, nil, "[1:a] next 2 lost 0 end false", 0, nil},
		{"a record comes", nil, func(r *Ring[string], _ func()) { r.Add("a") }, "[1:a] next 2 lost 0 end false", time.Second, nil},
		{"closed", nil, func(r *Ring[string], _ func()) { r.Close() }, "[] next 1 lost 0 end true", time.Second, nil},
		{"nothing comes", nil, nil, "[] next 1 lost 0 end false", time.Minute, nil},
		{"all that came is lost", nil, func(r *Ring[string], _ func()) { r.Add(string(make([]byte, 1000))) }, "[] next 2 lost 1 end false", time.Second, nil},
		{"given up", nil, func(_ *Ring[string], cancel func()) { cancel() }, "[] next 1 lost 0 end false", time.Second, context.Canceled},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			r := ringOf(limit, tt.before...)
			if tt.during != nil {
				go func() {
					time.Sleep(time.Second)
					tt.during(r, cancel)
				}()
			}
			began := time.Now()
			p, err := r.Await(ctx, 0, limit, time.Minute)
			if got := show(p); got != tt.want || !errors.Is(err, tt.err) || time.Since(began) != tt.after {
				t.Errorf("%s: %s, %v after %s; want %s, %v after %s", tt.name, got, err, time.Since(began), tt.want, tt.err, tt.after)
			}
		})
	}
}

func TestEveryReaderGetsAllInOrder(t *testing.T) {
	const records, readers = 500, 4
	r := ringOf(Bounds{Records: records, Bytes: 1 << 20})
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			next := uint64(1)
			for {
				p, err := r.Await(t.Context(), next, Bounds{Records: 7, Bytes: 1 << 20}, time.Minute)
				if err != nil || p.Lost > 0 {
					t.Errorf("lost %d, %v", p.Lost, err)
					return
				}
				for _, rec := range p.Entries {
					if rec.Seq != next || rec.Value != fmt.Sprint(next) {
						t.Errorf("record %d is %q, want number %d", rec.Seq, rec.Value, next)
					}
					next++
				}
				if p.End {
					break
				}
			}
			if next != records+1 {
				t.Errorf("read up to %d", next-1)
			}
		})
	}
	for i := range records {
		r.Add(fmt.Sprint(i + 1))
	}
	r.Close()
	wg.Wait()
}
