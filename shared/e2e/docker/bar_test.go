package docker

import (
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/enginetest"
)

// TestTheBarAtATerminal is drawn while a pull stands still half-way, gone when
// it has ended, and never where there is no terminal.
func TestTheBarAtATerminal(t *testing.T) {
	s := newStage(t)
	r := enginetest.StartRegistry(t)
	name := r.Addr + "/app:1"
	layer := make([]byte, 4<<20) // which does not get smaller
	_, _ = rand.Read(layer)
	s.engine.Build(name, []enginetest.File{{Name: "layer", Data: layer}})
	s.engine.Push(name)
	r.Hold()
	p := at(t, s.cfc("docker", "update-docker-image", "n1", name), 24, 100)
	p.sees(" of 4.0 MiB")
	if shown := p.text(); strings.Contains(shown, "\n") || strings.Contains(shown, "100 %") {
		t.Errorf("half-way is shown %q", shown)
	}
	r.Release()
	p.ends(0)
	p.sees("changed")
	bar, result, ended := strings.Cut(p.text(), "\n")
	begin := strings.LastIndex(bar, "\r"+strings.Repeat(" ", 40))
	if !ended || !strings.Contains(bar, "100 %") || begin < 0 || strings.ContainsAny(bar[begin:], "[%") || !strings.Contains(bar[begin:], name) || strings.Contains(result, "\r[") {
		t.Errorf("in the end is shown %q", p.text())
	}
	out, err := s.cfc("docker", "update-docker-image", "n1", name).CombinedOutput()
	if err != nil || strings.ContainsAny(string(out), "\r[%") || !strings.Contains(string(out), name) {
		t.Errorf("without a terminal: %q, %v", out, err)
	}
}

// TestAChangeOfPolicyEndsACommand at the terminal, and says why.
func TestAChangeOfPolicyEndsACommand(t *testing.T) {
	s := newStage(t)
	s.box("web", "wait")
	p := at(t, s.cfc("docker", "exec", "-it", "n1", "web", "/box", "cat"), 24, 80)
	p.types("x\r")
	p.sees("x\r\nx\r\n")
	if err := os.WriteFile(s.Agent.Policy, []byte("version: 1\nareas: {docker: on}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.ends(cfcerr.DeniedByHost.Exit())
	p.sees("does not allow to run commands")
	if n := s.commands("web"); n != 0 {
		t.Errorf("%d commands are left in the container", n)
	}
}
