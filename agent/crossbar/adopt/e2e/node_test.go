package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/shared/e2e/driver"
	"fabric.center/cfc/shared/e2e/fleet"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The node as its owner runs it: a router with a realm, roles, a transport for
// clients with tickets, one of which comes from the environment; a component
// in a container that joins by another transport; a guest. Some have an id.
const jsonConfig = `{
    "$schema": "https://raw.githubusercontent.com/crossbario/crossbar/master/crossbar.json",
    "version": 2,
    "controller": {
        "id": "node_of_mine"
    },
    "workers": [
        {
            "id": "front",
            "type": "router",
            "realms": [
                {
                    "name": "com.example.shop",
                    "roles": [
                        {"name": "user", "permissions": [{"uri": "com.example.add", "allow": {"call": true}}]},
                        {"id": "of_backends", "name": "backend", "permissions": [{"uri": "com.example.", "match": "prefix", "allow": {"register": true}}]}
                    ]
                }
            ],
            "transports": [
                {
                    "id": "clients",
                    "type": "websocket",
                    "endpoint": {"type": "tcp", "port": {port}, "interface": "127.0.0.1"},
                    "auth": {"ticket": {"type": "static", "principals": {"joe": {"ticket": "${TICKET_OF_JOE}", "role": "user"}}}}
                },
                {
                    "type": "rawsocket",
                    "endpoint": {"type": "unix", "path": "backends.sock"},
                    "auth": {"anonymous": {"type": "static", "role": "backend"}}
                }
            ]
        },
        {
            "type": "container",
            "options": {"pythonpath": ["."]},
            "components": [
                {
                    "id": "adder",
                    "type": "class",
                    "classname": "adder.Adder",
                    "realm": "com.example.shop",
                    "transport": {"type": "rawsocket", "endpoint": {"type": "unix", "path": "backends.sock"}, "url": "rs://localhost", "serializer": "cbor"}
                }
            ]
        },
        {
            "id": "helper",
            "type": "guest",
            "executable": "/bin/sh",
            "arguments": ["-c", "echo $$ >helper.pid; exec sleep 600"]
        }
    ]
}
`

const yamlConfig = `# The shop's node; ask Joe.
version: 2
workers:
  - id: front # what customers reach
    type: router
    realms:
      - name: com.example.shop
        roles:
          - name: user
            permissions:
              - {uri: com.example.add, allow: {call: true}}
          - id: of_backends
            name: backend
            permissions:
              - {uri: com.example., match: prefix, allow: {register: true}}
    transports:
      - id: clients
        type: websocket
        endpoint: {type: tcp, port: {port}, interface: 127.0.0.1}
        auth:
          ticket: {type: static, principals: {joe: {ticket: "${TICKET_OF_JOE}", role: user}}}
      - type: rawsocket
        endpoint: {type: unix, path: backends.sock}
        auth: {anonymous: {type: static, role: backend}}
  - type: container
    options: {pythonpath: [.]}
    components:
      - id: adder
        type: class
        classname: adder.Adder
        realm: com.example.shop
        transport: {type: rawsocket, endpoint: {type: unix, path: backends.sock}, url: "rs://localhost", serializer: cbor}
  - id: helper
    type: guest
    executable: /bin/sh
    arguments: ["-c", "echo $$ >helper.pid; exec sleep 600"]
# the end
`

const adder = `from autobahn.twisted.wamp import ApplicationSession


class Adder(ApplicationSession):
    async def onJoin(self, details):
        await self.register(lambda a, b: a + b, "com.example.add")
`

const ticket = "TICKET_OF_JOE=joes-ticket"

// shop is the node, its directory and what is around it.
type shop struct {
	*testing.T
	tools   fleet.Tools
	stock   fleet.Node
	home    string
	dir     string
	name    string // of its configuration
	config  string
	port    int
	ctx     context.Context
	process *fleet.Proc
}

func newShop(t *testing.T, name, config string) *shop {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	s := &shop{T: t, home: t.TempDir(), name: name, ctx: ctx}
	var err error
	if s.tools, err = fleet.Find(ctx); err != nil {
		t.Fatal(err)
	}
	if s.stock, err = fleet.FindNode(); err != nil {
		t.Fatal(err)
	}
	if s.port, err = fleet.FreePort(ctx); err != nil {
		t.Fatal(err)
	}
	s.dir = filepath.Join(s.home, "node")
	s.config = strings.ReplaceAll(config, "{port}", fmt.Sprint(s.port))
	if err := os.Mkdir(s.dir, 0o750); err != nil {
		t.Fatal(err)
	}
	s.write(filepath.Join(s.dir, name), s.config, 0o640)
	s.write(filepath.Join(s.dir, "adder.py"), adder, 0o644)
	s.write(filepath.Join(s.home, "ticket"), strings.TrimPrefix(ticket, "TICKET_OF_JOE="), 0o600)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if n, err := fleet.Reap(ctx, s.home, 20*time.Second); err != nil || n > 0 && !t.Failed() {
			t.Errorf("%d processes were left: %v", n, err)
		}
	})
	return s
}

func (s *shop) write(path, text string, mode os.FileMode) {
	s.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
		s.Fatal(err)
	}
}

// start starts the node as its owner does: as start, or edge start.
func (s *shop) start(words ...string) {
	s.Helper()
	args := append(words, "--cbdir", s.dir, "--color", "false")
	var err error
	s.process, err = fleet.Start(fleet.Command{Name: "node", Path: s.stock.Crossbar, Args: args, Env: []string{ticket}, Dir: s.dir, Home: s.home})
	if err != nil {
		s.Fatal(err)
	}
}

// stop ends the node as crossbar stop does.
func (s *shop) stop() {
	s.Helper()
	if err := s.process.Signal(syscall.SIGINT); err != nil {
		s.Fatal(err)
	}
	select {
	case <-s.process.Done():
	case <-s.ctx.Done():
		s.Fatalf("the node does not end:\n%s", s.process.Tail(20))
	}
}

// works has a client use what the node has: joe joins with his ticket, calls
// the component, may no more than his role, and the guest runs.
func (s *shop) works(when string) {
	s.Helper()
	var last error
	use := func() error {
		last = s.use()
		return last
	}
	if err := fleet.Poll(s.ctx, use); err != nil {
		s.Fatalf("%s: %v\n%s", when, last, s.logs())
	}
}

func (s *shop) use() error {
	ctx, cancel := context.WithTimeout(s.ctx, 20*time.Second)
	defer cancel()
	clients := driver.Libraries{Python: s.stock.Python, Scripts: filepath.Join(s.tools.Root, "shared", "e2e", "autobahn")}
	c, err := clients.Join(ctx, "autobahn/cbor", driver.Login{URL: fmt.Sprintf("ws://127.0.0.1:%d", s.port),
		Realm: "com.example.shop", TicketFile: filepath.Join(s.home, "ticket"), AuthID: "joe"})
	if err != nil {
		return err
	}
	defer c.Close()
	if role := c.Identity().AuthRole; role != "user" {
		return fmt.Errorf("joe has the role %s", role)
	}
	sum, err := c.Call(ctx, "com.example.add", []any{20, 22}, nil)
	if err != nil {
		return err
	}
	if fmt.Sprint(sum) != "42" {
		return fmt.Errorf("20 + 22 is %v", sum)
	}
	var refused *driver.Error
	if _, err := c.Call(ctx, "com.example.other", nil, nil); !errors.As(err, &refused) || refused.URI != "wamp.error.not_authorized" {
		return fmt.Errorf("a call that his role forbids: %w", err)
	}
	return s.guest()
}

// guest is an error unless the guest of the node runs.
func (s *shop) guest() error {
	b, err := os.ReadFile(filepath.Join(s.dir, "helper.pid"))
	if err != nil {
		return err
	}
	var pid int
	if _, err := fmt.Sscan(string(b), &pid); err != nil {
		return err
	}
	return syscall.Kill(pid, 0)
}

// silent is what there is while the node does not run: nothing.
func (s *shop) silent() {
	s.Helper()
	if err := fleet.Busy(s.ctx, fmt.Sprintf("127.0.0.1:%d", s.port)); err != nil {
		s.Errorf("the node still listens: %v", err)
	}
	if err := s.guest(); err == nil {
		s.Error("the guest still runs")
	}
}

func (s *shop) logs() string {
	var all strings.Builder
	for _, name := range []string{"node/node.log", "log/node.log", "log/agent.log"} {
		b, err := os.ReadFile(filepath.Join(s.home, name))
		lines := strings.Split(string(b), "\n")
		fmt.Fprintf(&all, "%s (%v):\n%s\n", name, err, strings.Join(lines[max(0, len(lines)-25):], "\n"))
	}
	return all.String()
}

// cfc runs the agent's command line.
func (s *shop) cfc(args ...string) (out string, code int) {
	s.Helper()
	c := exec.CommandContext(s.ctx, s.tools.Agent, args...)
	c.Env = append(os.Environ(), "CFC_AGENT_CONFIG="+filepath.Join(s.home, "agent.yaml"))
	b, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.Fatal(err)
	}
	return string(b), c.ProcessState.ExitCode()
}

// does wants a command line to do, and to say, something.
func (s *shop) does(say string, args ...string) string {
	s.Helper()
	out, code := s.cfc(args...)
	if code != 0 || !strings.Contains(out, say) {
		s.Fatalf("cfc-agent %v: exit %d\n%s\n%s", args, code, out, s.logs())
	}
	return out
}

// refuses wants it to fail, saying so in its last line.
func (s *shop) refuses(say string, args ...string) {
	s.Helper()
	out, code := s.cfc(args...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 1 || !strings.Contains(lines[len(lines)-1], say) {
		s.Errorf("cfc-agent %v: exit %d\n%s", args, code, out)
	}
}

// asBefore wants the configuration back to the letter.
func (s *shop) asBefore() {
	s.Helper()
	path := filepath.Join(s.dir, s.name)
	b, err := os.ReadFile(path)
	info, again := os.Stat(path)
	if err != nil || again != nil || string(b) != s.config || info.Mode().Perm() != 0o640 {
		s.Errorf("the configuration is\n%s\nmode %v, %v, %v", b, info.Mode(), err, again)
	}
}
