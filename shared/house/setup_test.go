package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSetupAsksAtOnce: a user who may install nothing is told all that is
// missing, and what to leave out, before anything is built.
func TestSetupAsksAtOnce(t *testing.T) {
	script, err := filepath.Abs("../e2e/setup.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ without, parts, out, fault string }{
		{"", "race crossbar docker packages", "",
			"cannot go on without gcc libc6-dev nodejs npm\ntry: sudo apt-get install gcc libc6-dev nodejs npm\n" +
				"cannot test docker packages: it takes root\ntry: leave it out, CFC_WITHOUT=docker,packages\n"},
		{"docker,packages", "race docker packages", "left out by CFC_WITHOUT: docker\nleft out by CFC_WITHOUT: packages\n",
			"cannot go on without gcc libc6-dev\ntry: sudo apt-get install gcc libc6-dev\n"},
		{"crossbar,docker,packages", "crossbar docker packages", "left out by CFC_WITHOUT: crossbar\nleft out by CFC_WITHOUT: docker\nleft out by CFC_WITHOUT: packages\n", ""},
		// Who builds packages cannot leave them out.
		{"packages", "pack", "", "cannot go on without squashfs-tools\ntry: sudo apt-get install squashfs-tools\n"},
	} {
		cmd := exec.CommandContext(t.Context(), "bash", append([]string{script, "debian"}, strings.Fields(c.parts)...)...)
		cmd.Env = []string{"PATH=" + bare(t), "CFC_WITHOUT=" + c.without}
		var out, fault strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &fault
		err := cmd.Run()
		if out.String() != c.out || fault.String() != c.fault || (err != nil) != (c.fault != "") {
			t.Errorf("%s, without %q: %v\n%s%s\nexpected\n%s%s", c.parts, c.without, err, &out, &fault, c.out, c.fault)
		}
	}
}

// bare makes a PATH on which there is next to nothing, for a user who is not root.
func bare(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	dirname, err := exec.LookPath("dirname")
	if err == nil {
		err = os.Symlink(dirname, filepath.Join(dir, "dirname"))
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "id"), []byte("#!/bin/sh\necho 1000\n"), 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
