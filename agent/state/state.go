// Package state is the agent's identity on disk: its keys and the pairing.
//
// The directory is for the agent alone (0700) and holds
//
//	keys/HOST_PORT.key   the agent's key for that relay, 64 hex digits (0600)
//	pairing.json         with which relay it is paired, and as what (0600)
//	lock                 held by the one agent that runs on this directory
//
// There is one key for each relay, made before the first log-in there and kept
// for ever: so one relay can do nothing with what another one saw, and a claim
// whose answer was lost is simply made again. Files are written atomically and
// read strictly; what is damaged is refused with its path, never guessed.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"fabric.center/cfc/shared/durable"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
)

// DefaultDir is where an installed agent keeps its state.
const DefaultDir = "/var/lib/cfc-agent"

const version = 1

// Pairing is with whom the agent is paired, and as what.
type Pairing struct {
	Version int    `json:"version"`
	Relay   string `json:"relay"` // URL
	Realm   string `json:"realm"`
	NodeID  string `json:"node_id"`
	OID     string `json:"oid"`
	Pubkey  string `json:"pubkey"`
	Pin     string `json:"pin,omitempty"`
	CAFile  string `json:"ca_file,omitempty"`
	Unbound bool   `json:"unbound,omitempty"`
	Paired  string `json:"paired"`
}

func (p Pairing) check() error {
	_, timeErr := time.Parse(time.RFC3339, p.Paired)
	_, urlErr := session.Address(p.Relay, wire.RoleNode)
	switch {
	case p.Version != version:
		return fmt.Errorf("version is %d, expected %d", p.Version, version)
	case urlErr != nil:
		return fmt.Errorf("relay: %w", urlErr)
	case !wire.ValidRealm(p.Realm):
		return errors.New("realm: expected " + wire.RealmForm)
	case !wire.ValidNodeID(p.NodeID):
		return errors.New("node_id: expected " + wire.NodeIDForm)
	case !wire.ValidOID(p.OID):
		return errors.New("oid: expected a UUID")
	case !wire.ValidPubkey(p.Pubkey):
		return errors.New("pubkey: expected " + wire.PubkeyForm)
	case p.Pin != "" && !session.ValidPin(p.Pin):
		return errors.New("pin: expected " + session.PinForm)
	case timeErr != nil:
		return errors.New("paired: expected an ISO 8601 time")
	}
	return nil
}

// Dir is an agent's state directory.
type Dir struct {
	path string
	uid  int // owner, who gets what root writes here
	gid  int
}

// Open makes the directory where there is none, and refuses one that others
// can look into.
func Open(path string) (*Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("cannot use directory %s: %w", path, err)
	}
	if err := durable.PrivateDir(abs); err != nil {
		return nil, err
	}
	d := &Dir{path: abs, uid: -1, gid: -1}
	if info, err := os.Stat(abs); err == nil && os.Geteuid() == 0 {
		if sys, ok := info.Sys().(*syscall.Stat_t); ok && sys.Uid != 0 {
			d.uid, d.gid = int(sys.Uid), int(sys.Gid)
		}
	}
	if err := durable.PrivateDir(d.keys()); err != nil {
		return nil, err
	}
	return d, d.give(d.keys())
}

// Look is the pairing in a directory of which nothing is made or changed; nil
// where there is none.
func Look(path string) (*Pairing, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("cannot use directory %s: %w", path, err)
	}
	return (&Dir{path: abs}).Pairing()
}

// Path is the directory.
func (d *Dir) Path() string { return d.path }

func (d *Dir) keys() string    { return filepath.Join(d.path, "keys") }
func (d *Dir) pairing() string { return filepath.Join(d.path, "pairing.json") }

// give hands what root has written to the owner of the directory, who could
// not read it otherwise.
func (d *Dir) give(path string) error {
	if d.uid < 0 {
		return nil
	}
	if err := os.Lchown(path, d.uid, d.gid); err != nil { // the owner may have put a link there
		return fmt.Errorf("cannot hand over %s: %w", path, err)
	}
	return nil
}

var unsafe = regexp.MustCompile(`[^a-z0-9._-]`)

// Key is the agent's key for the relay at url, made on first use.
func (d *Dir) Key(url string) (identity.Key, error) {
	path, err := d.key(url)
	if err != nil {
		return identity.Key{}, err
	}
	k, err := identity.LoadOrCreate(path)
	if err != nil {
		return identity.Key{}, err
	}
	return k, d.give(path)
}

// KeyOf is the key that a pairing was made with. Where it is gone none is made:
// the relay knows no other.
func (d *Dir) KeyOf(p Pairing) (identity.Key, error) {
	path, err := d.key(p.Relay)
	if err != nil {
		return identity.Key{}, err
	}
	k, err := identity.Load(path)
	if err == nil && k.Public() != p.Pubkey {
		err = fmt.Errorf("it was made with key %s, %s has %s", p.Pubkey, path, k.Public())
	}
	if err != nil {
		return identity.Key{}, fmt.Errorf("cannot use pairing with %s: %w; put its key right, or pair again with --replace", p.Relay, err)
	}
	return k, nil
}

// key is the path of the key for the relay at url.
func (d *Dir) key(url string) (string, error) {
	u, err := session.Address(url, wire.RoleNode)
	if err != nil {
		return "", err
	}
	authority := session.Authority(u)
	at := strings.LastIndex(authority, ":")
	return filepath.Join(d.keys(), unsafe.ReplaceAllString(authority[:at], "-")+"_"+authority[at+1:]+".key"), nil
}

// Pairing is the pairing, nil where there is none.
func (d *Dir) Pairing() (*Pairing, error) {
	b, err := durable.ReadFile(d.pairing())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read pairing: %w", err)
	}
	p, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("cannot use pairing %s: %w; to begin anew, remove the file and pair again", d.pairing(), err)
	}
	return p, nil
}

func parse(b []byte) (*Pairing, error) {
	var p Pairing
	if err := durable.DecodeJSON(b, &p); err != nil {
		return nil, err
	}
	return &p, p.check()
}

// Save makes p the pairing.
func (d *Dir) Save(p Pairing) error {
	p.Version = version
	if err := p.check(); err != nil {
		return fmt.Errorf("cannot save pairing: %w", err)
	}
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot save pairing: %w", err)
	}
	if err := durable.WriteFile(d.pairing(), append(b, '\n'), 0o600); err != nil {
		return err
	}
	return d.give(d.pairing())
}

// Unpair forgets the pairing; the keys stay. The relay is told nothing.
func (d *Dir) Unpair() error { return durable.Remove(d.pairing()) }

// ErrLocked is in the chain when another agent runs on the directory.
var ErrLocked = errors.New("an agent is running on it")

// Lock makes this process the directory's one agent until unlock.
func (d *Dir) Lock() (unlock func(), err error) {
	path := filepath.Join(d.path, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", d.path, err)
	}
	if err := errors.Join(d.give(path), syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, fmt.Errorf("cannot use %s: %w", d.path, err)
	}
	return func() { f.Close() }, nil
}
