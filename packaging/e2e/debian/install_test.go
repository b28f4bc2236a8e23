package debian

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// programs are what the packages bring, and how each is asked for its version.
var programs = map[string]string{"cfc-agent": "cfc-agent version", "cfc-relay": "cfc-relay version", "cfc": "cfc version"}

// TestEachAlone installs one package without the others: it works, and brings
// nothing of theirs.
func TestEachAlone(t *testing.T) {
	for name, version := range programs {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.install(newer, name)
			h.says("installed 1.1.0+3.gabc1234", "dpkg-query --show --showformat='${db:Status-Status} ${Version}' "+name)
			h.says("", "dpkg --verify "+name)
			program := filepath.Join(filepath.Dir(tools(t).CLI), name)
			h.says(strings.TrimSpace(string(output(t, program, strings.Fields(version)[1]))), version)
			h.says("", "find /etc/systemd/system -name 'cfc*'") // nothing is enabled
			for other := range programs {
				if other != name {
					h.are(false, "/usr/bin/"+other, "/usr/lib/systemd/system/"+other+".service", "/var/lib/"+other, "/usr/share/doc/"+other)
				}
			}
			if name == "cfc" {
				h.are(false, "/etc/cfc")
				// All that a shell needs is in its place and is read without a fault.
				h.says("complete -o default -F __start_cfc cfc", "bash -ec '. /usr/share/bash-completion/completions/cfc; complete -p cfc'")
				return
			}
			h.checkService(name)
		})
	}
}

// checkService looks at the user, the places and the unit of a package that has
// them.
func (h *host) checkService(name string) {
	h.t.Helper()
	for _, user := range []string{"cfc-agent", "cfc-relay"} {
		if got, _ := h.run("id", "--name", "--user", user); (got == user) != (user == name) {
			h.t.Errorf("the package %s: user %s: %s", name, user, got)
		}
	}
	h.says(fmt.Sprintf("%[1]s /var/lib/%[1]s /usr/sbin/nologin", name), "getent passwd "+name+" | awk -F: '{print $1, $6, $7}'")
	h.says("700 "+name+" "+name, "stat --format '%a %U %G' /var/lib/"+name)
	h.says("755 root root", "stat --format '%a %U %G' /etc/cfc")
	// As root, and as the user that the service runs as.
	for _, as := range []string{"", "runuser --user " + name + " -- "} {
		if got := h.sh(as + name + " check-config"); !strings.HasPrefix(got, "the configuration is good: data in /var/lib/"+name+", ") {
			h.t.Errorf("%s%s check-config: %s", as, name, got)
		}
	}
	h.says("", "systemd-analyze verify /usr/lib/systemd/system/"+name+"*")
	for _, unit := range strings.Fields(h.sh("cd /usr/lib/systemd/system; echo " + name + "*")) {
		h.says("disabled", "systemctl is-enabled "+unit+" || true")
	}
}

// places are what an installed agent has, by who keeps it: removing takes the
// package's own files alone, purging all.
var (
	ownFiles  = []string{"/usr/bin/cfc-agent", "/usr/lib/systemd/system/cfc-agent.service", "/usr/lib/systemd/system/cfc-agent-node.socket", "/usr/lib/sysusers.d/cfc-agent.conf"}
	keptFiles = []string{"/etc/cfc/agent.yaml", "/etc/cfc/policy.yaml", "/var/lib/cfc-agent/key", "/etc/systemd/system/multi-user.target.wants/cfc-agent.service",
		"/etc/systemd/system/sockets.target.wants/cfc-agent-node.socket"}
)

// TestLife is the life of a package on a host: what somebody has written, and the
// state, are there until it is purged.
func TestLife(t *testing.T) {
	h := newHost(t)
	const leftovers = "find /etc /usr /var -xdev -name '*cfc*'"
	before := h.sh(leftovers)
	h.install(older, "cfc-agent", "cfc-relay")
	h.sh(`sed -i 's/#level: info/level: debug/' /etc/cfc/agent.yaml
		runuser --user cfc-agent -- sh -c 'umask 077; echo secret > /var/lib/cfc-agent/key'
		systemctl enable cfc-agent.service cfc-agent-node.socket 2>/dev/null`)
	unchanged := func(after string) {
		t.Helper()
		h.are(true, keptFiles...)
		h.says("1", "grep -c 'level: debug' /etc/cfc/agent.yaml")
		h.says("600 cfc-agent secret", "stat --format '%a %U' /var/lib/cfc-agent/key | tr '\\n' ' '; cat /var/lib/cfc-agent/key")
		if t.Failed() {
			t.Fatalf("after %s", after)
		}
	}
	for _, step := range []struct{ name, version, shown string }{
		{"an upgrade", newer, "1.1.0+3.gabc1234"}, {"installing it twice", newer, "1.1.0+3.gabc1234"}, {"a downgrade", older, "1.0.0"},
	} {
		h.install(step.version, "cfc-agent")
		h.says("installed "+step.shown, "dpkg-query --show --showformat='${db:Status-Status} ${Version}' cfc-agent")
		h.are(true, ownFiles...)
		unchanged(step.name)
	}
	h.must("dpkg", "--remove", "cfc-agent")
	h.are(false, ownFiles...)
	unchanged("removing it")
	h.install(newer, "cfc-agent")
	h.are(true, ownFiles...)
	unchanged("installing it again")

	h.must("dpkg", "--purge", "cfc-agent")
	h.are(false, append(append([]string{"/var/lib/cfc-agent"}, ownFiles...), keptFiles...)...)
	h.are(true, "/etc/cfc/relay.yaml", "/var/lib/cfc-relay", "/usr/bin/cfc-relay") // the other package's
	h.must("dpkg", "--purge", "cfc-relay")
	h.are(false, "/etc/cfc", "/var/lib/cfc-relay")
	h.says(before, leftovers)
}

// TestPurgeLeavesWhatIsNotItsOwn: a certificate in /etc/cfc may be another's too.
func TestPurgeLeavesWhatIsNotItsOwn(t *testing.T) {
	h := newHost(t)
	h.install(older, "cfc-relay")
	h.sh("echo x > /etc/cfc/relay.crt; rm -r /var/lib/cfc-relay; mkdir -p /srv/relay; touch /srv/relay/relay.db; ln -s /srv/relay /var/lib/cfc-relay")
	h.install(newer, "cfc-relay")
	h.are(true, "/srv/relay/relay.db")
	h.must("dpkg", "--purge", "cfc-relay")
	h.are(true, "/etc/cfc/relay.crt", "/srv/relay/relay.db")
	h.are(false, "/etc/cfc/relay.yaml", "/var/lib/cfc-relay")
}

// TestNewDefaultsMeetAnEditedFile: the new version brings another agent.yaml than
// the old one did, as the administrator has written his own.
func TestNewDefaultsMeetAnEditedFile(t *testing.T) {
	h := newHost(t)
	h.install(older, "cfc-agent")
	h.sh("echo '# mine' >> /etc/cfc/agent.yaml")
	dir := t.TempDir()
	output(t, "dpkg-deb", "--raw-extract", deb(t, "cfc-agent", newer), dir)
	output(t, "sh", "-c", "echo '# theirs' | tee -a "+dir+"/etc/cfc/agent.yaml >>"+dir+"/etc/cfc/policy.yaml")
	output(t, "dpkg-deb", "--build", "-Znone", dir, filepath.Join(built.dir, "other.deb"))
	h.must("dpkg", "--force-confdef", "--force-confold", "--install", "/tmp/packages/other.deb")
	h.says("# mine", "tail -n 1 /etc/cfc/agent.yaml")
	h.says("# theirs", "tail -n 1 /etc/cfc/agent.yaml.dpkg-dist")
	h.says("# theirs", "tail -n 1 /etc/cfc/policy.yaml")
	h.must("dpkg", "--purge", "cfc-agent")
	h.are(false, "/etc/cfc", "/var/lib/cfc-agent")
}

// TestSystemdIsTold what little it is to do: here a systemctl that only writes
// down its words stands for one that has booted the host.
func TestSystemdIsTold(t *testing.T) {
	const stop = "stop cfc-agent.service cfc-agent-node.socket"
	h := newHost(t)
	h.sh(`mkdir -p /run/systemd/system
		printf '#!/bin/sh\necho "$*" >>/run/told\ntest ! -e /run/fail\n' >/tmp/systemctl
		chmod 755 /tmp/systemctl; mount --bind /tmp/systemctl /usr/bin/systemctl`)
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"a first one", func() { h.install(older, "cfc-agent") }, "daemon-reload"},
		{"an upgrade", func() { h.install(newer, "cfc-agent") }, "daemon-reload\ntry-restart cfc-agent.service"},
		{"a downgrade", func() { h.install(older, "cfc-agent") }, "daemon-reload\ntry-restart cfc-agent.service"},
		{"removing", func() { h.must("dpkg", "--remove", "cfc-agent") }, stop + "\ndaemon-reload"},
		{"purging what is removed", func() { h.must("dpkg", "--purge", "cfc-agent") }, ""},
		{"a first one of the relay", func() { h.install(older, "cfc-relay") }, "daemon-reload"},
		{"an upgrade of the relay", func() { h.install(newer, "cfc-relay") }, "daemon-reload\ntry-restart cfc-relay.service"},
		{"purging the relay", func() { h.must("dpkg", "--purge", "cfc-relay") }, "stop cfc-relay.service\ndaemon-reload"},
		{"the command line", func() { h.install(newer, "cfc"); h.must("dpkg", "--purge", "cfc") }, ""},
	} {
		h.sh(": >/run/told")
		step.do()
		if got := h.sh("cat /run/told"); got != step.want {
			t.Errorf("%s: systemctl is told\n%s\nexpected\n%s", step.name, got, step.want)
		}
	}
	// An agent that does not start again, for its configuration is wrong, is no
	// reason to leave the package half installed.
	h.install(older, "cfc-agent")
	h.sh(`printf '#!/bin/sh\n[ "$1" != try-restart ]\n' >/tmp/systemctl`)
	words := "dpkg --install " + strings.Replace(deb(t, "cfc-agent", newer), built.dir, "/tmp/packages", 1)
	if got := h.sh(words + " 2>&1"); !strings.Contains(got, "cfc-agent is installed, but did not start again") {
		t.Errorf("it says %s", got)
	}
	// One that would not start, which is known before, is not stopped.
	h.sh(`echo 'nonsense: 1' >>/etc/cfc/agent.yaml; printf '#!/bin/sh\necho "$*" >>/run/told\n' >/tmp/systemctl; : >/run/told`)
	if got := h.sh(words + " 2>&1"); !strings.Contains(got, "cfc-agent is installed, and was not restarted: ") || !strings.Contains(got, "nonsense") {
		t.Errorf("of a wrong configuration it says %s", got)
	}
	h.says("daemon-reload", "cat /run/told")
}

// TestByHand does what INSTALL.md says for a host without dpkg.
func TestByHand(t *testing.T) {
	found := tools(t)
	page, err := os.ReadFile(filepath.Join(found.Root, "shared/docs/INSTALL.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)\n## By hand\n.*?```sh\n(.*?)```").FindStringSubmatch(string(page))
	if block == nil {
		t.Fatal("INSTALL.md has no commands under By hand")
	}
	h := newHost(t)
	tree := fmt.Sprintf("/proc/%d/root/tmp/tree/", h.pid)
	for _, dir := range []string{"systemd", "packaging/etc", "bin"} {
		from := filepath.Join(found.Root, dir)
		if dir == "bin" {
			from = filepath.Dir(found.CLI)
		}
		if err := os.CopyFS(tree+dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	// Nothing but a host that has booted can be told to reload.
	h.sh("cd /tmp/tree; " + strings.ReplaceAll(block[1], "systemctl daemon-reload", "true"))
	for _, name := range []string{"cfc-agent", "cfc-relay"} {
		h.says("", "systemd-analyze verify /etc/systemd/system/"+name+"*")
		h.says("755 root", "stat --format '%a %U' /etc/cfc")
		if got := h.sh("runuser --user " + name + " -- " + name + " check-config"); !strings.HasPrefix(got, "the configuration is good") {
			t.Error(got)
		}
	}
}

// TestHostsAreApart: what a test installs is not on this machine.
func TestHostsAreApart(t *testing.T) {
	h := newHost(t)
	h.install(older, "cfc")
	h.are(true, "/usr/share/doc/cfc/copyright")
	if b, err := exec.CommandContext(t.Context(), "dpkg-query", "--show", "--showformat=${Version}", "cfc").CombinedOutput(); err == nil && string(b) == "1.0.0" {
		t.Error("the package is installed outside of the test's own root")
	}
}
