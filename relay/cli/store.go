package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"fabric.center/cfc/shared/durable"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/goccy/go-yaml"
)

const (
	storeFile    = "contexts.yaml"
	storeVersion = 1
	contextForm  = "1 to 63 of A-Z, a-z, 0-9, ., _ and -, the first a letter or digit"
)

var contextName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// place is a relay as one logs in to it: a stored context.
type place struct {
	Name    string `yaml:"name" json:"name"`
	Relay   string `yaml:"relay" json:"relay"`
	Realm   string `yaml:"realm,omitempty" json:"realm"`
	User    string `yaml:"user,omitempty" json:"user"`
	Key     string `yaml:"key" json:"key"` // path of the key file
	Pin     string `yaml:"pin,omitempty" json:"pin"`
	CA      string `yaml:"ca,omitempty" json:"ca"`
	Unbound bool   `yaml:"unbound,omitempty" json:"unbound"`
}

// store is the file of contexts. It holds no secret: keys are files beside it.
type store struct {
	Version  int     `yaml:"version"`
	Current  string  `yaml:"current,omitempty"`
	Contexts []place `yaml:"contexts"`

	dir string
}

// openStore reads the contexts below dir strictly; where there is no file yet
// the store is empty.
func openStore(dir string) (*store, error) {
	path := filepath.Join(dir, storeFile)
	b, err := durable.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &store{Version: storeVersion, dir: dir}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read contexts: %w", err)
	}
	s := &store{dir: dir}
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(s); err != nil {
		return nil, fmt.Errorf("cannot read contexts %s: %s", path, firstLine(err))
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("cannot use contexts %s: %w", path, err)
	}
	return s, nil
}

// lockPatience is far more than any other command needs to change the file.
const lockPatience = 5 * time.Second

// changeStore changes the contexts below dir as they are now: other commands
// change them as well, and what one has said to have kept stays.
func changeStore(dir string, change func(*store) error) error {
	if err := durable.PrivateDir(dir); err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(dir, storeFile+".lock"), lockPatience)
	if err != nil {
		return fmt.Errorf("cannot change contexts: %w", err)
	}
	defer unlock()
	s, err := openStore(dir)
	if err != nil {
		return err
	}
	if err := change(s); err != nil {
		return err
	}
	return s.save()
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func (s *store) check() error {
	if s.Version != storeVersion {
		return fmt.Errorf("version is %d, expected %d", s.Version, storeVersion)
	}
	var faults []error
	seen := map[string]bool{}
	for i, p := range s.Contexts {
		for _, c := range []struct {
			key, value, form string
			ok               bool
		}{
			{"name", p.Name, contextForm + ", once", contextName.MatchString(p.Name) && !seen[p.Name]},
			{"relay", p.Relay, "a URL such as wss://relay.example.com", validRelay(p.Relay)},
			{"realm", p.Realm, wire.RealmForm, p.Realm == "" || wire.ValidRealm(p.Realm)},
			{"user", p.User, wire.UserForm, p.User == "" || wire.ValidUser(p.User)},
			{"key", p.Key, "an absolute path", filepath.IsAbs(p.Key)},
			{"pin", p.Pin, session.PinForm, p.Pin == "" || session.ValidPin(p.Pin)},
			{"ca", p.CA, "an absolute path", p.CA == "" || filepath.IsAbs(p.CA)},
		} {
			if !c.ok {
				faults = append(faults, fmt.Errorf("contexts[%d].%s is %q: expected %s", i, c.key, c.value, c.form))
			}
		}
		seen[p.Name] = true
	}
	if s.Current != "" && !seen[s.Current] {
		faults = append(faults, fmt.Errorf("current is %q: no such context", s.Current))
	}
	return errors.Join(faults...)
}

func validRelay(url string) bool { _, err := session.Address(url, ""); return err == nil }

// save writes what openStore will take: what a relay says of its realms and users
// is not written unseen, or no context could be used any more.
func (s *store) save() error {
	if err := s.check(); err != nil {
		return fmt.Errorf("cannot write contexts: %w", err)
	}
	if err := durable.PrivateDir(s.dir); err != nil {
		return err
	}
	b, err := yaml.Marshal(s)
	if err != nil {
		return fmt.Errorf("cannot write contexts: %w", err)
	}
	return durable.WriteFile(filepath.Join(s.dir, storeFile), b, 0o600)
}

func (s *store) find(name string) (place, bool) {
	i := s.index(name)
	if i < 0 {
		return place{}, false
	}
	return s.Contexts[i], true
}

func (s *store) index(name string) int {
	return slices.IndexFunc(s.Contexts, func(p place) bool { return p.Name == name })
}

// atRelay finds the context of a relay, the current one first.
func (s *store) atRelay(url string) (place, bool) {
	if p, ok := s.find(s.Current); ok && sameRelay(p.Relay, url) {
		return p, true
	}
	i := slices.IndexFunc(s.Contexts, func(p place) bool { return sameRelay(p.Relay, url) })
	if i < 0 {
		return place{}, false
	}
	return s.Contexts[i], true
}

func (s *store) put(p place) {
	if i := s.index(p.Name); i >= 0 {
		s.Contexts[i] = p
	} else {
		s.Contexts = append(s.Contexts, p)
	}
}

func (s *store) remove(name string) {
	s.Contexts = slices.DeleteFunc(s.Contexts, func(p place) bool { return p.Name == name })
	if s.Current == name {
		s.Current = ""
	}
}

// leave removes a context and gives what it was.
func (s *store) leave(name string) (place, error) {
	p, ok := s.find(name)
	switch {
	case name == "":
		return p, usagef("no context is current: name one")
	case !ok:
		return p, usagef("there is no context %q", name)
	}
	s.remove(name)
	return p, nil
}

// keyPath is where the key of a context lies that login makes: named for both
// context and relay, so that no key is ever shown to a second relay.
func (s *store) keyPath(name, relay string) string {
	var b strings.Builder
	for _, c := range []byte(relayID(relay)) {
		switch {
		case c == ':':
			b.WriteByte('_')
		case c == '/':
			b.WriteByte('+')
		case strings.IndexByte("abcdefghijklmnopqrstuvwxyz0123456789.-", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return filepath.Join(s.keyDir(), name+"@"+b.String()+".key")
}

func (s *store) keyDir() string { return filepath.Join(s.dir, "keys") }

// nameFor is the name of a relay's context, where login is given none.
func nameFor(relay string) string {
	name := strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && contextName.MatchString("a"+string(r)) {
			return r
		}
		return '_'
	}, relayID(relay))
	return strings.Trim(name, "._-")
}

// relayID is what tells one relay from another: host, port and path.
func relayID(relay string) string {
	u, err := session.Address(relay, "")
	if err != nil {
		return ""
	}
	return session.Authority(u) + strings.TrimSuffix(u.Path, wire.UserPath)
}

func sameRelay(a, b string) bool { return relayID(a) == relayID(b) && relayID(a) != "" }
