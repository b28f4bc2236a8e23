package adopt

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const endPoll = 50 * time.Millisecond

// Restart stops the node in order; who starts it starts it again. It returns
// when the old process is gone, which it does not force.
func (p *Plan) Restart(ctx context.Context) error {
	if u := p.Starter.Unit; u != nil && !p.supervise {
		out, err := exec.CommandContext(ctx, "systemctl", "restart", u.Name).CombinedOutput()
		if err != nil {
			return fmt.Errorf("cannot restart the node: systemctl restart %s: %w: %s", u.Name, err, strings.Join(strings.Fields(string(out)), " "))
		}
		return nil
	}
	node := p.Starter.Process
	if err := node.Signal(ctx, unix.SIGINT); err != nil {
		return fmt.Errorf("cannot restart the node: %w", err)
	}
	tick := time.NewTicker(endPoll)
	defer tick.Stop()
	for node.Alive(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("cannot restart the node: its process %d was told to end and has not; when it does, the agent starts it", node.PID)
		}
	}
	return nil
}
