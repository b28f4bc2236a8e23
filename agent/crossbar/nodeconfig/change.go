package nodeconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"syscall"

	"fabric.center/cfc/shared/durable"
	"golang.org/x/sys/unix"
)

const (
	keptDir    = ".cfc-adopt"
	recordName = "record.json"
	changed    = ".changed"
)

// Change is one file of the node directory before and after; nil is no file.
type Change struct {
	Name          string
	Before, After []byte
}

// Record is what has been changed in a node directory.
type Record struct {
	Version int    `json:"version"`
	Files   []kept `json:"files"`

	dir string
}

type kept struct {
	Name    string      `json:"name"`
	Existed bool        `json:"existed"`
	Removed bool        `json:"removed"` // by the change
	Mode    fs.FileMode `json:"mode"`
	UID     int         `json:"uid"`
	GID     int         `json:"gid"`

	before, after []byte
}

// Backup is where the files that were changed are kept.
func Backup(dir string) string { return filepath.Join(dir, keptDir) }

// ReadRecord is what has been changed in the directory, nil if nothing.
func ReadRecord(dir string) (*Record, error) {
	path := filepath.Join(Backup(dir), recordName)
	if err := notALink(Backup(dir)); err != nil {
		return nil, err
	}
	b, err := durable.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what was changed: %w", err)
	}
	r := &Record{dir: dir}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(r); err != nil || r.Version != 1 {
		return nil, fmt.Errorf("cannot use %s: it is damaged, or another version's", path)
	}
	for i := range r.Files {
		if err := r.Files[i].load(Backup(dir)); err != nil {
			return nil, fmt.Errorf("cannot use what was kept: %w", err)
		}
	}
	return r, nil
}

func (k *kept) load(dir string) (err error) {
	if k.Name != Activation && k.Name != Names[0] && k.Name != Names[1] {
		return fmt.Errorf("%s names %q, which is not the agent's to change", recordName, k.Name)
	}
	if k.Existed {
		if k.before, err = durable.ReadFile(filepath.Join(dir, k.Name)); err != nil {
			return err
		}
	}
	if !k.Removed {
		k.after, err = durable.ReadFile(filepath.Join(dir, k.Name+changed))
	}
	return err
}

func (r *Record) find(name string) *kept {
	if r != nil {
		for i := range r.Files {
			if r.Files[i].Name == name {
				return &r.Files[i]
			}
		}
	}
	return nil
}

// Made reports whether the uplink that the file has now is one that the record's
// change has put there.
func (r *Record) Made(f File) bool {
	k := r.find(f.Name)
	if k == nil || k.after == nil {
		return false
	}
	after, err := decode(f.Name, k.after)
	return err == nil && reflect.DeepEqual(Transport(after), Transport(f.Config))
}

// Removes reports whether the record's change is to remove this very file.
func (r *Record) Removes(name string, text []byte) bool {
	k := r.find(name)
	return k != nil && k.Removed && bytes.Equal(k.before, text)
}

// Plan is the change that gives the directory's configuration its uplink to a,
// none where it has it. It starts from the file without any change that was
// made before, so that undoing leads back to there.
func Plan(dir string, a *net.TCPAddr) ([]Change, error) {
	f, err := Read(dir)
	if err != nil || Uplink(f.Config) == URL(a) {
		return nil, err
	}
	r, err := ReadRecord(dir)
	if err != nil {
		return nil, err
	}
	if r.find(f.Name) != nil {
		undone, err := r.Undone()
		if err != nil {
			return nil, fmt.Errorf("cannot set the uplink: %w; take it out of there, and remove %s", err, Backup(dir))
		}
		for _, c := range undone {
			if c.Name == f.Name {
				f.Text = c.After
			}
		}
		f.Config = nil
		if f.Text != nil {
			if f.Config, err = decode(f.Name, f.Text); err != nil {
				return nil, err
			}
		}
	}
	text, err := f.WithUplink(a)
	return []Change{{f.Name, f.Text, text}}, err
}

// Apply makes the changes; what they replace is kept first. Of a file that has
// been changed before, mode and owner stay recorded as they were at first.
func Apply(dir string, changes []Change) error {
	old, err := ReadRecord(dir)
	if err != nil {
		return err
	}
	unlock, err := openBackup(dir)
	if err != nil {
		return err
	}
	defer unlock()
	r := Record{Version: 1, dir: dir}
	for _, c := range changes {
		k, err := describe(dir, c)
		if err != nil {
			return err
		}
		if was := old.find(c.Name); was != nil {
			k.Existed, k.Mode, k.UID, k.GID = was.Existed, was.Mode, was.UID, was.GID
		}
		r.Files = append(r.Files, k)
	}
	made := r.Files
	if old != nil { // what an earlier change did to other files is to be undone still
		for _, k := range old.Files {
			if r.find(k.Name) == nil {
				r.Files = append(r.Files, k)
			}
		}
	}
	if err := r.keep(); err != nil {
		return err
	}
	for _, k := range made {
		if err := k.write(dir, k.after); err != nil {
			return err
		}
	}
	return nil
}

// openBackup makes the directory, which belongs to the node's owner, and takes
// it for this process.
func openBackup(dir string) (unlock func(), err error) {
	path := Backup(dir)
	if err := notALink(path); err != nil {
		return nil, err
	}
	if err := durable.PrivateDir(path); err != nil {
		return nil, err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if err := own(path, info); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot change %s: somebody else is at it", dir), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

func own(path string, like fs.FileInfo) error {
	now, err := os.Stat(path)
	if err != nil {
		return err
	}
	uid, gid := heir(like)
	if u, g := owner(now); u == uid && g == gid {
		return nil
	}
	return os.Lchown(path, uid, gid)
}

// notALink keeps whoever owns the node directory from leading the one who
// changes it, root perhaps, to somebody else's files.
func notALink(path string) error {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("cannot use %s: it is a link", path)
	}
	return nil
}

// heir is whom something new in a directory belongs to: its owner, where files
// can be given away.
func heir(dir fs.FileInfo) (uid, gid int) {
	if os.Geteuid() != 0 {
		return os.Geteuid(), os.Getegid()
	}
	return owner(dir)
}

func owner(info fs.FileInfo) (uid, gid int) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid), int(s.Gid)
	}
	return os.Getuid(), os.Getgid()
}

// describe tells what a change replaces. A file that is not there yet becomes
// one of the node's owner.
func describe(dir string, c Change) (kept, error) {
	k := kept{Name: c.Name, Existed: c.Before != nil, Removed: c.After == nil, Mode: 0o600, before: c.Before, after: c.After}
	info, err := os.Stat(filepath.Join(dir, c.Name))
	if err == nil {
		k.Mode = info.Mode().Perm()
		k.UID, k.GID = owner(info)
		return k, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return kept{}, err
	}
	if info, err = os.Stat(dir); err != nil {
		return kept{}, err
	}
	k.UID, k.GID = heir(info)
	return k, nil
}

// keep writes everything that undoing needs, the record last.
func (r *Record) keep() error {
	dir := Backup(r.dir)
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	uid, gid := owner(info)
	put := func(name string, content []byte) error {
		return durable.WriteFileAs(filepath.Join(dir, name), content, 0o600, uid, gid)
	}
	for _, k := range r.Files {
		if k.before != nil {
			err = errors.Join(err, put(k.Name, k.before))
		}
		if k.after != nil {
			err = errors.Join(err, put(k.Name+changed, k.after))
		}
	}
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return put(recordName, b)
}

// write gives the file another content, through the link that leads to it, if
// one does.
func (k kept) write(dir string, content []byte) error {
	path := filepath.Join(dir, k.Name)
	if content == nil {
		return durable.Remove(path)
	}
	target, err := Target(dir, k.Name)
	if err != nil {
		return err
	}
	return durable.WriteFileAs(target, content, k.Mode.Perm(), k.UID, k.GID)
}

// Target is the file itself, where a link leads to it. A file elsewhere has to
// be the node's owner's: the link may be the work of somebody who could not
// write there.
func Target(dir, name string) (string, error) {
	path := filepath.Join(dir, name)
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	if err != nil {
		return "", err
	}
	info, err := os.Stat(target)
	if err != nil {
		return "", err
	}
	home, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	at, err := os.Stat(home)
	if err != nil {
		return "", err
	}
	theirs, _ := owner(info)
	nodes, _ := owner(at)
	if filepath.Dir(target) != home && theirs != nodes {
		return "", fmt.Errorf("cannot change %s, to which %s leads: it does not belong to the owner of the node directory", target, path)
	}
	return target, nil
}

// ErrEdited is why a change cannot be taken back.
var ErrEdited = errors.New("it has been edited since, where the agent had changed it")

// Undone is what undoing would change now. The error is ErrEdited for a file
// from which the change cannot be taken out; it is in the result all the same,
// with what it was before, so that both can be shown.
func (r *Record) Undone() (changes []Change, err error) {
	for _, k := range r.Files {
		now, e := durable.ReadFile(filepath.Join(r.dir, k.Name))
		if errors.Is(e, fs.ErrNotExist) {
			now = nil
		} else if e != nil {
			return nil, e
		}
		c := Change{k.Name, now, k.before}
		if !same(now, k.before) && !same(now, k.after) {
			if c.After, e = takeOut(k, now); e != nil {
				c.After = k.before
				if err == nil { // one is enough to refuse
					err = fmt.Errorf("%s: %w", filepath.Join(r.dir, k.Name), e)
				}
			}
		}
		changes = append(changes, c)
	}
	return changes, err
}

func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// Undo gives back what was there before, or what people have made of it since
// without the change, and forgets the record.
func (r *Record) Undo() error {
	unlock, err := openBackup(r.dir)
	if err != nil {
		return err
	}
	defer unlock()
	changes, err := r.Undone()
	if err != nil {
		return err
	}
	for i, c := range changes {
		if !same(c.Before, c.After) {
			if err := r.Files[i].write(r.dir, c.After); err != nil {
				return err
			}
		}
	}
	if err := durable.Remove(filepath.Join(Backup(r.dir), recordName)); err != nil {
		return err
	}
	return os.RemoveAll(Backup(r.dir))
}
