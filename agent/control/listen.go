package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

const longestPath = 107 // sun_path of Linux

// listener accepts whom the kernel calls root or this very user.
type listener struct {
	*net.UnixListener
	slots chan struct{}
	log   *zap.Logger
}

func listen(ctx context.Context, path string, log *zap.Logger) (*listener, error) {
	if len(path) > longestPath {
		return nil, fmt.Errorf("cannot open control socket %s: its path has %d characters, at most %d", path, len(path), longestPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("cannot open control socket: %w", err)
	}
	if err := removeDead(ctx, path); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot open control socket: %w", err)
	}
	// Until here others may connect, but each one's user is asked for anyway.
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, fmt.Errorf("cannot open control socket: %w", err)
	}
	return &listener{ln.(*net.UnixListener), make(chan struct{}, maxConnections), log}, nil
}

// removeDead removes a socket that nobody listens on.
func removeDead(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot open control socket: %w", err)
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("cannot open control socket %s: there is something else", path)
	}
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		c.Close()
		return fmt.Errorf("cannot open control socket %s: another agent listens there", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("cannot open control socket: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("cannot open control socket: %w", err)
	}
	return nil
}

// Accept waits for a slot, then for somebody who may.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := userOf(c)
		if err != nil || !admits(uid, os.Geteuid()) {
			l.log.Warn("control connection refused", zap.Uint32("uid", uid), zap.Error(err))
			c.Close()
			continue
		}
		l.slots <- struct{}{}
		return &conn{Conn: c, release: sync.OnceFunc(func() { <-l.slots })}, nil
	}
}

// admits reports whether a user may control an agent that runs as own.
func admits(uid uint32, own int) bool { return uid == 0 || int64(uid) == int64(own) }

func userOf(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *syscall.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, credErr); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// conn frees its slot when it is closed.
type conn struct {
	net.Conn
	release func()
}

// Close closes the connection.
func (c *conn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
