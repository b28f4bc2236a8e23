package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/wire"
	"github.com/google/uuid"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, path string) *Bolt {
	t.Helper()
	s, err := Open(path, Options{LockWait: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// dataDir is a private directory that goes with the test.
func dataDir(t testing.TB) string { return filepath.Join(t.TempDir(), "data") }

func key(t testing.TB) string {
	k, err := identity.New()
	if err != nil {
		t.Fatal(err)
	}
	return k.Public()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fill makes the first owner "root", realm "r1" and n nodes.
func fill(t testing.TB, s *Bolt, n int) {
	t.Helper()
	ctx := t.Context()
	tok, err := wire.NewToken(wire.ForUser)
	must(t, err)
	must(t, s.AddToken(ctx, Token{ID: tok.ID, Purpose: wire.ForUser, Hash: fmt.Sprintf("%x", tok.Hash()), User: "root", Uses: 1, Left: 1, First: true}))
	_, err = s.ClaimUser(ctx, UserClaim{Token: tok, Pubkey: key(t)})
	must(t, err)
	must(t, s.CreateRealm(ctx, Realm{Name: "r1", OID: uuid.NewString(), Owner: "root"}))
	for i := range n {
		must(t, s.PairNode(ctx, Node{OID: uuid.NewString(), Realm: "r1", ID: fmt.Sprintf("n%d", i), Pubkey: key(t), Labels: map[string]string{"fill": strings.Repeat("x", 200)}}))
	}
}

func count(t testing.TB, s *Bolt) int {
	t.Helper()
	all, err := s.Nodes(t.Context(), "r1")
	must(t, err)
	return len(all)
}

func TestOpenMakesPrivateFiles(t *testing.T) {
	path := filepath.Join(dataDir(t), "relay.db")
	s := open(t, path)
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(p)
		must(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %s is %#o, want %#o", p, got, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	id, _ := s.RelayID(t.Context())
	must(t, s.Close())
	must(t, os.Chmod(path, 0o644))
	again := open(t, path)
	if got, _ := again.RelayID(t.Context()); got != id {
		t.Errorf("relay id changed from %s to %s", id, got)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v was not mended", info.Mode())
	}
	must(t, os.Chmod(filepath.Dir(path), 0o755))
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), filepath.Dir(path)) {
		t.Errorf("a directory that others can read: %v", err)
	}
}

func TestStateSurvivesClose(t *testing.T) {
	path := filepath.Join(dataDir(t), "relay.db")
	s := open(t, path)
	fill(t, s, 100)
	must(t, s.Close())
	s = open(t, path)
	if n := count(t, s); n != 100 {
		t.Fatalf("%d nodes, want 100", n)
	}
}

func TestOpenRefusesFileInUse(t *testing.T) {
	path := filepath.Join(dataDir(t), "relay.db")
	open(t, path)
	_, err := Open(path, Options{LockWait: 50 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "lock") {
		t.Fatalf("got %v", err)
	}
}

// bbolt's own check and ours agree on what bbolt writes.
func TestOurCheckAgreesWithBbolt(t *testing.T) {
	path := filepath.Join(dataDir(t), "relay.db")
	s := open(t, path)
	fill(t, s, 80)
	all, err := s.Nodes(t.Context(), "r1")
	must(t, err)
	for i, n := range all {
		if i%3 > 0 {
			_, err := s.UnpairNode(t.Context(), n.OID)
			must(t, err)
		}
		if i%20 != 0 {
			continue
		}
		data, err := os.ReadFile(path)
		must(t, err)
		state, err := readImage(strings.NewReader(string(data)), int64(len(data)))
		must(t, err)
		_, err = inspect(state)
		must(t, err)
		must(t, s.db.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				t.Error(err)
			}
			return nil
		}))
	}
}

// A file that is cut while the relay runs ends no process: the store says so
// and serves no more.
func TestTruncatedWhileInUse(t *testing.T) {
	path := filepath.Join(dataDir(t), "relay.db")
	s := open(t, path)
	fill(t, s, 80)
	must(t, os.Truncate(path, 4096))
	_, err := s.Nodes(t.Context(), "r1")
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("got %v", err)
	}
	if s.Healthy() == nil {
		t.Fatal("the store calls itself healthy")
	}
	if _, err := s.DeleteUser(t.Context(), "root", ""); err == nil {
		t.Fatal("a write went on")
	}
}

// A commit that fails after its state was written leaves nobody knowing which
// state a crash would show.
func TestUnsettledCommitEndsService(t *testing.T) {
	s := open(t, filepath.Join(dataDir(t), "relay.db"))
	fill(t, s, 1)
	m, err := newestMeta(s.file)
	must(t, err)
	failed := errors.New("cannot flush")
	if err := s.settled(failed, m.tx+1); !errors.Is(err, failed) || s.Healthy() != nil {
		t.Fatalf("a commit that wrote nothing: %v, %v", err, s.Healthy())
	}
	if n := count(t, s); n != 1 {
		t.Fatalf("%d nodes", n)
	}
	if err := s.settled(failed, m.tx); !errors.Is(err, failed) || s.Healthy() == nil {
		t.Fatalf("a commit that wrote its state: %v, %v", err, s.Healthy())
	}
	if _, err := s.Nodes(t.Context(), "r1"); !errors.Is(err, failed) {
		t.Fatalf("read on: %v", err)
	}
	// The lock is let go, and the next start reads what is there.
	must(t, s.Close())
	open(t, s.path)
}

func TestWriteWaitsNoLongerThanItsContext(t *testing.T) {
	s := open(t, filepath.Join(dataDir(t), "relay.db"))
	s.writing <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.DeleteUser(ctx, "x", ""); err == nil || ctx.Err() == nil {
		t.Fatalf("got %v", err)
	}
	<-s.writing
}

func TestBackupWhileWriting(t *testing.T) {
	dir := dataDir(t)
	path, to := filepath.Join(dir, "relay.db"), filepath.Join(dir, "backup")
	s := open(t, path)
	fill(t, s, 50)
	var stop atomic.Bool
	done := make(chan error, 1)
	go func() {
		for i := 0; !stop.Load(); i++ {
			if err := s.PairNode(context.Background(), Node{OID: uuid.NewString(), Realm: "r1", ID: fmt.Sprintf("m%d", i), Pubkey: key(t)}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 5 {
		before := count(t, s)
		must(t, Backup(t.Context(), path, to))
		after := count(t, s)
		copied := filepath.Join(dir, "copied.db")
		must(t, Restore(t.Context(), to, copied))
		c, err := Open(copied, Options{})
		must(t, err)
		if n := count(t, c); n < before || n > after {
			t.Errorf("backup has %d nodes, the store had %d before and %d after", n, before, after)
		}
		must(t, c.Close())
	}
	stop.Store(true)
	must(t, <-done)
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("backup: %v, %v", info.Mode(), err)
	}
}

func TestRestore(t *testing.T) {
	dir := dataDir(t)
	path, to := filepath.Join(dir, "relay.db"), filepath.Join(dir, "backup")
	s := open(t, path)
	fill(t, s, 5)
	must(t, Backup(t.Context(), path, to))
	must(t, s.PairNode(t.Context(), Node{OID: uuid.NewString(), Realm: "r1", ID: "later", Pubkey: key(t)}))
	if err := Restore(t.Context(), to, path); err == nil || !strings.Contains(err.Error(), "lock") {
		t.Fatalf("restore over a store in use: %v", err)
	}
	if n := count(t, s); n != 6 {
		t.Fatalf("%d nodes after a refused restore", n)
	}
	must(t, s.Close())
	must(t, os.WriteFile(filepath.Join(dir, "bad"), []byte("no store"), 0o600))
	for _, bad := range []string{filepath.Join(dir, "bad"), filepath.Join(dir, "none"), path, "/dev/zero", dir} {
		if err := Restore(t.Context(), bad, path); err == nil || !strings.Contains(err.Error(), bad) {
			t.Fatalf("restore from %s: %v", bad, err)
		}
	}
	// What is there is damaged: that is what a backup is for.
	must(t, os.Truncate(path, 5000))
	if _, err := Open(path, Options{}); err == nil {
		t.Fatal("a truncated store was opened")
	}
	must(t, Restore(t.Context(), to, path))
	s = open(t, path)
	if n := count(t, s); n != 5 {
		t.Fatalf("%d nodes after the restore", n)
	}
	must(t, s.PairNode(t.Context(), Node{OID: uuid.NewString(), Realm: "r1", ID: "later", Pubkey: key(t)}))
	if info, err := os.Stat(Kept(path)); err != nil || info.Size() != 5000 {
		t.Errorf("the damaged file was not kept: %v", err)
	}
	if err := Backup(t.Context(), path, path); err == nil {
		t.Error("a store was backed up onto itself")
	}
}
