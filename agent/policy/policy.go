// Package policy is the host's own say in what may be done to it from afar,
// whatever rights the relay gives: a file that only root, or the agent's own
// user, can write.
//
//	version: 1
//	read_only: false             # true: nothing may be changed
//	areas: {router: read-only}   # on, read-only or off, by area of operations
//	deny: [node.shutdown]        # single operations, area.name
//	guest_workers: true          # any executable as a worker, for owners
//	docker: {images: [nginx]}    # what containers may be and have
//
// No file means that nothing is forbidden but Docker, which is off unless the
// file has it on. A file that is there and wrong, or
// that others could have written, allows reading alone: a host that meant to
// forbid something must not be open because of a typing error. The file is
// looked at every two seconds, and at once by Reload; whoever was refused is
// told the rule's key.
package policy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/config"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/zap"
)

// DefaultPath is where the policy of a host stands.
const DefaultPath = "/etc/cfc/policy.yaml"

const lookEvery = 2 * time.Second

// Mode is what an area of operations may do.
type Mode string

// The modes.
const (
	On       Mode = "on"
	ReadOnly Mode = "read-only"
	Off      Mode = "off"
)

// UnmarshalText reads a mode.
func (m *Mode) UnmarshalText(b []byte) error {
	*m = Mode(b)
	if !slices.Contains([]Mode{On, ReadOnly, Off}, *m) {
		return errors.New("no such mode")
	}
	return nil
}

// Form says which modes there are.
func (*Mode) Form() string { return "on, read-only or off" }

//go:generate go test -count=1 -run ^TestPage$ . -update

// Rules are what the file says.
type Rules struct {
	ReadOnly bool            `yaml:"read_only" doc:"nothing may be changed, whoever asks"`
	Areas    map[string]Mode `yaml:"areas" doc:"what each area of operations may do: on, read-only or off; docker is off if it is not named"`
	Deny     []string        `yaml:"deny" doc:"operations that are refused, each area.name"`
	Guests   bool            `yaml:"guest_workers" default:"true" doc:"owners may start any executable as a worker: a guest, or another one by the options python, pythonpath and env"`
	Docker   Docker          `yaml:"docker"`
}

// areas are those of the whole API, so that a policy may speak of what this
// version does not have yet.
var areas = []string{"container", "docker", "meta", "node", "proxy", "router", "tracing", "worker"}

// Validate finds names that mean nothing.
func (r Rules) Validate() []config.Fault {
	faults := r.Docker.faults()
	for area := range r.Areas {
		if !slices.Contains(areas, area) {
			faults = append(faults, config.Faultf("areas."+area, "no such area: expected one of %v", areas))
		}
	}
	index := catalog.NewIndex()
	for i, key := range r.Deny {
		if _, ok := index.ByKey(key); !ok {
			faults = append(faults, config.Faultf(fmt.Sprintf("deny[%d]", i), "no such operation %q: expected area.name, such as node.shutdown", key))
		}
	}
	return faults
}

// Policy is the rules in force.
type Policy struct {
	path     string
	optional bool
	uid      int
	log      *zap.Logger

	mu     sync.RWMutex
	rules  Rules
	denied map[*catalog.Op]bool
	broken error
	seen   stamp
	change chan struct{} // closed and made anew by Reload
}

// stamp tells one state of the file from the next.
type stamp struct {
	mod      time.Time
	size     int64
	inode    uint64
	there    bool   // also a link that leads nowhere
	distrust string // why others could have written it
}

// Open reads the policy at path. Optional says that there need be none.
func Open(path string, optional bool, log *zap.Logger) *Policy {
	p := &Policy{path: path, optional: optional, uid: os.Getuid(), log: log, change: make(chan struct{})}
	p.Reload()
	return p
}

// Run reads the file again whenever it has changed.
func (p *Policy) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		p.mu.RLock()
		seen := p.seen
		p.mu.RUnlock()
		if p.look() != seen {
			p.Reload()
		}
	}
}

func (p *Policy) look() stamp {
	s := stamp{there: p.there()}
	if !s.there {
		return s
	}
	if err := p.ownedWell(); err != nil {
		s.distrust = err.Error()
	}
	i, err := os.Stat(p.path)
	if err != nil {
		return s
	}
	s.mod, s.size = i.ModTime(), i.Size()
	if sys, ok := i.Sys().(*syscall.Stat_t); ok {
		s.inode = sys.Ino
	}
	return s
}

func (p *Policy) there() bool {
	_, err := os.Lstat(p.path)
	return err == nil
}

// Reload reads the file now. What is wrong with it is in Err.
func (p *Policy) Reload() {
	seen := p.look()
	rules, err := p.read(seen)
	denied := map[*catalog.Op]bool{}
	index := catalog.NewIndex()
	for _, key := range rules.Deny {
		if op, ok := index.ByKey(key); ok {
			denied[op] = true
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules, p.denied, p.broken, p.seen = rules, denied, err, seen
	close(p.change)
	p.change = make(chan struct{})
	if err != nil {
		p.log.Error("host policy cannot be used: reading alone is allowed", zap.String("path", p.path), zap.Error(err))
		return
	}
	p.log.Info("host policy", zap.String("path", p.path), zap.Bool("present", seen.there), zap.Bool("read_only", rules.ReadOnly))
}

// Changed is closed when the rules in force may have become others.
func (p *Policy) Changed() <-chan struct{} {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.change
}

func (p *Policy) read(seen stamp) (Rules, error) {
	if seen.distrust != "" {
		return Rules{}, errors.New(seen.distrust)
	}
	var r Rules
	if err := config.Load(&r, config.Sources{File: p.path, Optional: p.optional && !seen.there}); err != nil {
		return Rules{}, err
	}
	return r, nil
}

// Check reads the policy at path as the agent does, whoever asks: to whom the
// file has to belong depends on the agent's user.
func Check(path string, optional bool) error {
	p := &Policy{path: path, optional: optional}
	_, err := p.read(stamp{there: p.there()})
	return err
}

// ownedWell refuses a file that somebody else could have written.
func (p *Policy) ownedWell() error {
	path, err := filepath.EvalSymlinks(p.path)
	if err != nil {
		return fmt.Errorf("cannot read policy: %w", err)
	}
	for _, place := range []string{path, filepath.Dir(path), filepath.Dir(p.path)} { // a link is as good as what stands there
		i, err := os.Stat(place)
		if err != nil {
			return fmt.Errorf("cannot read policy: %w", err)
		}
		if err := owned(place, i, p.uid); err != nil {
			return err
		}
	}
	return nil
}

// owned refuses what others than root and this user can write.
func owned(place string, i fs.FileInfo, uid int) error {
	if err := belongs(place, i, uid); err != nil {
		return err
	}
	sticky := i.IsDir() && i.Mode()&fs.ModeSticky != 0
	if i.Mode().Perm()&0o022 != 0 && !sticky {
		return fmt.Errorf("cannot trust %s: mode is %#o, others can write it; expected 0644 or less", place, i.Mode().Perm())
	}
	return nil
}

// belongs refuses a file of others than root and this user.
func belongs(place string, i fs.FileInfo, uid int) error {
	sys, ok := i.Sys().(*syscall.Stat_t)
	if ok && sys.Uid != 0 && int(sys.Uid) != uid {
		return fmt.Errorf("cannot trust %s: it belongs to user %d; expected root or user %d", place, sys.Uid, uid)
	}
	return nil
}

// Err is what is wrong with the file, nil while the rules in force are the
// file's.
func (p *Policy) Err() error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.broken
}

// Present reports whether there is a file; without one the defaults are in force.
func (p *Policy) Present() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.seen.there
}

// Path is where the file is, or would be.
func (p *Policy) Path() string { return p.path }

// Allow refuses what the host forbids: DeniedByHost with the rule.
func (p *Policy) Allow(op *catalog.Op, _ catalog.Caller, args wamp.List, kwargs wamp.Dict) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	group, _ := op.Group()
	area, said := p.rules.Areas[group]
	if !said && group == "docker" {
		area = Off
	}
	switch {
	case p.broken != nil && (op.Mutates() || area == Off):
		return refusal(op, "policy", "the host's policy file cannot be used, so that only reading is allowed")
	case p.broken != nil:
		return nil
	case p.rules.ReadOnly && op.Mutates():
		return refusal(op, "read_only", "the host's policy allows reading alone")
	case area == Off:
		return refusal(op, "areas."+group, "the host's policy has area "+group+" off (areas."+group+" in "+filepath.Base(p.path)+")")
	case area == ReadOnly && op.Mutates():
		return refusal(op, "areas."+group, "the host's policy allows reading alone in this area")
	case p.denied[op]:
		return refusal(op, "deny", "the host's policy forbids this operation")
	case !p.rules.Guests && op == catalog.NodeStartWorker.Op && startsProgram(args, kwargs):
		return refusal(op, "guest_workers", "the host's policy forbids programs that are not the node's own: guest workers, and the options python, pythonpath and env")
	}
	return nil
}

func refusal(op *catalog.Op, rule, why string) error {
	return cfcerr.New(cfcerr.DeniedByHost, "cannot call %s: %s", op.Key(), why).With("rule", rule)
}

// startsProgram looks for the type guest, or a program in the place of the node's
// own, in any place where start_worker takes them. The arguments are not checked
// yet; what is no worker at all is refused later.
func startsProgram(args wamp.List, kwargs wamp.Dict) bool {
	candidates := []any{kwargs["config"], kwargs["type"], kwargs["options"]}
	if len(args) > 1 {
		candidates = append(candidates, args[1:]...)
	}
	for _, c := range candidates {
		config, _ := wamp.AsDict(c)
		options, _ := wamp.AsDict(config["options"])
		if isGuest(c) || isGuest(config["type"]) || choosesProgram(config) || choosesProgram(options) {
			return true
		}
	}
	return false
}

// choosesProgram finds another Python, and what makes the node's own load anything
// before it is a worker.
func choosesProgram(options map[string]any) bool {
	return options["python"] != nil || options["pythonpath"] != nil || options["env"] != nil
}

func isGuest(v any) bool { s, ok := wamp.AsString(v); return ok && s == "guest" }
