// Package nodeapi shows the whole API of a stock Crossbar.io node, for real:
// each operation with good and with bad arguments, through relay and agent, and
// what was started is used by clients of foreign libraries.
//
// What the clients of a run see is recorded; proof.json is the record of a whole
// run (`go test ./shared/e2e/nodeapi -update`), and docs/SUPPORT.md follows from
// it. A run that shows less than the record fails, as does a record that has no
// proof for a row.
//
// All tests share one fleet; each has workers of its own and leaves none.
package nodeapi

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"fabric.center/cfc/shared/e2e/driver"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/e2e/proof"
)

const (
	realm      = fleet.Realm
	node       = fleet.NodeID
	recordFile = "proof.json"
	twoMinutes = 2 * time.Minute
)

var update = flag.Bool("update", false, "write the record of what this run has shown; with -run, what it adds to that")

// stage is the fleet that all tests share, and what its clients see.
var stage struct {
	*fleet.Stage
	libraries driver.Libraries
	recorder  *proof.Recorder
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(fleet.Main(context.Background(), m, 20*time.Minute, build, func(passed bool) (err error) {
		if passed {
			err = record()
		}
		return errors.Join(err, stage.Stop())
	}, func() string { return stage.LastWords() }))
}

func build(ctx context.Context, home string) (err error) {
	stage.recorder = proof.NewRecorder()
	if stage.Stage, err = fleet.NewStage(ctx, home); err != nil {
		return err
	}
	if stage.libraries, err = driver.Find(); err != nil {
		return err
	}
	// Docker may be asked, and answers that it is not there; what it does is shown elsewhere.
	stage.Policy = "areas: {docker: on}\n"
	if err := stage.Populate(ctx); err != nil {
		return err
	}
	s, err := stage.Agent.Status(ctx)
	stage.recorder.SetNode(s.Node.Version)
	return err
}

// record holds this run against the one on record. One that ran all tests has to
// show the same, no more and no less.
func record() error {
	now := stage.recorder.Record()
	part := flag.Lookup("test.run").Value.String() != "" || flag.Lookup("test.skip").Value.String() != ""
	before, err := proof.Load(recordFile)
	if err != nil {
		return err
	}
	switch less := before.Less(now); {
	case *update && part:
		return before.With(now).Save(recordFile)
	case *update:
		return now.Save(recordFile)
	case len(less) > 0:
		return fmt.Errorf("the record is stale, it has no proof of: %q; run: go test ./shared/e2e/nodeapi -update && make docs", less)
	case part:
		return nil
	}
	if less := now.Less(before); len(less) > 0 {
		return fmt.Errorf("this run has not shown what another has: %q", less)
	}
	return nil
}

// within bounds what a test may take.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
