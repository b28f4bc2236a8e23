package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/durable"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/spf13/cobra"
)

// login is one run of cfc login.
type login struct {
	*app
	given                    func(flag string) bool // whether it was; an empty one forgets
	user, tokenFile, pin, ca string
	unbound                  bool

	store *store
	place place
	key   identity.Key
	made  bool // the key is new, so no relay can know it
}

func (a *app) loginCommand() *cobra.Command {
	l := &login{app: a}
	cmd := &cobra.Command{
		Use:   "login URL",
		Short: "Log in to a relay and remember it",
		Long: "Log in to a relay and remember it as a context.\n\n" +
			"The first time the relay has to learn this machine's key: by a one-time token from who invited you\n" +
			"(cfc user invite) or, for the first owner, from the file first-owner.token in the relay's data directory.\n" +
			"The token is read from --token-file, from " + envToken + ", from the terminal without echo or from standard\n" +
			"input; never from the arguments. Logging in again needs none.",
		Args:              words("URL"),
		ValidArgsFunction: nothing,
		RunE:              func(cmd *cobra.Command, args []string) error { return l.run(cmd.Context(), args[0]) },
	}
	f := cmd.Flags()
	l.given = f.Changed
	f.StringVar(&l.user, "user", "", "be this user, or do not log in")
	f.StringVar(&l.tokenFile, "token-file", "", "file with the one-time token; - is standard input")
	f.StringVar(&l.pin, "pin", "", "trust the relay with this key alone: "+session.PinForm)
	f.StringVar(&l.ca, "ca", "", "file with certificates (PEM) to trust in place of the system's")
	f.BoolVar(&l.unbound, "unbound", false, "accept that a proxy in front of the relay ends TLS")
	return cmd
}

func (l *login) run(ctx context.Context, url string) error {
	if err := l.prepare(url); err != nil {
		return err
	}
	token, err := l.givenToken(ctx)
	if err != nil {
		return err
	}
	s, err := l.join(ctx, token)
	if errors.Is(err, cfcerr.Of(cfcerr.AuthenticationFailed)) && token == "" {
		if token, err = l.askToken(ctx); err != nil {
			return err
		}
		s, err = l.join(ctx, token)
	}
	if err != nil {
		return err
	}
	defer s.Close()
	if l.place.User = s.AuthID(); l.user != "" && l.user != l.place.User {
		return fmt.Errorf("cannot log in as %s: the key is user %s", l.user, l.place.User)
	}
	if err := l.chooseRealm(ctx, s); err != nil {
		return err
	}
	err = l.changeStore(func(s *store) error {
		s.put(l.place)
		s.Current = l.place.Name
		return nil
	})
	if err != nil {
		return err
	}
	if l.flags.json {
		return writeJSON(l.Stdout, l.place)
	}
	_, err = fmt.Fprintf(l.Stdout, "Logged in to %s as %s; %s.\n", l.place.Relay, clean(l.place.User), realmPhrase(l.place.Realm))
	return err
}

func realmPhrase(realm string) string {
	if realm == "" {
		return "no realm chosen yet: see cfc realm"
	}
	return "realm " + realm
}

// prepare checks what was given and finds or makes the key.
func (l *login) prepare(url string) error {
	u, err := session.Address(url, "")
	if err != nil {
		return usagef("URL: expected one such as wss://relay.example.com")
	}
	if l.pin != "" && !session.ValidPin(l.pin) {
		return usagef("--pin: expected %s", session.PinForm)
	}
	if l.store, err = l.app.store(); err != nil {
		return err
	}
	name := l.setting(l.flags.context, envContext)
	if name == "" {
		if p, ok := l.store.atRelay(url); ok {
			name = p.Name
		} else {
			name = nameFor(url)
		}
	}
	if !contextName.MatchString(name) {
		return usagef("context %q: expected %s", name, contextForm)
	}
	// What a context says of another relay is not kept.
	if old, ok := l.store.find(name); ok && sameRelay(old.Relay, url) {
		l.place = old
	}
	l.place.Name, l.place.Relay = name, u.Scheme+"://"+u.Host+strings.TrimSuffix(u.Path, wire.UserPath)
	if l.given("pin") {
		l.place.Pin = l.pin
	}
	if l.given("unbound") {
		l.place.Unbound = l.unbound
	}
	if realm := l.setting(l.flags.realm, envRealm); realm != "" {
		if l.place.Realm = realm; !wire.ValidRealm(realm) {
			return usagef("--realm %q: expected %s", realm, wire.RealmForm)
		}
	}
	if l.given("ca") && l.ca == "" {
		l.place.CA = ""
	} else if l.given("ca") {
		if l.place.CA, err = filepath.Abs(l.ca); err != nil {
			return err
		}
	}
	return l.prepareKey()
}

// prepareKey takes the key that was named, the context's own or a new one,
// which is on disk before any token is claimed for it.
func (l *login) prepareKey() (err error) {
	if path := l.setting(l.flags.key, envKey); path != "" {
		if l.place.Key, err = filepath.Abs(path); err == nil {
			l.key, err = identity.Load(l.place.Key)
		}
		return err
	}
	if l.place.Key == "" {
		for _, dir := range []string{l.store.dir, l.store.keyDir()} {
			if err := durable.PrivateDir(dir); err != nil {
				return err
			}
		}
		l.place.Key = l.store.keyPath(l.place.Name, l.place.Relay)
		_, err = os.Stat(l.place.Key)
		l.made = errors.Is(err, os.ErrNotExist)
	}
	l.key, err = identity.LoadOrCreate(l.place.Key)
	return err
}

func (l *login) join(ctx context.Context, token string) (Session, error) {
	return l.enter(ctx, l.place, session.Config{Realm: wire.UsersRealm, Key: l.key, AuthID: l.user, Token: token})
}

// chooseRealm takes the user's only realm where none is chosen.
func (l *login) chooseRealm(ctx context.Context, s Session) error {
	if l.place.Realm != "" {
		return nil
	}
	realms, _, err := ask(ctx, l.app, s, catalog.GetManagementRealms)
	if err == nil && len(realms) == 1 {
		l.place.Realm = realms[0]
	}
	return err
}

func (a *app) logoutCommand() *cobra.Command {
	var forget bool
	cmd := &cobra.Command{
		Use:               "logout [CONTEXT]",
		Short:             "Forget a relay",
		Long:              "Forget a relay: its context, by default the current one.\n\nThe key stays unless --forget-key says otherwise; without it the relay asks for a new token.",
		ValidArgsFunction: first(a.contextNames),
		Args:              atMost(1),
		RunE: func(_ *cobra.Command, args []string) error {
			name := a.setting(a.flags.context, envContext)
			if len(args) > 0 {
				name = args[0]
			}
			return a.logout(name, forget)
		},
	}
	cmd.Flags().BoolVar(&forget, "forget-key", false, "delete the key too, where login made it")
	return cmd
}

// logout forgets the context of this name, the current one without a name.
func (a *app) logout(name string, forget bool) error {
	var p place
	var s *store
	err := a.changeStore(func(now *store) (err error) {
		s = now
		p, err = s.leave(cmp.Or(name, s.Current))
		return err
	})
	if err != nil {
		return err
	}
	kept := "its key stays in " + p.Key
	if forget && filepath.Dir(p.Key) == s.keyDir() {
		if err := durable.Remove(p.Key); err != nil {
			return err
		}
		kept = "its key is deleted"
	}
	if a.flags.json {
		return writeJSON(a.Stdout, p)
	}
	_, err = fmt.Fprintf(a.Stdout, "Logged out of %s; %s.\n", p.Relay, kept)
	return err
}
