package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
)

// setting is a flag or, where it is not given, its environment variable.
func (a *app) setting(flag, env string) string {
	if flag != "" {
		return flag
	}
	return a.Getenv(env)
}

func (a *app) configDir() (string, error) {
	if dir := a.setting(a.flags.config, envConfig); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := a.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "cfc"), nil
	}
	if home := a.Getenv("HOME"); home != "" {
		return filepath.Join(home, ".config", "cfc"), nil
	}
	return "", errors.New("cannot find the configuration directory: neither XDG_CONFIG_HOME nor HOME is set")
}

func (a *app) store() (*store, error) {
	dir, err := a.configDir()
	if err != nil {
		return nil, err
	}
	return openStore(dir)
}

func (a *app) changeStore(change func(*store) error) error {
	dir, err := a.configDir()
	if err != nil {
		return err
	}
	return changeStore(dir, change)
}

// place is where this command goes: flags before environment before context.
func (a *app) place() (place, error) {
	if t := a.flags.timeout; t != 0 && t < time.Millisecond { // WAMP counts in milliseconds
		return place{}, usagef("--timeout %s: expected 1ms or more", t)
	}
	s, err := a.store()
	if err != nil {
		return place{}, err
	}
	p, err := a.stored(s)
	if err != nil {
		return place{}, err
	}
	if realm := a.setting(a.flags.realm, envRealm); realm != "" {
		if !wire.ValidRealm(realm) && realm != wire.UsersRealm {
			return place{}, usagef("realm %q: expected %s", realm, wire.RealmForm)
		}
		p.Realm = realm
	}
	if key := a.setting(a.flags.key, envKey); key != "" {
		p.Key = key
	}
	switch {
	case p.Relay == "":
		return place{}, usagef("no relay is chosen: log in with cfc login URL, or give --relay and --key")
	case p.Key == "":
		return place{}, usagef("there is no key for relay %s: log in with cfc login %s, or give --key", p.Relay, p.Relay)
	}
	return p, nil
}

// stored is the context that the command line or, without a word, the last
// login chose. A key is never taken to a relay that is not its context's.
func (a *app) stored(s *store) (place, error) {
	relay, name := a.flags.relay, a.flags.context
	if relay == "" && name == "" { // what one flag says, the other's variable cannot contradict
		relay, name = a.Getenv(envRelay), a.Getenv(envContext)
	}
	if relay != "" && !validRelay(relay) {
		return place{}, usagef("relay %q: expected a URL such as wss://relay.example.com", relay)
	}
	if name != "" {
		p, ok := s.find(name)
		switch {
		case !ok:
			return place{}, usagef("there is no context %q; cfc context ls lists them", name)
		case relay != "" && !sameRelay(p.Relay, relay):
			return place{}, usagef("context %s is of relay %s, not of %s", name, p.Relay, relay)
		}
		return p, nil
	}
	if relay == "" {
		p, _ := s.find(s.Current)
		return p, nil
	}
	if p, ok := s.atRelay(relay); ok {
		return p, nil
	}
	return place{Relay: relay}, nil
}

// join joins a realm of the place: realm "" is its management realm.
func (a *app) join(ctx context.Context, p place, realm string) (Session, error) {
	if realm == "" {
		if realm = p.Realm; realm == "" {
			return nil, errNoRealm
		}
	}
	key, err := identity.Load(p.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot use relay %s: its key %s is gone; log in again", p.Relay, p.Key)
	}
	if err != nil {
		return nil, err
	}
	return a.enter(ctx, p, session.Config{Realm: realm, Key: key})
}

func (a *app) enter(ctx context.Context, p place, c session.Config) (Session, error) {
	c.URL, c.Pin, c.CAFile, c.Unbound = p.Relay, p.Pin, p.CA, p.Unbound
	s, err := a.Join(ctx, c)
	var refused *cfcerr.Error
	switch {
	case err == nil:
		return s, nil
	case errors.As(err, &refused):
		return nil, err
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, joinError{err}
}

// with joins a realm of the chosen place, lets f work there and leaves.
func (a *app) with(ctx context.Context, realm string, f func(place, Session) error) error {
	p, err := a.place()
	if err != nil {
		return err
	}
	return a.at(ctx, p, realm, func(s Session) error { return f(p, s) })
}

func (a *app) at(ctx context.Context, p place, realm string, f func(Session) error) error {
	s, err := a.join(ctx, p, realm)
	if err != nil {
		return err
	}
	defer s.Close()
	return f(s)
}

// placeWithRealm is place for commands of the users realm that mean one
// management realm.
func (a *app) placeWithRealm() (place, error) {
	p, err := a.place()
	if err == nil && (p.Realm == "" || p.Realm == wire.UsersRealm) {
		err = errNoRealm
	}
	return p, err
}

var errNoRealm = usagef("no management realm is chosen: give --realm, or choose one with cfc realm use")
