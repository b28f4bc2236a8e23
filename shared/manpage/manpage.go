// Package manpage writes a program's manual page from the program's own commands.
// What they say in their help is the page's text, so no second one can be stale.
package manpage

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// About is what the commands do not say of their program.
type About struct {
	Section int
	Files   [][2]string // a path, and what it is
	SeeAlso []string    // as cfc(1)
}

// Command prints the page of its program. It is hidden, for packages are built
// by it.
func Command(about About) *cobra.Command {
	return &cobra.Command{Use: "man", Short: "Print the manual page", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return Write(cmd.OutOrStdout(), cmd.Root(), about) }}
}

// Write writes the page in the language of man(7).
func Write(w io.Writer, root *cobra.Command, about About) error {
	var p page
	name := root.Name()
	p.line(".TH %s %d \"\" \"Crossbar.io Fabric Center\"", roff.Replace(strings.ToUpper(name)), about.Section)
	p.section("NAME")
	p.line("%s \\- %s", roff.Replace(name), roff.Replace(root.Short))
	p.section("SYNOPSIS")
	p.line("\\fB%s\\fR \\fIcommand\\fR [\\fIargument\\fR\\|...]", roff.Replace(name))
	p.section("DESCRIPTION")
	p.help(root)
	p.section("OPTIONS")
	root.InitDefaultHelpFlag()
	root.InitDefaultVersionFlag()
	p.flags(root.LocalFlags())
	p.section("COMMANDS")
	p.commands(root)
	for _, topic := range root.Commands() {
		if topic.IsAdditionalHelpTopicCommand() {
			p.section(topic.Short)
			p.help(topic)
		}
	}
	if len(about.Files) > 0 {
		p.section("FILES")
		for _, f := range about.Files {
			p.item(f[0], f[1])
		}
	}
	p.section("SEE ALSO")
	p.line("%s", roff.Replace(strings.Join(about.SeeAlso, ", ")))
	_, err := io.WriteString(w, p.String())
	return err
}

// roff has each character mean itself; a hyphen that is copied to a shell is one.
var roff = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, `"`, `\(dq`, "\t", "    ")

type page struct{ strings.Builder }

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *page) section(title string) { p.line(".SH %s", roff.Replace(strings.ToUpper(title))) }

// text writes lines none of which is a request to roff.
func (p *page) text(lines string) {
	for line := range strings.Lines(lines) {
		p.line("\\&%s", roff.Replace(strings.TrimRight(line, "\n")))
	}
}

func (p *page) item(tag, text string) {
	p.line(".TP\n\\fB%s\\fR", roff.Replace(tag))
	p.text(text)
}

// verbatim keeps lines as they are.
func (p *page) verbatim(lines string) {
	p.line(".PP\n.nf")
	p.text(lines)
	p.line(".fi")
}

// commands writes those below parent that do something, in the order of its help.
func (p *page) commands(parent *cobra.Command) {
	for _, c := range parent.Commands() {
		switch {
		case !c.IsAvailableCommand():
		case c.HasAvailableSubCommands():
			p.commands(c)
		default:
			c.InitDefaultHelpFlag()
			p.line(".SS %s", roff.Replace(strings.TrimSuffix(c.UseLine(), " [flags]")))
			p.help(c)
			p.flags(c.LocalNonPersistentFlags())
		}
	}
}

// gap is between the columns of a table.
var gap = regexp.MustCompile(`\S\s{2,}\S`)

// help writes what a command says of itself. Its help is made for a terminal: a
// paragraph may be a table, or lines that are kept as they are.
func (p *page) help(c *cobra.Command) {
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	for paragraph := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		lines := strings.Split(strings.Trim(paragraph, "\n"), "\n")
		switch {
		case !slices.ContainsFunc(lines, func(l string) bool { return !gap.MatchString(l) }):
			for _, line := range lines {
				p.row(line)
			}
		case slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, " ") || strings.HasPrefix(l, "\t") }):
			p.verbatim(paragraph)
		default:
			p.line(".PP")
			p.text(paragraph)
		}
	}
	if c.Example != "" {
		p.verbatim(c.Example)
	}
}

var columns = regexp.MustCompile(`\s{2,}`)

// row writes a line of a table, which a page of 80 columns has no room for.
func (p *page) row(line string) {
	cells := columns.Split(strings.TrimSpace(line), -1)
	p.item(cells[0], strings.Join(cells[1:], "; "))
}

// flags writes all but --help, which every command has.
func (p *page) flags(set *pflag.FlagSet) {
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		tag := "--" + f.Name
		if f.Shorthand != "" {
			tag = "-" + f.Shorthand + ", " + tag
		}
		value, usage := pflag.UnquoteUsage(f)
		if value != "" {
			tag += "=" + value
		}
		if !slices.Contains([]string{"", "0", "0s", "false", "[]"}, f.DefValue) {
			usage += " (default " + f.DefValue + ")"
		}
		p.item(tag, usage)
	})
}
