package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/durable"
	"github.com/google/uuid"
	"go.etcd.io/bbolt"
)

const (
	product = "crossbar.io fabric center relay"
	schema  = 1
	// LockWait is how long Open waits for another process to let go of the file.
	LockWait = 3 * time.Second
)

// Options of a Bolt. The zero value is right for a relay.
type Options struct {
	LockWait time.Duration // zero for LockWait
	// NoSync leaves out the flush after each commit: for tests of other packages.
	NoSync bool
	// MaxTokens is how many tokens that have not ended one user may have made;
	// zero for MaxTokens.
	MaxTokens int
}

// Bolt is a Store in one bbolt file. It is safe for use by many goroutines.
type Bolt struct {
	path      string
	relayID   string
	maxTokens int
	file      *os.File
	db        *bbolt.DB
	makers    *makers
	writing   chan struct{} // holds one token: the right to write, waited for with a context
	broken    atomic.Pointer[error]
}

var _ Store = (*Bolt)(nil)

// Open opens the store at path and makes it, and its directory, where there is
// none. A file that is damaged, of another program or in use is refused with its
// path. The caller closes the store.
func Open(path string, o Options) (*Bolt, error) {
	if o.LockWait == 0 {
		o.LockWait = LockWait
	}
	if o.MaxTokens == 0 {
		o.MaxTokens = MaxTokens
	}
	if err := durable.PrivateDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("cannot open store: %w", err)
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path); err != nil {
			return nil, fmt.Errorf("cannot make store %s: %w", path, err)
		}
	}
	b := &Bolt{path: path, maxTokens: o.MaxTokens, writing: make(chan struct{}, 1)}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: o.NoSync, OpenFile: func(string, int, os.FileMode) (*os.File, error) {
		// Locked, then checked, then mapped: nobody changes the file in between.
		f, all, err := openChecked(path, o.LockWait)
		b.file, b.relayID, b.makers = f, all.header.RelayID, newMakers(all.tokens)
		return f, err
	}})
	if err != nil {
		return nil, fmt.Errorf("cannot open store %s: %w", path, err)
	}
	b.db = db
	return b, nil
}

// create makes an empty store. It appears whole or not at all, and not over
// one that another process made at the same moment.
func create(path string) error {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".new-store-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	temp := filepath.Join(dir, "store")
	db, err := bbolt.Open(temp, 0o600, nil)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		return headers.put(&txn{Tx: tx}, "header", header{product, schema, uuid.NewString()})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Link(temp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// openChecked opens, locks and checks the file.
func openChecked(path string, wait time.Duration) (f *os.File, all contents, err error) {
	if f, err = openLocked(path, wait); err != nil {
		return nil, all, err
	}
	defer func() {
		if err != nil {
			f.Close()
			f = nil
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return f, all, err
	}
	if info.Mode().Perm() != 0o600 {
		if err := f.Chmod(0o600); err != nil {
			return f, all, err
		}
	}
	image, err := readImage(f, info.Size())
	if err != nil {
		return f, all, fmt.Errorf("%w; %s", err, restoreHint)
	}
	if all, err = inspect(image); err != nil {
		return f, all, fmt.Errorf("%w; %s", err, restoreHint)
	}
	return f, all, nil
}

const restoreHint = "nothing was changed; bring it back from a backup with cfc-relay restore"

// openLocked takes the lock that a relay holds on its file as long as it runs.
// A file that was replaced while we waited is not the one at path any more.
func openLocked(path string, wait time.Duration) (*os.File, error) {
	for end := time.Now().Add(wait); ; {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		if err = flock(f, end); err != nil {
			f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				err = fmt.Errorf("another process holds its lock (waited %s); is a relay running on it?", wait)
			}
			return nil, err
		}
		ours, err1 := f.Stat()
		there, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(ours, there) {
			return f, nil
		}
		f.Close()
		if time.Now().After(end) {
			return nil, errors.New("it is being replaced again and again")
		}
	}
}

func flock(f *os.File, end time.Time) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(end) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// RelayID implements Store.
func (b *Bolt) RelayID(context.Context) (string, error) { return b.relayID, nil }

// Healthy implements Store.
func (b *Bolt) Healthy() error {
	if p := b.broken.Load(); p != nil {
		return *p
	}
	return nil
}

// Close flushes and closes the file. Calls after it fail.
func (b *Bolt) Close() error {
	if b.Healthy() != nil {
		// bbolt's locks may be held for ever by what broke, and its map of the
		// file keeps the lock on the file: so let go of that by hand.
		return errors.Join(syscall.Flock(int(b.file.Fd()), syscall.LOCK_UN), b.file.Close())
	}
	if err := b.db.Close(); err != nil {
		return fmt.Errorf("cannot close store %s: %w", b.path, err)
	}
	return nil
}

func (b *Bolt) view(ctx context.Context, read func(tx *txn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return b.guarded("read", func() error { return b.db.View(reading(read)) })
}

// errUnchanged ends a write that turned out to have nothing to do.
var errUnchanged = errors.New("unchanged")

func (b *Bolt) update(ctx context.Context, write func(tx *txn) error) error {
	return b.updateIf(ctx, nil, write)
}

// updateIf is update, unless may says why not: before the file is touched, but
// with the right to write.
func (b *Bolt) updateIf(ctx context.Context, may func() error, write func(tx *txn) error) error {
	select {
	case b.writing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-b.writing }()
	if err := ctx.Err(); err != nil {
		return err
	}
	if may != nil {
		if err := may(); err != nil {
			return err
		}
	}
	var id uint64
	var change *txn
	err := b.guarded("write", func() error {
		return b.db.Update(func(tx *bbolt.Tx) error {
			id, change = uint64(tx.ID()), &txn{Tx: tx}
			return write(change)
		})
	})
	switch {
	case errors.Is(err, errUnchanged):
		return nil
	case err == nil:
		b.makers.committed(change)
		return nil
	}
	return unavailable(b.settled(err, id))
}

// unavailable tells a caller that the disk is full or broken, which is nobody's
// defect and may pass. The system's words are enough: no path is shown.
func unavailable(err error) error {
	var own *cfcerr.Error
	var errno syscall.Errno
	if errors.As(err, &own) || !errors.As(err, &errno) {
		return err
	}
	e := cfcerr.New(cfcerr.Unavailable, "cannot save the change: %s", errno.Error()).With("part", "store").With("reason", errno.Error())
	return errors.Join(e, err)
}

// settled is err, the outcome of transaction id. A commit that failed when its
// state was written already, but not flushed, may be there after a crash or not.
// Then the store serves no more, rather than go on from what may not be on disk.
func (b *Bolt) settled(err error, id uint64) error {
	var own *cfcerr.Error
	if err == nil || errors.As(err, &own) || b.Healthy() != nil {
		return err
	}
	if m, unread := newestMeta(b.file); unread == nil && m.tx < id {
		return err
	}
	err = fmt.Errorf("%w; what was written is not known: start the relay again", err)
	b.broken.Store(&err)
	return err
}

// guarded makes an end of the process into an error: bbolt panics when its file
// is damaged under it, and a file that was cut faults. After that the store
// serves no more, because nobody knows which of bbolt's locks are still held.
func (b *Bolt) guarded(what string, do func() error) (err error) {
	if err := b.Healthy(); err != nil {
		return err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cannot %s store %s: it was damaged while in use (%v); stop the relay and restore a backup", what, b.path, p)
			b.broken.Store(&err)
		}
	}()
	err = do()
	var own *cfcerr.Error
	if err == nil || errors.Is(err, errUnchanged) || errors.As(err, &own) {
		return err
	}
	return fmt.Errorf("cannot %s store %s: %w", what, b.path, err)
}
