// Package durable writes small files so that a crash at any moment leaves the
// old content or the new, never a mixture: a temporary file beside the target,
// flushed, renamed over it, and the directory flushed.
package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// WriteFile replaces path with data. The mode is exact, whatever the umask.
func WriteFile(path string, data []byte, mode os.FileMode) error {
	return write(path, func(f *os.File) error { return fill(f, data, mode) }, os.Rename)
}

// CreateFile is WriteFile where there is no file yet. One that somebody else has
// made meanwhile stays, and the error is fs.ErrExist.
func CreateFile(path string, data []byte, mode os.FileMode) error {
	return write(path, func(f *os.File) error { return fill(f, data, mode) }, func(temporary, path string) error {
		if err := os.Link(temporary, path); err != nil {
			return err
		}
		return os.Remove(temporary)
	})
}

// WriteFileAs does it for a file that belongs to somebody else: it is theirs
// before it has its name.
func WriteFileAs(path string, data []byte, mode os.FileMode, uid, gid int) error {
	return write(path, func(f *os.File) error {
		if err := f.Chown(uid, gid); err != nil {
			f.Close()
			return err
		}
		return fill(f, data, mode)
	}, os.Rename)
}

// write fills a file beside path, which name then gives that name.
func write(path string, fill func(*os.File) error, name func(temporary, path string) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, temporary(path)+"*")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
			err = fmt.Errorf("cannot write %s: %w", path, err)
		}
	}()
	if err = fill(f); err != nil {
		return err
	}
	if err = name(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// temporary is how the names of files begin that are to be renamed to path.
func temporary(path string) string { return "." + filepath.Base(path) + "." }

func fill(f *os.File, data []byte, mode os.FileMode) error {
	defer f.Close()
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// Why is what the system says of a write that failed, without the path.
func Why(err error) string {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number.Error()
	}
	return "not writable"
}

// Remove deletes path so that it stays deleted after a crash. A path that is
// not there is no error.
func Remove(path string) error {
	err := os.Remove(path)
	if err == nil || os.IsNotExist(err) {
		err = SyncDir(filepath.Dir(path))
	}
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("cannot remove %s: %w", path, err)
	}
	return nil
}

// PrivateDir makes a directory that only its owner can enter, and refuses one
// that others can.
func PrivateDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("cannot make directory %s: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("cannot use directory %s: %w", path, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("cannot use %s: not a directory", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("cannot use directory %s: mode is %#o, others may look in; expected 0700", path, info.Mode().Perm())
	}
	return nil
}

// SyncDir flushes a directory: what was made, renamed or removed in it stays so.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
