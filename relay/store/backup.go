package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"fabric.center/cfc/shared/durable"
)

// Backup writes the state of the store at path into a file of its own, 0600,
// whole or not at all. It works from any process while a relay runs on the
// store, and takes no lock: bbolt never overwrites the pages of the newest
// state, so that a copy during which no commit ended is that state; it tries
// until there was none. The copy is checked in full before it counts.
func Backup(ctx context.Context, path, to string) error {
	if sameFile(path, to) {
		return fmt.Errorf("cannot back up store %s: onto itself", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cannot back up store %s: %w", path, err)
	}
	defer f.Close()
	state, err := stillImage(ctx, f)
	if err == nil {
		_, err = inspect(state)
	}
	if err != nil {
		return fmt.Errorf("cannot back up store %s: %w", path, err)
	}
	if err := durable.WriteFile(to, state.bytes(), 0o600); err != nil {
		return fmt.Errorf("cannot back up store %s: %w", path, err)
	}
	return nil
}

func stillImage(ctx context.Context, f *os.File) (image, error) {
	for {
		info, err := f.Stat()
		if err != nil {
			return image{}, err
		}
		state, err := readImage(f, info.Size())
		if err != nil {
			return image{}, err
		}
		after, err := newestMeta(f)
		if err != nil {
			return image{}, err
		}
		if after == state.meta {
			return state, nil
		}
		select {
		case <-ctx.Done():
			return image{}, fmt.Errorf("it never stood still: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Kept is where Restore leaves the file that it replaces.
func Kept(path string) string { return path + ".before-restore" }

// Restore puts a backup in the place of the store at path. The backup is
// checked in full first, a store in use is refused, and the file that was there,
// damaged or not, is kept beside it under Kept.
func Restore(ctx context.Context, backup, path string) error {
	fail := func(err error) error { return fmt.Errorf("cannot restore store %s from %s: %w", path, backup, err) }
	if sameFile(path, backup) {
		return fail(errors.New("onto itself"))
	}
	state, err := readBackup(backup)
	if err != nil {
		return fail(err)
	}
	if err := errors.Join(ctx.Err(), durable.PrivateDir(filepath.Dir(path))); err != nil {
		return fail(err)
	}
	// The lock is held until the new file stands at path, so that no relay
	// starts on the old one.
	old, err := openLocked(path, 200*time.Millisecond)
	if err == nil {
		defer old.Close()
		if err := os.Remove(Kept(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fail(err)
		}
		if err := os.Link(path, Kept(path)); err != nil {
			return fail(err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	if err := durable.WriteFile(path, state.bytes(), 0o600); err != nil {
		return fail(err)
	}
	return nil
}

func readBackup(path string) (image, error) {
	f, err := durable.OpenFile(path)
	if err != nil {
		return image{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return image{}, err
	}
	state, err := readImage(f, info.Size())
	if err != nil {
		return image{}, err
	}
	_, err = inspect(state)
	return state, err
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}
