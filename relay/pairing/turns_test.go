package pairing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fabric.center/cfc/shared/cfcerr"
)

// crowd takes turns and writes down in which order they came.
type crowd struct {
	*turns
	t    *testing.T
	mu   sync.Mutex
	came []string
	all  sync.WaitGroup
}

// ask asks for a turn, and comes when it waits for it.
func (c *crowd) ask(ctx context.Context, user, name string) {
	c.all.Go(func() {
		back, err := c.take(ctx, user)
		time.Sleep(time.Millisecond) // what it takes: meanwhile those behind it move up
		c.mu.Lock()
		defer c.mu.Unlock()
		if err != nil {
			c.came = append(c.came, name+" refused")
			return
		}
		c.came = append(c.came, name)
		back()
	})
	synctest.Wait()
}

// hold takes a turn as user, lets the others ask, and gives it back.
func (c *crowd) hold(user string, others func()) {
	c.t.Helper()
	back, err := c.take(c.t.Context(), user)
	if err != nil {
		c.t.Fatal(err)
	}
	others()
	back()
	c.all.Wait()
	if len(c.own) != 0 || len(c.last)+len(c.users)+len(c.claims) != 0 {
		c.t.Errorf("left behind: %v", c.own)
	}
}

func (c *crowd) want(names ...string) {
	c.t.Helper()
	if !slices.Equal(c.came, names) {
		c.t.Errorf("came %v, want %v", c.came, names)
	}
}

func gather(t *testing.T, waiting int, do func(t *testing.T, c *crowd)) {
	synctest.Test(t, func(t *testing.T) { do(t, &crowd{turns: newTurns(waiting), t: t}) })
}

// Whoever has many changes waiting stands in the way of others with one.
func TestOneUserDoesNotHoldUpOthers(t *testing.T) {
	gather(t, 4, func(t *testing.T, c *crowd) {
		c.hold("eve", func() {
			for i := range 4 {
				c.ask(t.Context(), "eve", fmt.Sprint("eve", i))
			}
			c.ask(t.Context(), "ann", "ann")
			c.ask(t.Context(), nobody, "claim")
		})
		if i, j := slices.Index(c.came, "ann"), slices.Index(c.came, "claim"); len(c.came) != 6 || i > 2 || j > 2 {
			t.Errorf("came %v: ann and the claim waited for more than one of eve's", c.came)
		}
	})
}

func TestOneUsersQueueIsBounded(t *testing.T) {
	gather(t, 2, func(t *testing.T, c *crowd) {
		c.hold("eve", func() {
			c.ask(t.Context(), "eve", "eve0")
			c.ask(t.Context(), "eve", "eve1")
			_, err := c.take(t.Context(), "eve")
			var e *cfcerr.Error
			if !errors.As(err, &e) || e.Kind != cfcerr.Busy || e.Details["limit"] != 2 {
				t.Errorf("got %v", err)
			}
		})
		c.want("eve0", "eve1")
	})
}

// Neither a crowd of users nor one of claims keeps the other out.
func TestUsersAndClaimsAlternate(t *testing.T) {
	gather(t, 1, func(t *testing.T, c *crowd) {
		c.hold("root", func() {
			for i := range 4 {
				c.ask(t.Context(), fmt.Sprint("user", i), "user")
			}
			for range 4 {
				c.ask(t.Context(), nobody, "claim")
			}
		})
		for i := 2; i < len(c.came); i += 2 {
			if n := len(slices.DeleteFunc(slices.Clone(c.came[:i]), func(s string) bool { return s == "user" })); n < i/2-1 || n > i/2+1 {
				t.Errorf("came %v", c.came)
			}
		}
	})
}

// A turn that was waited for in vain is as if nobody had asked.
func TestGivenUpTurn(t *testing.T) {
	gather(t, 4, func(t *testing.T, c *crowd) {
		ctx, cancel := context.WithCancel(t.Context())
		c.hold("eve", func() {
			c.ask(ctx, "eve", "eve")
			c.ask(ctx, "bob", "bob")
			c.ask(ctx, nobody, "claim")
			cancel()
			synctest.Wait()
			c.ask(t.Context(), "ann", "ann")
		})
		if slices.Sort(c.came); !slices.Equal(c.came, []string{"ann", "bob refused", "claim refused", "eve refused"}) {
			t.Errorf("came %v", c.came)
		}
	})
}
