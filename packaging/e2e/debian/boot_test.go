package debian

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/e2e/fleet"
)

// bootScript boots the copy of a host, with cgroups of its own, again for as long
// as it reboots (133). All of it is in a PID namespace that ends with standard
// input: whatever becomes of the test, nothing is left running.
const bootScript = `set -e
mount -t tmpfs none /run
mkdir /run/lock
for d in dev proc sys run tmp; do umount --recursive --lazy "$0/$d"; done # it makes its own
for d in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
  if [ -e $d/cgroup.procs ]; then mkdir $d/$2; echo $$ >$d/$2/cgroup.procs; fi
done
while
  systemd-nspawn --boot --quiet --directory="$0" --machine=cfc-boot --register=no --keep-unit --private-network \
    --resolv-conf=off --timezone=off --bind-ro="$1:/opt/crossbar" --bind-ro="$3:/opt/packages" --console=pipe </dev/null >&2
  [ $? = 133 ]
do :; done &
exec cat
`

// bootWithin is a boot, or the start of an agent with its node, on a machine that
// is busy with other tests.
const bootWithin = 2 * time.Minute

// machine is a host that systemd has booted.
type machine struct {
	t    *testing.T
	pid  int // of the process in whose mounts its PID namespace is seen
	name string
	log  string // of systemd-nspawn, and the console
}

// boot boots a host with Crossbar.io in /opt/crossbar and the packages in
// /opt/packages. Of what this machine's systemd starts it starts nothing.
func boot(t *testing.T, h *host) *machine {
	t.Helper()
	if _, err := exec.LookPath("systemd-nspawn"); err != nil {
		t.Fatalf("cannot boot a machine: %v; try: apt-get install systemd-container", err)
	}
	node, err := fleet.FindNode()
	if err != nil {
		t.Fatal(err)
	}
	venv, err := filepath.EvalSymlinks(filepath.Dir(filepath.Dir(node.Crossbar)))
	if err != nil {
		t.Fatal(err)
	}
	python, err := filepath.EvalSymlinks(node.Python)
	if err != nil {
		t.Fatal(err)
	}
	h.sh("rm -rf /etc/systemd/system/* /etc/rc?.d/*; mkdir -p /opt/crossbar /opt/packages")
	for dir := filepath.Dir(python); dir != "/"; dir = filepath.Dir(dir) {
		h.must("chmod", "a+x", dir) // the agent's user runs it
	}
	m := &machine{t: t, name: fmt.Sprintf("cfc-boot-%d", h.pid), log: filepath.Join(t.TempDir(), "log")}
	log, err := os.Create(m.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.CommandContext(t.Context(), "nsenter", fmt.Sprintf("--target=%d", h.pid), "--mount", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
		"bash", "-c", bootScript, h.root, venv, m.name, built.dir)
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	m.pid = cmd.Process.Pid
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
		m.forget()
	})
	m.await("systemctl is-system-running | grep -E 'running|degraded'")
	return m
}

// forget removes the machine's cgroups, once the last of its processes is gone.
func (m *machine) forget() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.t.Context()), 20*time.Second)
	defer cancel()
	for _, d := range []string{"", "unified", "systemd"} {
		dir := filepath.Join("/sys/fs/cgroup", d, m.name)
		err := fleet.Poll(ctx, func() error {
			out, err := exec.CommandContext(ctx, "bash", "-c", `[ ! -d "$0" ] || find "$0" -depth -type d -exec rmdir {} +`, dir).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
		if err != nil {
			m.t.Errorf("left behind: %v", err)
		}
	}
}

// run runs a line of shell in the machine.
func (m *machine) run(line string) (string, error) {
	const enter = `exec nsenter --target="$(pgrep --parent "$(pgrep --oldest --exact systemd-nspawn || echo none)" || echo none)" --mount --uts --ipc --net --pid --cgroup --root --wd sh -ec "$0"`
	ctx, cancel := context.WithTimeout(m.t.Context(), bootWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", fmt.Sprintf("--target=%d", m.pid), "--mount", "bash", "-c", enter, line)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"}
	b, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(b)), err
}

func (m *machine) sh(line string) string {
	m.t.Helper()
	out, err := m.run(line)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s\n%s", line, err, out, m.words())
	}
	return out
}

// await waits until a line succeeds.
func (m *machine) await(line string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), bootWithin)
	defer cancel()
	err := fleet.Poll(ctx, func() error {
		out, err := m.run(line)
		if err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, out)
		}
		return nil
	})
	if err != nil {
		m.t.Fatalf("%v\n%s", err, m.words())
	}
}

// words are the machine's last ones.
func (m *machine) words() string {
	console, _ := os.ReadFile(m.log)
	out, _ := m.run("systemctl --no-pager --failed; journalctl --no-pager --lines 60; cfc-agent status")
	return string(console) + out
}

// online waits until the relay sees the node, as the process that it is now.
func (m *machine) online() {
	m.t.Helper()
	m.await("cfc node ls | grep '^n1 *online'")
	m.sh("cfc node get-status n1")
}

// TestBoot is the life of a host as INSTALL.md has it, with the real units under
// the systemd that has booted it.
func TestBoot(t *testing.T) {
	deb(t, "cfc", older)
	deb(t, "cfc", newer)
	m := boot(t, newHost(t))
	install := func(version string, names string) {
		m.sh("cd /opt/packages/debs" + version + "; for name in " + names + "; do dpkg --install ${name}_*.deb; done")
	}
	install(older, "cfc-relay cfc")
	m.sh("systemctl enable --now cfc-relay")
	m.sh("cfc login ws://127.0.0.1:8080 --token-file /var/lib/cfc-relay/first-owner.token; cfc realm create demo; cfc realm use demo")

	install(older, "cfc-agent")
	m.sh(`umask 077; cfc node invite --node-id n1 -q >token; cfc-agent pair ws://127.0.0.1:8080 --token-file token
		printf '#!/bin/sh\nexec /opt/crossbar/bin/python /opt/crossbar/bin/crossbar "$@"\n' >/usr/local/bin/crossbar; chmod 755 /usr/local/bin/crossbar
		printf 'version: 1\nnode: {cbdir: /var/lib/cfc-agent/node, supervise: true, crossbar: /usr/local/bin/crossbar}\n' >/etc/cfc/agent.yaml`)
	m.sh("systemctl enable --now cfc-agent-node.socket cfc-agent")
	m.online()
	m.sh(`cfc node start-worker n1 w1 '{type: router}'`)

	agent := m.sh("systemctl show --property MainPID cfc-agent")
	install(newer, "cfc-agent cfc-relay")
	m.online()
	if again := m.sh("systemctl show --property MainPID cfc-agent"); again == agent {
		t.Errorf("the upgraded agent still is the old process: %s", again)
	}

	before := m.sh("systemctl show --property UserspaceTimestampMonotonic")
	m.sh("systemctl reboot")
	m.await(`now=$(systemctl show --property UserspaceTimestampMonotonic) && [ -n "$now" ] && [ "$now" != ` + before + " ]")
	m.online()
	if failed := m.sh("systemctl --no-legend --failed | grep cfc || true"); failed != "" {
		t.Errorf("failed: %s\n%s", failed, m.words())
	}

	m.sh("cfc node rm n1; cfc-agent unpair; dpkg --purge cfc-agent")
	for _, line := range []string{"pgrep --list-full --uid cfc-agent || true", "systemctl --no-legend list-sockets | grep cfc || true", "cfc node ls --json | grep n1 || true"} {
		if left := m.sh(line); left != "" {
			t.Errorf("after the agent is purged, %s says\n%s", line, left)
		}
	}
	m.sh("dpkg --purge cfc-relay cfc")
	if left := m.sh("pgrep --list-full cfc || true; find /etc /var/lib/cfc* /usr/bin /usr/lib/systemd /usr/lib/sysusers.d -xdev -name '*cfc*' 2>/dev/null || true"); left != "" {
		t.Errorf("after all is purged there is\n%s", left)
	}
}
