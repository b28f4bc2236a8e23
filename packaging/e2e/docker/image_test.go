// Package docker builds the relay's image in a Docker Engine of the test's own,
// and does with it what INSTALL.md says.
package docker

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/e2e/enginetest"
	"fabric.center/cfc/shared/e2e/fleet"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// network is where containers of the test publish their ports.
const network = "image-test"

// host is a shell on a host with an engine and the command line.
type host struct {
	t    *testing.T
	home string
	env  []string
	// as is what stands in INSTALL.md and what it is here.
	as *strings.Replacer
}

func newHost(t *testing.T) *host {
	t.Helper()
	tools, err := fleet.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	port, err := fleet.FreePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := enginetest.Start(t, enginetest.Options{})
	e.Network(network)
	home := t.TempDir()
	h := &host{t: t, home: home, as: strings.NewReplacer("VERSION", "v1.0.0", "docker run ", "docker run --network "+network+" ", "8443:8443", fmt.Sprintf("127.0.0.1:%d:8443", port),
		"relay.example.com:8443", fmt.Sprintf("127.0.0.1:%d", port), "volume /etc/cfc:", "volume "+home+"/etc:", "/srv/backup", home+"/backup")}
	// Nothing of who runs the tests: neither configuration nor contexts.
	h.env = append(os.Environ(), "DOCKER_HOST=unix://"+e.Socket, "DOCKER_CONFIG="+home+"/docker", "HOME="+home, "CFC_CONFIG_DIR="+home+"/cfc",
		"PATH="+filepath.Dir(tools.CLI)+":"+os.Getenv("PATH"), "SSL_CERT_FILE="+home+"/etc/relay.crt")
	build := exec.CommandContext(t.Context(), filepath.Join(tools.Root, "packaging", "build.sh"), "image")
	build.Env = append(h.env, "BIN="+filepath.Dir(tools.CLI), "DESCRIPTION=v1.0.0", "SOURCE_DATE_EPOCH=1767323045")
	if out, err := build.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "cfc-relay:v1.0.0" {
		t.Fatalf("cannot build the image: %v\n%s", err, out)
	}
	return h
}

// run runs lines of a shell, as a person would type them.
func (h *host) run(lines string) (string, error) {
	cmd := exec.CommandContext(h.t.Context(), "bash", "-euo", "pipefail", "-c", h.as.Replace(lines))
	cmd.Dir, cmd.Env = h.home, h.env
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// sh is run for what has to succeed.
func (h *host) sh(lines string) string {
	h.t.Helper()
	out, err := h.run(lines)
	if err != nil {
		h.t.Fatalf("%s: %v\n%s", lines, err, out)
	}
	return out
}

// says wants a line to print this.
func (h *host) says(want, line string) {
	h.t.Helper()
	if got := h.sh(line); got != want {
		h.t.Errorf("%s\nprints  %q\nexpected %q", line, got, want)
	}
}

// await waits until a line succeeds.
func (h *host) await(line string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	err := fleet.Poll(ctx, func() error {
		if out, err := h.run(line); err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, out)
		}
		return nil
	})
	if err != nil {
		h.t.Fatalf("%v\n%s", err, h.sh("docker logs cfc-relay 2>&1; docker inspect --format '{{json .State}}' cfc-relay"))
	}
}

// commands are those of INSTALL.md's section on the container, block by block.
func commands(t *testing.T) []string {
	t.Helper()
	root, err := fleet.Root()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "shared/docs/INSTALL.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n### In a container\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)\n```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

func TestImage(t *testing.T) {
	blocks := commands(t)
	if len(blocks) != 5 {
		t.Fatalf("INSTALL.md has %d blocks of commands for the container, expected: build, run, claim, backup, restore", len(blocks))
	}
	run, claim, backup, restore := blocks[1], blocks[2], blocks[3], blocks[4]
	h := newHost(t)
	if err := os.MkdirAll(filepath.Join(h.home, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	cert, key, err := fleet.Certificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h.sh("install -m 644 " + cert + " etc/relay.crt; install -m 640 -g 65532 " + key + " etc/relay.key; mkdir -m 755 backup; " +
		"printf 'version: 1\ntls: {certificate: /etc/cfc/relay.crt, key: /etc/cfc/relay.key}\n' >etc/relay.yaml")

	const (
		healthy = `docker inspect --format '{{.State.Health.Status}}' cfc-relay | grep -x healthy`
		ready   = "docker exec cfc-relay cfc-relay ready"
		realms  = `cfc realm ls --json | grep -o '"name": *"[a-z]*"' | cut -d'"' -f4 | sort | xargs`
	)
	h.sh(run)
	h.await(healthy)
	h.says("65532:65532", "docker inspect --format '{{.Config.User}}' cfc-relay")
	h.says("", "docker diff cfc-relay")
	h.sh(claim)
	h.sh("cfc realm create before")
	h.sh(backup)
	h.sh("cfc realm create after")

	// An upgrade: another container with the same volume.
	h.sh("docker stop cfc-relay; docker rm cfc-relay")
	h.sh(run)
	h.await(ready)
	h.says("after before", realms)

	h.sh(restore)
	h.await(ready)
	h.says("before", realms)
	h.sh("docker stop cfc-relay")
	h.says("0", "docker inspect --format '{{.State.ExitCode}}' cfc-relay")
}
