package manpage_test

import (
	"strings"
	"testing"

	"fabric.center/cfc/shared/manpage"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// want is the page of program: each of its texts begins as a request to roff
// would, or has what roff would read as something else.
const want = `.TH AN\-EXAMPLE 8 "" "Crossbar.io Fabric Center"
.SH NAME
an\-example \- Says \(dqit\(aqs C:\e\(dq
.SH SYNOPSIS
\fBan\-example\fR \fIcommand\fR [\fIargument\fR\|...]
.SH DESCRIPTION
.PP
\&Says \(dqit\(aqs C:\e\(dq.
.SH OPTIONS
.TP
\fB\-v, \-\-version\fR
\&version for an\-example
.SH COMMANDS
.SS an\-example area do NODE
.PP
\&Does it.
\&.SH is no heading here.
.TP
\fBNODE\fR
\&its id; text
.TP
\fBOTHER\fR
\&another; a dict
.PP
.nf
\&    keep   this
\&.as it is
.fi
.PP
.nf
\&  an\-example area do n1
.fi
.TP
\fB\-n, \-\-number=int\fR
\&how many (default 7)
.SH WHAT EACH EXIT CODE MEANS
.PP
\&0 is good.
.SH FILES
.TP
\fB/etc/an\-example\fR
\&what is so
.SH SEE ALSO
cfc(1)
`

func program() *cobra.Command {
	nothing := func(*cobra.Command, []string) {}
	root := &cobra.Command{Use: "an-example", Short: `Says "it's C:\"`, Version: "1"}
	area := &cobra.Command{Use: "area", Short: "Holds others"}
	do := &cobra.Command{Use: "do NODE", Short: "Do it", Run: nothing, Example: "  an-example area do n1",
		Long: "Does it.\n.SH is no heading here.\n\n  NODE   its id   text\n  OTHER  another  a dict\n\n    keep   this\n.as it is\n"}
	do.Flags().IntP("number", "n", 7, "how many")
	do.Flags().Bool("secret", false, "hidden")
	_ = do.Flags().MarkHidden("secret")
	area.AddCommand(do)
	root.AddCommand(area, &cobra.Command{Use: "exit-codes", Short: "What each exit code means", Long: "0 is good."},
		&cobra.Command{Use: "old", Short: "Hidden", Hidden: true, Run: nothing},
		manpage.Command(manpage.About{Section: 8, SeeAlso: []string{"cfc(1)"}, Files: [][2]string{{"/etc/an-example", "what is so"}}}))
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{Hidden: true})
	return root
}

func TestCommand(t *testing.T) {
	root := program()
	var page strings.Builder
	root.SetOut(&page)
	root.SetArgs([]string{"man"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	if page.String() != want {
		t.Errorf("the page is\n%s\nexpected\n%s", &page, want)
	}
}
