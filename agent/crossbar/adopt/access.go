package adopt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"fabric.center/cfc/agent/crossbar/nodeconfig"
	"golang.org/x/sys/unix"
)

// User is somebody of this host.
type User struct {
	Name string
	UID  int
	GIDs []int
}

// OwnerOf is the user to whom a path belongs; where it is not there yet, the
// one who asks.
func OwnerOf(path string) User {
	uid := os.Geteuid()
	var s unix.Stat_t
	if unix.Stat(path, &s) == nil {
		uid = int(s.Uid)
	}
	u := User{Name: strconv.Itoa(uid), UID: uid}
	entry, err := user.LookupId(u.Name)
	if err != nil {
		return u // a user without a name has no groups
	}
	u.Name = entry.Username
	groups, err := entry.GroupIds()
	if err != nil {
		return u
	}
	for _, g := range groups {
		if gid, err := strconv.Atoi(g); err == nil {
			u.GIDs = append(u.GIDs, gid)
		}
	}
	return u
}

// may reports whether the user may do all of that (R_OK, W_OK, X_OK) with a file.
func (u User) may(path string, what uint32) bool {
	if u.UID == 0 {
		return true
	}
	var s unix.Stat_t
	if unix.Stat(path, &s) != nil {
		return false
	}
	mode := s.Mode
	for _, gid := range u.GIDs {
		if int(s.Gid) == gid {
			mode = s.Mode >> 3
		}
	}
	if int(s.Uid) == u.UID {
		mode = s.Mode >> 6
	}
	return mode&what == what
}

// access refuses a directory that the agent could not use, or others could
// use against it.
func (r Request) access(config string) error {
	if err := r.onlyOwners(config); err != nil {
		return err
	}
	if err := r.agentMayRead(config); err != nil {
		return err
	}
	if err := r.agentMayStart(); err != nil {
		return err
	}
	return r.mayChange(config)
}

// onlyOwners refuses what others may write, for that is to run commands as the
// node, and a key that they may read.
func (r Request) onlyOwners(config string) error {
	for name, forbidden := range map[string]fs.FileMode{".": 0o002, config: 0o002, "key.priv": 0o006} {
		path := filepath.Join(r.Dir.Path, name)
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return r.cannot("%w", err)
		}
		if mode := info.Mode().Perm(); mode&forbidden != 0 && !(info.IsDir() && info.Mode()&fs.ModeSticky != 0) {
			return r.cannot("everybody on this host may change or read %s (mode %#o): chmod o-rw it", path, mode)
		}
	}
	return nil
}

// agentMayRead wants the agent to see the configuration and the public key.
func (r Request) agentMayRead(config string) error {
	real, err := filepath.EvalSymlinks(r.Dir.Path)
	if err != nil {
		return r.cannot("%w", err)
	}
	for at := real; ; at = filepath.Dir(at) {
		if !r.Agent.may(at, unix.X_OK) {
			return r.cannot("the agent runs as %s, who may not enter %s", r.Agent.Name, at)
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	for _, name := range []string{config, "key.pub"} {
		path := filepath.Join(real, name)
		if _, err := os.Stat(path); err == nil && !r.Agent.may(path, unix.R_OK) {
			return r.cannot("the agent runs as %s, who may not read %s", r.Agent.Name, path)
		}
	}
	return nil
}

// agentMayStart wants the node's files to be the agent's, who is to run it.
func (r Request) agentMayStart() error {
	if !r.Supervise || r.Agent.UID == 0 {
		return nil
	}
	for _, name := range []string{".", "key.priv"} {
		path := filepath.Join(r.Dir.Path, name)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if o := OwnerOf(path); o.UID != r.Agent.UID {
			return r.cannot("%s belongs to %s, but with --supervise the node runs as the agent does, as %s: chown -R %s %s", path, o.Name, r.Agent.Name, r.Agent.Name, r.Dir.Path)
		}
	}
	return nil
}

// mayChange wants who asks to be able to write what is written.
func (r Request) mayChange(config string) error {
	if err := unix.Access(r.Dir.Path, unix.W_OK|unix.X_OK); err != nil {
		return r.cannot("its backup is kept in it, which this user may not write: %w", err)
	}
	path, err := nodeconfig.Target(r.Dir.Path, config)
	if err != nil {
		return r.cannot("%w", err)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if o := OwnerOf(path); os.Geteuid() != 0 && o.UID != os.Geteuid() {
		return r.cannot("%s belongs to %s, and is to stay so: do this as %s or as root", path, o.Name, o.Name)
	}
	if err := unix.Access(filepath.Dir(path), unix.W_OK|unix.X_OK); err != nil {
		return r.cannot("%s cannot be replaced: %w", path, err)
	}
	return nil
}

// Undo is what undoing the adoption of a directory would change; none where
// nothing is to be undone.
func Undo(dir string) (*nodeconfig.Record, []nodeconfig.Change, error) {
	record, err := nodeconfig.ReadRecord(dir)
	if record == nil || err != nil {
		return nil, nil, err
	}
	changes, err := record.Undone()
	if err != nil {
		err = fmt.Errorf("cannot undo the adoption: %w; take the uplink out of there by hand, and remove %s, where the files are as they were", err, nodeconfig.Backup(dir))
	}
	return record, changes, err
}
