package ops

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// settled is a node that has come, and no more.
type settled struct{ Node }

func (settled) Settle(context.Context) error { return nil }

// A restart that was broken off is finished also when, as the node comes, others
// have the lane of its worker: the node may not come again for years.
func TestABrokenOffRestartHasItsTurnHoweverLate(t *testing.T) {
	for name, waiting := range map[string]int{"one takes long": 0, "no room to wait": maxWaiting} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				o := newOps(Config{Node: settled{}})
				o.inv, o.journal = newInventory(o.cfg), openJournal("", o.log)
				if err := o.journal.begun(restart{Node: "another", Worker: "w"}); err != nil {
					t.Fatal(err)
				}
				leave, err := o.lanes.enter(ctx, workerLane("w"))
				if err != nil {
					t.Fatal(err)
				}
				impatient, giveUp := context.WithCancel(ctx)
				for range waiting {
					go func() { _, _ = o.lanes.enter(impatient, workerLane("w")) }()
				}
				synctest.Wait()
				go o.resumeRestarts(ctx)
				o.inv.came <- struct{}{}
				time.Sleep(5 * time.Minute)
				giveUp()
				synctest.Wait()
				leave()
				time.Sleep(time.Minute)
				if _, open := o.journal.open("w"); open {
					t.Error("its turn has come, and nobody has looked at it again")
				}
			})
		})
	}
}
