package cli

import (
	"fmt"
	"slices"
	"strings"

	"fabric.center/cfc/shared/catalog"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// areas say what an area is about; a command without a summary fails a test.
var areas = map[string]string{
	"container": "Steer the components in container workers",
	"docker":    "Steer the containers of a node's host",
	"meta":      "Look into realms: sessions, registrations, subscriptions",
	"node":      "Pair nodes, list them and steer them",
	"proxy":     "Steer proxy workers: transports, connections, routes",
	"router":    "Steer router workers: realms, roles, transports",
	"worker":    "Look into workers: log, statistics, profile, CPUs",
}

// areaCommands are one command for each area of the catalogue, with a command
// for each of its rows. What manages nodes stands in the area node.
func (a *app) areaCommands() []*cobra.Command {
	byArea := map[string]*cobra.Command{"node": a.nodeCommand(), "docker": a.dockerCommand(), "worker": a.workerCommand()}
	var cmds []*cobra.Command
	for _, o := range catalog.All() {
		if o.Realm != catalog.Remote {
			continue
		}
		group, _ := o.Group()
		area := byArea[group]
		if area == nil {
			area = family(dashed(group), "")
			byArea[group] = area
		}
		area.Short = areas[group]
		if !slices.Contains(cmds, area) {
			cmds = append(cmds, area)
		}
		in(area, o.Access.String(), a.operation(o))
	}
	for _, area := range cmds {
		groups(area)
	}
	return cmds
}

// groups part the help of an area by what a role may do.
func groups(area *cobra.Command) {
	titles := []cobra.Group{{ID: groupManage, Title: "Manage nodes:"},
		{ID: catalog.Read.String(), Title: "Look (viewers and up):"},
		{ID: catalog.Write.String(), Title: "Change (operators and up):"},
		{ID: catalog.Admin.String(), Title: "Decide (owners):"}}
	for _, g := range titles {
		if slices.ContainsFunc(area.Commands(), func(c *cobra.Command) bool { return c.GroupID == g.ID }) {
			area.AddGroup(&g)
		}
	}
}

func dashed(name string) string { return strings.ReplaceAll(name, "_", "-") }

// placeholder is how a positional argument stands in a usage line.
func placeholder(name string) string {
	if name == "worker_id" {
		return "WORKER"
	}
	return strings.ToUpper(name)
}

// operation is the command of a remote row.
func (a *app) operation(o *catalog.Op) *cobra.Command {
	_, own := o.Group()
	use := dashed(own) + " NODE"
	for _, arg := range o.Args() {
		switch {
		case !arg.Optional:
			use += " " + placeholder(arg.Name)
		case arg.Pos >= 0:
			use += " [" + placeholder(arg.Name) + "]"
		}
	}
	var other []string
	for _, name := range append([]string{own, o.Name}, o.Aliases...) {
		for _, spelled := range []string{dashed(name), name} {
			if spelled != dashed(own) && !slices.Contains(other, spelled) {
				other = append(other, spelled)
			}
		}
	}
	cmd := &cobra.Command{Use: use, Aliases: other, Short: o.Summary(), Long: longHelp(o)}
	short := shortNames(o)
	for _, arg := range o.Args() {
		name := ""
		if short["config"] == arg.Name {
			name = "config"
		}
		argFlag(cmd.Flags(), arg, name)
	}
	cmd.Flags().SetNormalizeFunc(flagNames(short))
	cmd.ValidArgsFunction = a.completeOperation(o)
	cmd.RunE = func(cmd *cobra.Command, words []string) error {
		args, kwargs, err := (&operands{o: o, flags: cmd.Flags(), reader: reader{a.Stdin, cmd.Context().Done()}}).read(words)
		if err != nil {
			return err
		}
		if err := check(o, args, kwargs); err != nil {
			return err
		}
		return a.with(cmd.Context(), realmOf(o), func(_ place, s Session) error {
			v, err := a.do(cmd.Context(), s, o, args, kwargs)
			if err != nil {
				return err
			}
			return a.print(v, o.Result())
		})
	}
	return cmd
}

func longHelp(o *catalog.Op) string {
	var b strings.Builder
	b.WriteString(o.Doc + "\n\nNODE is the node: its id or oid. Arguments are given in this order or as flags;\n" +
		"dicts and lists as JSON, YAML or @file (@- is standard input).\n\n")
	tab := table{}
	for _, arg := range o.Args() {
		if !arg.Optional {
			tab.add("  "+placeholder(arg.Name), arg.Doc, arg.Expected())
		}
	}
	if len(tab.rows) > 0 {
		_ = tab.write(&b) // to memory
		b.WriteString("\n")
	}
	if o.Returns != "" {
		fmt.Fprintf(&b, "Result: %s.\n", o.Returns)
	}
	fmt.Fprintf(&b, "Calls %s.", o.URI())
	return b.String()
}

// argFlag declares the flag of an argument. Its text is read by the row's type
// when the command runs, so all flags but booleans are words to pflag.
func argFlag(f *pflag.FlagSet, arg catalog.Arg, short string) {
	usage := arg.Doc
	switch {
	case short != "":
		usage += " (or by position, or --" + short + ")"
	case !arg.Optional:
		usage += " (or by position)"
	case arg.Default != "":
		usage += " (default " + arg.Default + ")"
	}
	f.Var(&word{kind: flagKind(arg)}, dashed(arg.Name), usage)
	if flagKind(arg) == "bool" {
		f.Lookup(dashed(arg.Name)).NoOptDefVal = "true"
	}
}

func flagKind(arg catalog.Arg) string {
	switch e := arg.Expected(); {
	case strings.HasPrefix(e, "true or false"):
		return "bool"
	case strings.HasPrefix(e, "a dict"):
		return "dict"
	case strings.HasPrefix(e, "a list"):
		return "list"
	case strings.HasPrefix(e, "an integer"):
		return "int"
	case strings.HasPrefix(e, "a number"):
		return "number"
	case strings.HasPrefix(e, "any"):
		return "value"
	}
	return "string"
}

// word is a flag whose text is read later.
type word struct{ text, kind string }

func (w *word) String() string     { return w.text }
func (w *word) Set(s string) error { w.text = s; return nil }
func (w *word) Type() string       { return w.kind }

// shortNames are further names of flags: the one argument whose name ends in
// _config is --config too.
func shortNames(o *catalog.Op) map[string]string {
	short := map[string]string{}
	for _, arg := range o.Args() {
		if arg.Name == "config" {
			return nil
		}
		if strings.HasSuffix(arg.Name, "_config") {
			short["config"] = arg.Name
		}
	}
	return short
}

// flagNames lets flags be spelled with _ too, and by their short names.
func flagNames(short map[string]string) func(*pflag.FlagSet, string) pflag.NormalizedName {
	return func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if long := short[name]; long != "" {
			name = long
		}
		return pflag.NormalizedName(dashed(name))
	}
}

// operands reads the arguments of a call off the command line.
type operands struct {
	o      *catalog.Op
	flags  *pflag.FlagSet
	reader reader
}

// read gives the call's payload: the node, then each argument, by position as
// far as none before it is left out, else by name. Words fill in order what no
// flag gives.
func (p *operands) read(words []string) (wamp.List, wamp.Dict, error) {
	if len(words) == 0 {
		return nil, nil, usagef("NODE is missing")
	}
	args, kwargs := wamp.List{words[0]}, wamp.Dict{}
	words = words[1:]
	gap := false
	for _, arg := range p.o.Args() {
		var text string
		switch flag := p.flags.Lookup(dashed(arg.Name)); {
		case flag.Changed:
			text = flag.Value.String()
		case len(words) > 0 && arg.Pos >= 0:
			text, words = words[0], words[1:]
		case arg.Optional:
			gap = true
			continue
		default:
			return nil, nil, usagef("%s is missing: %s", placeholder(arg.Name), arg.Doc)
		}
		v, err := p.reader.typed(arg, text)
		if err != nil {
			return nil, nil, err
		}
		if gap = gap || arg.Pos < 0; gap {
			kwargs[arg.Name] = v
		} else {
			args = append(args, v)
		}
	}
	if len(words) > 0 {
		return nil, nil, usagef("%q is one argument too many", words[0])
	}
	return args, kwargs, nil
}
