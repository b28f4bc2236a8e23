package rights

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/session"
)

// password of the proxy's user; it must be seen by the proxy alone.
const password = "hunter2-of-the-proxy"

// proxy is an HTTP proxy that only knows CONNECT. All names lead to one place:
// whoever is behind it need not be able to look them up.
type proxy struct {
	net.Listener
	to string

	mu     sync.Mutex
	refuse string // the status to refuse with, none if empty
	asked  []string
	all    sync.WaitGroup
}

func startProxy(t *testing.T, to string) *proxy {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: to}
	p.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(p.all.Wait) // after those that use it have ended
	t.Cleanup(func() { l.Close() })
	return p
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	p.mu.Lock()
	p.asked = append(p.asked, req.Method+" "+req.Host+" "+req.Header.Get("Proxy-Authorization"))
	refuse := p.refuse
	p.mu.Unlock()
	if refuse != "" {
		fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", refuse)
		return
	}
	far, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer far.Close()
	fmt.Fprint(c, "HTTP/1.1 200 Connection established\r\n\r\n")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(far, c)
		far.Close()
	}()
	_, _ = io.Copy(c, far)
	c.Close()
	<-done
}

// now has the proxy refuse from now on, and forget who has asked.
func (p *proxy) now(refuse string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse, p.asked = refuse, nil
}

func (p *proxy) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) == 0 {
		return ""
	}
	return p.asked[len(p.asked)-1]
}

// TestThroughAProxy has agent and command line reach a relay whose name only a
// proxy knows, which wants a password; and a proxy that refuses.
func TestThroughAProxy(t *testing.T) {
	const name, realm = "relay.example:8443", "far"
	ctx := within(t, 2*time.Minute)
	tools, err := fleet.Find(ctx)
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	t.Cleanup(func() {
		if _, err := fleet.Reap(context.Background(), home, 0); err != nil {
			t.Error(err)
		}
	})
	cert, key, parsed := certificate(t)
	relay, err := fleet.StartRelay(ctx, tools, home, fleet.RelayOptions{Config: map[string]string{"tls": "{certificate: " + cert + ", key: " + key + "}"}})
	if err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, relay.Address())
	credentials := base64.StdEncoding.EncodeToString([]byte("anna:" + password))
	env := []string{"HTTPS_PROXY=http://anna:" + password + "@" + p.Addr().String(), "XDG_CONFIG_HOME=" + home, "NO_PROXY="}
	cfc := func(env []string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, tools.CLI, args...)
		cmd.Env, cmd.Dir = append(os.Environ(), env...), home
		out, _ := cmd.CombinedOutput() // what it says is looked at
		if strings.Contains(string(out), password) || strings.Contains(string(out), credentials) {
			t.Errorf("cfc %v tells the proxy's password: %s", args, out)
		}
		return string(out)
	}
	pin := session.Pin(parsed)
	tokenFile := filepath.Join(relay.Data, "first-owner.token")
	if out := cfc(env, "login", "wss://"+name, "--pin", pin, "--token-file", tokenFile); !strings.Contains(out, "Logged in to wss://"+name+" as admin") {
		t.Fatalf("log-in: %s", out)
	}
	if got, want := p.last(), "CONNECT "+name+" Basic "+credentials; got != want {
		t.Errorf("the proxy was asked %q, expected %q", got, want)
	}
	if out := cfc(env, "realm", "create", realm); !strings.Contains(out, realm) {
		t.Fatalf("a realm: %s", out)
	}
	token := strings.TrimSpace(cfc(env, "node", "invite", "--node-id", "n1", "-q", "--realm", realm))

	a := lonelyAgent(t, tools, home, env)
	if err := a.Pair(ctx, "wss://"+name, token, "--pin", pin); err != nil {
		t.Fatal(err)
	}
	if err := a.Start(ctx); err != nil {
		t.Fatal(err)
	}
	online := func(want string) {
		t.Helper()
		err := fleet.Poll(within(t, 40*time.Second), func() error {
			if out := cfc(env, "node", "ls", "--realm", realm, "--status", want); !strings.Contains(out, "n1") {
				return fmt.Errorf("n1 is not %s: %s", want, out)
			}
			return nil
		})
		if err != nil {
			t.Fatalf("%v\n%s", err, a.Tail(10))
		}
	}
	online("online")

	// A proxy that refuses is named, with its words; the agent tries on.
	p.now("407 Proxy Authentication Required")
	if out := cfc(env, "node", "ls"); !strings.Contains(out, "proxy "+p.Addr().String()+": answered 407 Proxy Authentication Required") {
		t.Errorf("behind a proxy that refuses: %s", out)
	}
	if err := relay.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := relay.Start(ctx); err != nil {
		t.Fatal(err)
	}
	err = fleet.Poll(within(t, 30*time.Second), func() error {
		s, err := a.Status(ctx)
		if err == nil && !strings.Contains(fmt.Sprint(s.Uplink), "answered 407 Proxy Authentication Required") {
			err = fmt.Errorf("the agent says %v", s.Uplink)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	p.now("")
	online("online")

	for what, value := range map[string]string{"an address that is none": "http://anna:" + password + "@[::1", "another scheme": "socks4://anna:" + password + "@127.0.0.1:1"} {
		if out := cfc(append(env, "HTTPS_PROXY="+value), "node", "ls"); !strings.Contains(strings.ToLower(out), "proxy") {
			t.Errorf("%s: %s", what, out)
		}
	}
	if err := a.Stop(); err != nil {
		t.Error(err)
	}
	for _, p := range []*fleet.Proc{a.Proc, relay.Proc} {
		if all := p.Tail(1 << 20); strings.Contains(all, password) || strings.Contains(all, credentials) {
			t.Errorf("the log of %s has the proxy's password", p.Name)
		}
	}
	if err := relay.Stop(); err != nil {
		t.Error(err)
	}
}

// lonelyAgent is an agent whose node never comes.
func lonelyAgent(t *testing.T, tools fleet.Tools, home string, env []string) *fleet.Agent {
	t.Helper()
	a, err := fleet.NewAgent(t.Context(), tools, fleet.Node{}, home, fleet.AgentOptions{NodeKey: strings.Repeat("ab", 32), Env: env})
	if err != nil {
		t.Fatal(err)
	}
	return a
}
