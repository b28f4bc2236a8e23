package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// app is one run of the command line.
type app struct {
	Program
	flags struct {
		config, context, relay, realm, key string
		json                               bool
		timeout                            time.Duration
	}
}

// The environment that flags go before.
const (
	envConfig  = "CFC_CONFIG_DIR"
	envContext = "CFC_CONTEXT"
	envRelay   = "CFC_RELAY"
	envRealm   = "CFC_REALM"
	envKey     = "CFC_KEY_FILE"
	envToken   = "CFC_TOKEN"
)

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "cfc",
		Short: "Steer Crossbar.io nodes through a relay",
		Long: "cfc logs in to a relay and steers the nodes that are paired with it.\n\n" +
			"Begin with: cfc login wss://relay.example.com",
		Version:       a.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownCommand,
		RunE:          showHelp,
	}
	f := root.PersistentFlags()
	f.StringVar(&a.flags.context, "context", "", "stored context to use (env "+envContext+")")
	f.StringVar(&a.flags.relay, "relay", "", "URL of the relay (env "+envRelay+")")
	f.StringVar(&a.flags.realm, "realm", "", "management realm (env "+envRealm+")")
	f.StringVar(&a.flags.key, "key", "", "private key file (env "+envKey+")")
	f.StringVar(&a.flags.config, "config-dir", "", "where contexts and keys are (env "+envConfig+"; default $XDG_CONFIG_HOME/cfc)")
	f.BoolVar(&a.flags.json, "json", false, "print the exact result as JSON")
	f.DurationVar(&a.flags.timeout, "timeout", 0, "how long the call may take (default: as the operation says, mostly 30s)")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usagef("%s", err) })
	root.AddGroup(&cobra.Group{ID: groupManage, Title: "Manage the relay:"},
		&cobra.Group{ID: groupRemote, Title: "Steer nodes:"}, &cobra.Group{ID: groupOther, Title: "Others:"})
	root.SetHelpCommandGroupID(groupOther)
	root.SetCompletionCommandGroupID(groupOther)
	in(root, groupManage, a.loginCommand(), a.logoutCommand(), a.contextCommand(), a.statusCommand(),
		a.realmCommand(), a.userCommand(), a.tokenCommand())
	in(root, groupRemote, a.areaCommands()...)
	in(root, groupOther, a.callCommand(), a.eventsCommand())
	a.completeFlags(root)
	return root
}

// Groups of the root's help.
const (
	groupManage = "manage"
	groupRemote = "remote"
	groupOther  = "other"
)

func in(parent *cobra.Command, group string, cmds ...*cobra.Command) {
	for _, c := range cmds {
		c.GroupID = group
	}
	parent.AddCommand(cmds...)
}

// family is a command that only holds others.
func family(use, short string, cmds ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: unknownCommand, RunE: showHelp}
	c.AddCommand(cmds...)
	return c
}

func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q", args[0])
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		text += fmt.Sprintf(", perhaps %q", s[0])
	}
	return usagef("%s", text)
}

// words makes the check that a command has its positional arguments.
func words(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usagef("%s is missing", names[len(args)])
		}
		if len(args) > len(names) {
			return tooMany(args[len(names)])
		}
		return nil
	}
}

func tooMany(arg string) error {
	if _, err := wire.ParseToken(arg); err == nil {
		return usagef("a token is never given as an argument, which others on this machine can read: use a file, %s or the terminal", envToken)
	}
	return usagef("%q is one argument too many", arg)
}

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

// place is where this command goes: flags before environment before context.
func (a *app) place() (place, error) {
	if a.flags.timeout < 0 {
		return place{}, usagef("--timeout %s: expected a time above 0", a.flags.timeout)
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
	relay := a.setting(a.flags.relay, envRelay)
	if relay != "" && !validRelay(relay) {
		return place{}, usagef("relay %q: expected a URL such as wss://relay.example.com", relay)
	}
	if name := a.setting(a.flags.context, envContext); name != "" {
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

// realmOf is the realm to join for a row: the users realm, or "" for the
// management realm of the place.
func realmOf(o *catalog.Op) string {
	if o.Realm == catalog.Users {
		return wire.UsersRealm
	}
	return ""
}

// do calls a row with arguments that are checked here first, so that a bad
// call costs no way to the relay. A remote row's node stands in args[0].
func (a *app) do(ctx context.Context, s Session, o *catalog.Op, args wamp.List, kwargs wamp.Dict) (any, error) {
	timeout := a.flags.timeout
	if timeout <= 0 {
		timeout = o.Deadline()
	}
	res, err := s.Call(ctx, o.URI(), args, kwargs, session.CallOptions{Timeout: timeout})
	if err != nil {
		return nil, err
	}
	return resultOf(res), nil
}

// check decodes the arguments of a row as the far side will.
func check(o *catalog.Op, args wamp.List, kwargs wamp.Dict) error {
	if o.Realm == catalog.Remote {
		if node, _ := args[0].(string); !catalog.NodeRef(node).Valid() {
			return cfcerr.Argument("node_id", catalog.NodeRef("").Form())
		}
		args = args[1:]
	}
	return o.Check(args, kwargs)
}

// ask calls a row and reads its result into the row's type; raw is the result
// as it came.
func ask[In, Out any](ctx context.Context, a *app, s Session, row catalog.Spec[In, Out], args ...any) (out Out, raw any, err error) {
	if raw, err = a.do(ctx, s, row.Op, args, nil); err != nil {
		return out, nil, err
	}
	b, err := json.Marshal(raw)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		err = fmt.Errorf("cannot read the answer of %s: %w", row.URI(), err)
	}
	return out, raw, err
}

// one is a command that is one call of a relay's row. The result is printed by
// its type; show, where there is one, prints it for people instead.
func one[In, Out any](ctx context.Context, a *app, p place, row catalog.Spec[In, Out], show func(Out) error, args ...any) error {
	if err := check(row.Op, args, nil); err != nil {
		return err
	}
	return a.at(ctx, p, realmOf(row.Op), func(s Session) error {
		out, raw, err := ask(ctx, a, s, row, args...)
		if err != nil {
			return err
		}
		if show == nil || a.flags.json {
			return a.print(raw, row.Result())
		}
		return show(out)
	})
}

// each asks for every name at once, at most 16 at a time, and keeps the order.
// What has gone meanwhile is left out.
func each[T any](names []string, f func(name string) (T, error)) ([]T, error) {
	found := make([]*T, len(names))
	var g errgroup.Group
	g.SetLimit(16)
	for i, name := range names {
		g.Go(func() error {
			v, err := f(name)
			switch kind := cfcerr.KindOf(err); {
			case kind == cfcerr.NoSuchNode || kind == cfcerr.NoSuchRealm:
				return nil
			case err != nil:
				return err
			}
			found[i] = &v
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var all []T
	for _, v := range found {
		if v != nil {
			all = append(all, *v)
		}
	}
	return all, nil
}
