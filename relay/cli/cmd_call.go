package cli

import (
	"context"
	"errors"
	"strings"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/spf13/cobra"
)

func (a *app) callCommand() *cobra.Command {
	var kw []string
	cmd := &cobra.Command{
		Use: "call URI [ARG…]", Short: "Call any procedure",
		Long: "Call any procedure of the users realm or of a management realm.\n\n" +
			"Arguments are JSON, dicts and lists YAML too, @file is either in a file and @- on standard input; any other\n" +
			"word is a string. Procedures that only the users realm has are called there, others in the management\n" +
			"realm; --realm " + wire.UsersRealm + " names the users realm.",
		ValidArgsFunction: a.completeCall,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("URI is missing")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			list, dict, err := a.payload(cmd.Context(), args[1:], kw)
			if err != nil {
				return err
			}
			p, err := a.place()
			if err != nil {
				return err
			}
			uri := args[0]
			realm, row := a.rowOf(uri, p.Realm)
			timeout := a.flags.timeout
			if timeout <= 0 && row != nil {
				timeout = row.Deadline()
			}
			return a.at(cmd.Context(), p, realm, func(s Session) error {
				res, err := s.Call(cmd.Context(), uri, list, dict, session.CallOptions{Timeout: timeout})
				if err != nil {
					return err
				}
				if row == nil {
					return a.print(resultOf(res), nil)
				}
				return a.print(resultOf(res), row.Result())
			})
		},
	}
	cmd.Flags().StringArrayVar(&kw, "kw", nil, "keyword argument `KEY=VALUE`; may be repeated")
	return cmd
}

// payload reads the arguments of a call that no row describes.
func (a *app) payload(ctx context.Context, texts, kw []string) (wamp.List, wamp.Dict, error) {
	r := reader{a.Stdin, ctx.Done()}
	var list wamp.List
	for _, text := range texts {
		v, err := r.any(text)
		if errors.Is(err, context.Canceled) {
			return nil, nil, err
		}
		if err != nil {
			return nil, nil, usagef("argument %q: %s", text, err)
		}
		list = append(list, v)
	}
	var dict wamp.Dict
	for _, pair := range kw {
		key, text, ok := strings.Cut(pair, "=")
		if _, twice := dict[key]; !ok || key == "" || twice {
			return nil, nil, usagef("--kw %q: expected KEY=VALUE, each key once", pair)
		}
		v, err := r.any(text)
		if errors.Is(err, context.Canceled) {
			return nil, nil, err
		}
		if err != nil {
			return nil, nil, usagef("--kw %s: %s", key, err)
		}
		dict = wamp.SetOption(dict, key, v)
	}
	return list, dict, nil
}

// rowOf is where a procedure is called, and its row where there is one. What
// both kinds of realm have is meant for the realm that was chosen.
func (a *app) rowOf(uri, chosen string) (realm string, row *catalog.Op) {
	x := catalog.NewIndex()
	ofUsers, users := x.Users(uri)
	ofRealm, management := x.Management(uri)
	if chosen == wire.UsersRealm || users && (!management || chosen == "") {
		return wire.UsersRealm, ofUsers
	}
	return chosen, ofRealm
}

func (a *app) completeCall(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var uris []string
	for _, o := range catalog.All() {
		uris = append(uris, o.URI())
	}
	return uris, cobra.ShellCompDirectiveNoFileComp
}
