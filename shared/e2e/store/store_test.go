// Package store breaks the disk below a relay, as a real process: what it has
// acknowledged is never lost, and what it cannot keep or read it says.
package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// owned is a relay and its owner.
type owned struct {
	*fleet.Relay
	key identity.Key
}

func start(t *testing.T, o fleet.RelayOptions) *owned {
	t.Helper()
	ctx := within(t, time.Minute)
	tools, err := fleet.Find(ctx)
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	t.Cleanup(func() {
		if _, err := fleet.Reap(context.Background(), home, 0); err != nil {
			t.Error(err)
		}
	})
	r, err := fleet.StartRelay(ctx, tools, home, o)
	if err != nil {
		t.Fatal(err)
	}
	token, err := r.OwnerToken()
	if err != nil {
		t.Fatal(err)
	}
	key, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.Join(ctx, session.Config{URL: r.URL(), Key: key, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return &owned{r, key}
}

func (o *owned) join(t *testing.T) *session.Session {
	t.Helper()
	s, err := session.Join(within(t, 30*time.Second), session.Config{URL: o.URL(), Realm: wire.UsersRealm, Key: o.key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func create(ctx context.Context, s *session.Session, realm string) error {
	_, err := s.Call(ctx, catalog.CreateManagementRealm.URI(), wamp.List{realm}, nil, session.CallOptions{Timeout: 10 * time.Second})
	return err
}

func realms(t *testing.T, s *session.Session) map[string]bool {
	t.Helper()
	r, err := s.Call(within(t, 20*time.Second), catalog.GetManagementRealms.URI(), nil, nil, session.CallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	list, _ := wamp.AsList(r.Arguments[0])
	have := map[string]bool{}
	for _, v := range list {
		have[fmt.Sprint(v)] = true
	}
	return have
}

// TestTheDiskIsFull fills the small file system that the relay's state is on.
// unshare gives the relay a mount of its own, which ends with it.
func TestTheDiskIsFull(t *testing.T) {
	o := start(t, fleet.RelayOptions{Tmpfs: "1m"})
	s := o.join(t)
	ctx := within(t, 2*time.Minute)
	acknowledged := map[string]bool{}
	for _, name := range []string{"first", "second", "third"} {
		if err := create(ctx, s, name); err != nil {
			t.Fatal(err)
		}
		acknowledged[name] = true
	}
	// Something else takes the rest.
	ballast := os.WriteFile(filepath.Join(o.Data, "ballast"), make([]byte, 2<<20), 0o600)
	if !errors.Is(ballast, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", ballast)
	}
	var refusal error
	for i := 0; refusal == nil && i < 5000; i++ {
		name := fmt.Sprintf("realm-%04d", i)
		if err := create(ctx, s, name); err != nil {
			refusal = err
		} else {
			acknowledged[name] = true
		}
	}
	if k := cfcerr.KindOf(refusal); k != cfcerr.Unavailable && k != cfcerr.LimitExceeded {
		t.Errorf("a full disk is told as: %v", refusal)
	}
	text := fmt.Sprint(refusal)
	if !strings.Contains(text, "space") && !strings.Contains(text, "full") {
		t.Errorf("the refusal does not say why: %s", text)
	}
	// Whatever the relay does about it, what it has acknowledged is there.
	pid, err := o.inner()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := fleet.Poll(within(t, 30*time.Second), func() error {
		if now, err := o.inner(); err != nil || now == pid {
			return fmt.Errorf("not started again: %d, %w", now, err)
		}
		return o.Ready(within(t, 5*time.Second))
	}); err != nil {
		t.Fatalf("the relay does not start on the full disk: %v\n%s", err, o.Tail(5))
	}
	have := realms(t, o.join(t))
	for name := range acknowledged {
		if !have[name] {
			t.Errorf("%s was acknowledged and is lost", name)
		}
	}
}

// inner is the relay's process below the shell that holds its mount.
func (o *owned) inner() (int, error) {
	for _, pid := range fleet.Survivors(o.Home()) {
		if args := fleet.CommandLine(pid); len(args) > 1 && filepath.Base(args[0]) == "cfc-relay" && args[1] == "run" {
			return pid, nil
		}
	}
	return 0, errors.New("the relay does not run")
}

// TestTheStoreIsDamaged cuts, overwrites and empties the relay's file. It is
// refused with its path; a backup brings it back.
func TestTheStoreIsDamaged(t *testing.T) {
	o := start(t, fleet.RelayOptions{})
	ctx := within(t, 2*time.Minute)
	if err := create(ctx, o.join(t), "kept"); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "backup")
	if out, err := o.Command(ctx, "backup", backup); err != nil {
		t.Fatalf("backup of a relay that runs: %v\n%s", err, out)
	}
	if err := o.Stop(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(o.Data, "relay.db")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	zeroed := append([]byte(nil), whole...)
	clear(zeroed[len(zeroed)/4:])
	for what, content := range map[string][]byte{
		"cut in half": whole[:len(whole)/2], "cut to a page": whole[:4096], "empty": {}, "of something else": []byte(strings.Repeat("hello\n", 10000)),
		"overwritten with zeros": zeroed,
	} {
		t.Run(what, func(t *testing.T) {
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := o.Launch(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-o.Done():
			case <-within(t, 20*time.Second).Done():
				t.Error("the relay runs on a damaged file")
				if err := o.Stop(); err != nil {
					t.Error(err)
				}
			}
			if o.Err() == nil {
				t.Error("the relay ended with exit code 0")
			}
			if last := o.Tail(3); !strings.Contains(last, file) || !strings.Contains(last, "restore") {
				t.Errorf("it names neither the file nor the way out: %s", last)
			}
			after, err := os.ReadFile(file)
			if err != nil || string(after) != string(content) {
				t.Errorf("the damaged file was changed: %d bytes became %d, %v", len(content), len(after), err)
			}
		})
	}
	if out, err := o.Command(ctx, "restore", backup); err != nil {
		t.Fatalf("restore: %v\n%s", err, out)
	}
	if err := o.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if !realms(t, o.join(t))["kept"] {
		t.Error("what the backup had is not there")
	}
	if err := o.Stop(); err != nil {
		t.Fatal(err)
	}
}
