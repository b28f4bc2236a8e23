//go:build unix

package cli

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// lock waits until no other command has the lock, which ends with its process.
func lock(path string, patience time.Duration) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return nil, errors.Join(err, f.Close())
		case time.Now().After(end):
			return nil, errors.Join(errors.New("another command is changing it: "+path+" is locked"), f.Close())
		}
	}
}
