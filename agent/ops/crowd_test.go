package ops

import (
	"errors"
	"fmt"
	"testing"

	"fabric.center/cfc/shared/cfcerr"
)

// Who is one too many is told how many there may be, whoever they are.
func TestACrowdTellsItsLimit(t *testing.T) {
	var c crowd
	limit := func(worker string) any {
		for {
			_, err := c.enter(worker)
			var e *cfcerr.Error
			if errors.As(err, &e) {
				return e.Details["limit"]
			}
		}
	}
	if got := limit("w0"); got != mostReads/2 {
		t.Errorf("of one worker it is %v", got)
	}
	for i := range 20 {
		limit(fmt.Sprint("w", i))
	}
	if got := limit("late"); got != mostReads {
		t.Errorf("where others have filled it, it is %v", got)
	}
}
