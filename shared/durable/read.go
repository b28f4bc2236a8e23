package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Load reads a file of state with parse, which is not called where there is no
// file. One that cannot be used is set aside, for a caller who rather begins anew
// than not at all: aside is where it is then, and err says why. Load is for who
// alone writes the file: what crashes have left of writes is removed.
func Load(path string, parse func([]byte) error) (aside string, err error) {
	removeHalf(path)
	b, err := ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err == nil {
		err = parse(b)
	}
	if err == nil {
		return "", nil
	}
	aside = fmt.Sprintf("%s.damaged-%d", path, time.Now().Unix())
	return aside, errors.Join(err, os.Rename(path, aside))
}

// removeHalf removes what was to be renamed to path. It is no harm where it stays.
func removeHalf(path string) {
	dir, begin := filepath.Dir(path), temporary(path)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), begin) && e.Type().IsRegular() {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// maxRead bounds what is read of one file.
const maxRead = 16 << 20

// ReadGiven reads a file that a person has named for this once, which may be a
// pipe too: what comes is waited for, but not without end.
func ReadGiven(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f)
}

// ReadFile reads a file of which somebody else may have made anything: one that
// is no regular file would be waited for, or never end.
func ReadFile(path string) ([]byte, error) {
	f, err := OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f)
}

// OpenFile opens such a file to be read, if it is a regular one.
func OpenFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func readBounded(f *os.File) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(f, maxRead+1))
	if err == nil && len(b) > maxRead {
		err = &fs.PathError{Op: "read", Path: f.Name(), Err: fmt.Errorf("larger than %d MiB", maxRead>>20)}
	}
	return b, err
}
