package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"fabric.center/cfc/shared/wire"
)

func keyIs(k identity.Key, file []byte) bool {
	want, err := identity.Parse(string(file))
	return err == nil && k.Public() == want.Public()
}

func newToken(t *testing.T, p wire.Purpose) string {
	t.Helper()
	tok, err := wire.NewToken(p)
	if err != nil {
		t.Fatal(err)
	}
	return tok.Secret()
}

// strict makes the relay know no key until it has seen a token with it.
func (r *rig) strict() Program {
	known := map[string]bool{}
	p := r.program(nil, nil)
	p.Join = func(ctx context.Context, c session.Config) (Session, error) {
		s, err := r.join(ctx, c)
		if c.Token == "" && !known[c.Key.Public()] {
			return nil, cfcerr.New(cfcerr.AuthenticationFailed, "cannot log in: the key is not known")
		}
		known[c.Key.Public()] = true
		return s, err
	}
	return p
}

func runOn(t *testing.T, p Program, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	var out, errs strings.Builder
	p.Stdout, p.Stderr = &out, &errs
	exit = p.Run(t.Context(), args)
	return out.String(), errs.String(), exit
}

const newRelay = "wss://relay.example.com"

func TestLoginTakesTheTokenFromItsSources(t *testing.T) {
	token := newToken(t, wire.ForUser)
	for name, give := range map[string]func(r *rig) []string{
		"file": func(r *rig) []string {
			path := filepath.Join(r.dir, "token")
			if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			return []string{"--token-file", path}
		},
		"standard input by name": func(r *rig) []string { r.stdin = token + "\n"; return []string{"--token-file", "-"} },
		"standard input":         func(r *rig) []string { r.stdin = "  " + token; return nil },
		"environment":            func(r *rig) []string { r.env[envToken] = token; return nil },
		"terminal": func(r *rig) []string {
			r.secret = func(prompt string) (string, error) {
				if !strings.Contains(prompt, "Token") {
					t.Errorf("prompt %q", prompt)
				}
				return token, nil
			}
			return nil
		},
	} {
		r := newRig(t)
		r.answers = answersOfAll()
		args := append([]string{"login", newRelay, "--pin", "sha256:" + strings.Repeat("0f", 32)}, give(r)...)
		out, errs, exit := runOn(t, r.strict(), args...)
		if exit != 0 || out != "Logged in to wss://relay.example.com as anna; no realm chosen yet: see cfc realm.\n" || errs != "" {
			t.Errorf("%s: exit %d, %q, %q", name, exit, out, errs)
			continue
		}
		j := r.joins[len(r.joins)-1]
		if j.Token != token || j.Realm != wire.UsersRealm || j.Pin == "" || len(r.joins) != 1 {
			t.Errorf("%s: joined %d times, %+v", name, len(r.joins), j.Realm)
		}
		s := r.read()
		p, ok := s.find("relay.example.com_443")
		if !ok || s.Current != p.Name || p.Relay != newRelay || p.User != "anna" || p.Pin != j.Pin || p.Key != filepath.Join(r.dir, "keys", "relay.example.com_443@relay.example.com_443.key") {
			t.Errorf("%s: stored %+v, current %s", name, p, s.Current)
		}
		key, err := identity.Load(p.Key)
		if err != nil || key.Public() != j.Key.Public() {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Stat(filepath.Dir(p.Key)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
		notBelow(t, r.dir, token, "token")
	}
}

// notBelow fails when a secret stands in a file below dir, but for its own.
func notBelow(t *testing.T, dir, secret, own string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == own {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), secret) {
			t.Errorf("%s holds the token", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestLoginAgainNeedsNoToken(t *testing.T) {
	r := newRig(t)
	r.answers = answersOfAll()
	p := r.strict()
	token := newToken(t, wire.ForUser)
	r.env[envToken] = token
	if _, errs, exit := runOn(t, p, "login", newRelay, "--context", "work", "--realm", "site", "--pin", "sha256:"+strings.Repeat("0f", 32)); exit != 0 {
		t.Fatal(errs)
	}
	delete(r.env, envToken)
	p.ReadSecret = func(string) (string, error) { t.Error("a token is asked for"); return "", nil }
	out, errs, exit := runOn(t, p, "login", newRelay+"/ws", "--json")
	if exit != 0 || !strings.Contains(out, `"name": "work"`) || !strings.Contains(out, `"realm": "site"`) {
		t.Errorf("exit %d, %s, %s", exit, out, errs)
	}
	if s := r.read(); len(s.Contexts) != 2 || s.Current != "work" || s.Contexts[1].Pin == "" {
		t.Errorf("%+v", s)
	}
}

// A key that the relay does not know is noticed, and a token asked for.
func TestLoginAsksForATokenWhenTheKeyIsUnknown(t *testing.T) {
	r := newRig(t)
	r.answers = answersOfAll()
	p := r.strict()
	token := newToken(t, wire.ForUser)
	asked := 0
	p.ReadSecret = func(string) (string, error) { asked++; return token, nil }
	if _, errs, exit := runOn(t, p, "login", newRelay, "--key", filepath.Join(r.dir, "anna.key")); exit != 0 || asked != 1 || len(r.joins) != 2 {
		t.Errorf("exit %d, asked %d times, joined %d times: %s", exit, asked, len(r.joins), errs)
	}
	if p, _ := r.read().find("relay.example.com_443"); p.Key != filepath.Join(r.dir, "anna.key") {
		t.Errorf("%+v", p)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "keys")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a key was made although one was given")
	}
}

func TestLoginChoosesTheOnlyRealm(t *testing.T) {
	r := newRig(t)
	r.answers["cfc.get_management_realms"] = []any{"only"}
	if out := r.good("login", rigURL, "--context", "other", "--key", filepath.Join(r.dir, "anna.key")); !strings.HasSuffix(out, "; realm only.\n") {
		t.Errorf("%s", out)
	}
}

func TestFailedLogin(t *testing.T) {
	node, ticket, user := newToken(t, wire.ForNode), newToken(t, wire.ForTicket), newToken(t, wire.ForUser)
	mistyped := user[:len(user)-1] + "0"
	tests := []struct {
		name, stdin string
		exit        int
		want        string
		args        []string
	}{
		{"no URL", "", 2, "URL is missing", nil},
		{"no URL either", "", 2, "URL: expected one such as", []string{"relay.example.com"}},
		{"password in the URL", "", 2, "URL: expected one such as", []string{"wss://anna:hunter2@relay"}},
		{"token as an argument", "", 2, "a token is never given as an argument", []string{newRelay, user}},
		{"token as a flag", "", 2, "a token is never given as an argument", []string{newRelay, "--token", user}},
		{"token as a flag's value", "", 2, "a token is never given as an argument", []string{newRelay, "--token=" + user}},
		{"empty", "", 2, "a token is needed", []string{newRelay}},
		{"mistyped", mistyped, 2, "not a token, or mistyped", []string{newRelay}},
		{"node token", node, 2, "hand it to cfc-agent pair", []string{newRelay}},
		{"ticket", ticket, 2, "a ticket for scripts", []string{newRelay}},
		{"no token file", "", 1, "cannot read token: open /none", []string{newRelay, "--token-file", "/none"}},
		{"no key file", "", 1, "cannot read key", []string{newRelay, "--key", "/none"}},
		{"bad pin", "", 2, "--pin: expected sha256:", []string{newRelay, "--pin", "md5:1"}},
		{"bad realm", "", 2, "--realm \"Demo\": expected", []string{newRelay, "--realm", "Demo"}},
		{"bad context", "", 2, "context \"../x\": expected", []string{newRelay, "--context", "../x"}},
		{"another user", user, 1, "cannot log in as bob: the key is user anna", []string{newRelay, "--user", "bob"}},
	}
	for _, tt := range tests {
		r := newRig(t)
		r.answers = answersOfAll()
		r.stdin = tt.stdin
		before, err := os.ReadFile(filepath.Join(r.dir, storeFile))
		if err != nil {
			t.Fatal(err)
		}
		text := r.bad(tt.exit, tt.want, append([]string{"login"}, tt.args...)...)
		for _, secret := range []string{node, ticket, user, mistyped, "hunter2"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: the secret is shown: %s", tt.name, text)
			}
		}
		if after, _ := os.ReadFile(filepath.Join(r.dir, storeFile)); string(after) != string(before) {
			t.Errorf("%s: the contexts were changed", tt.name)
		}
	}
}

// A pipe that says nothing is not waited for.
func TestCtrlCAtAPipe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range [][]string{{"--token-file", "-"}, nil} {
		r := newRig(t)
		in, end := io.Pipe()
		defer end.Close()
		var errs strings.Builder
		p := r.program(io.Discard, &errs)
		p.Stdin = in
		if exit := p.Run(ctx, append([]string{"login", newRelay}, args...)); exit != cfcerr.Canceled.Exit() || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%v: exit %d, %s", args, exit, errs.String())
		}
	}
}

// The token may be typed much later: what others log in to meanwhile is kept.
func TestLoginBesideAnother(t *testing.T) {
	token := newToken(t, wire.ForUser)
	r := newRig(t)
	r.answers = answersOfAll()
	r.secret = func(string) (string, error) {
		s := r.read()
		s.put(place{Name: "meanwhile", Relay: "wss://another.example.com", Key: "/k"})
		r.write(s)
		return token, nil
	}
	r.good("login", newRelay)
	s := r.read()
	for _, name := range []string{"local", "meanwhile", s.Current} {
		if _, ok := s.find(name); !ok || len(s.Contexts) != 3 {
			t.Errorf("no context %q among %v", name, s.Contexts)
		}
	}
}

// A relay may call its users and realms anything: what cannot be kept does not
// make the contexts of all relays unusable, nor reach the terminal as it is.
func TestLoginAtARelayThatSaysNonsense(t *testing.T) {
	for what, lie := range map[string]func(*rig){
		"user":  func(r *rig) { r.authid = "\x1b[2Janna" },
		"realm": func(r *rig) { r.answers["cfc.get_management_realms"] = []any{"\x1b[2Jdemo"} },
	} {
		r := newRig(t)
		r.answers = answersOfAll()
		lie(r)
		before := r.read()
		text := r.bad(1, "contexts[1]."+what, "login", newRelay, "--key", filepath.Join(r.dir, "anna.key"))
		if strings.Contains(text, "\x1b") {
			t.Errorf("%s: printed %q", what, text)
		}
		if after := r.read(); !reflect.DeepEqual(after, before) {
			t.Errorf("%s: the contexts became %+v", what, after)
		}
	}
}

// The answer to a claim may be lost: the key is there before, and the same
// command again uses it.
func TestLoginThatIsLostKeepsItsKey(t *testing.T) {
	r := newRig(t)
	r.answers = answersOfAll()
	r.stdin = newToken(t, wire.ForUser)
	r.refuse = errors.New("connection reset")
	r.bad(1, "connection reset", "login", newRelay)
	first := r.joins[0].Key.Public()
	r.refuse = nil
	r.good("login", newRelay)
	if r.joins[1].Key.Public() != first {
		t.Error("the second try has another key")
	}
}

// What is known of one relay, its key and pin, is never used at another.
func TestContextThatMovesToAnotherRelay(t *testing.T) {
	r := newRig(t)
	r.answers = answersOfAll()
	s := r.read()
	s.Contexts[0].Relay, s.Contexts[0].Pin = newRelay, "sha256:"+strings.Repeat("0f", 32)
	r.write(s)
	r.stdin = newToken(t, wire.ForUser)
	r.good("login", "wss://other.example.com", "--context", "local")
	p, _ := r.read().find("local")
	if p.Relay != "wss://other.example.com" || p.Pin != "" || p.Realm != "" || p.Key != filepath.Join(r.dir, "keys", "local@other.example.com_443.key") {
		t.Errorf("%+v", p)
	}
}

// What a flag said once stays, until it says nothing.
func TestLoginForgetsWhatIsGivenEmpty(t *testing.T) {
	r := newRig(t)
	r.answers = answersOfAll()
	r.stdin = newToken(t, wire.ForUser)
	r.good("login", newRelay, "--pin", "sha256:"+strings.Repeat("0f", 32), "--ca", "ca.pem", "--unbound")
	r.good("login", newRelay)
	p, _ := r.read().find(nameFor(newRelay))
	if p.Pin == "" || !filepath.IsAbs(p.CA) || !p.Unbound {
		t.Errorf("%+v", p)
	}
	r.good("login", newRelay, "--pin=", "--ca=", "--unbound=false")
	if p, _ := r.read().find(nameFor(newRelay)); p.Pin != "" || p.CA != "" || p.Unbound {
		t.Errorf("%+v", p)
	}
}

func TestLogout(t *testing.T) {
	r := newRig(t)
	r.answers = answersOfAll()
	r.stdin = newToken(t, wire.ForUser)
	r.good("login", newRelay, "--context", "work")
	made, _ := r.read().find("work")
	r.good("logout", "--forget-key")
	if _, err := os.Stat(made.Key); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the key is still there: %v", err)
	}
	if s := r.read(); len(s.Contexts) != 1 || s.Current != "" {
		t.Errorf("%+v", s)
	}
	r.bad(2, "no context is current", "logout")
	r.bad(2, `there is no context "work"`, "logout", "work")
	// A key that was taken, not made, is somebody else's to delete.
	if out := r.good("logout", "local", "--forget-key"); !strings.Contains(out, "its key stays in") {
		t.Errorf("%s", out)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "anna.key")); err != nil {
		t.Error(err)
	}
}

func TestContexts(t *testing.T) {
	r := newRig(t)
	s := r.read()
	s.put(place{Name: "work", Relay: newRelay, Key: "/k"})
	r.write(s)
	r.good("context", "use", "work")
	if r.read().Current != "work" {
		t.Error("the context is not current")
	}
	r.bad(2, `there is no context "none"`, "context", "use", "none")
	if out := r.good("context", "ls"); !strings.Contains(out, "\n*        work     wss://relay.example.com") {
		t.Errorf("%s", out)
	}
}

func TestRealmOfTheContext(t *testing.T) {
	r := newRig(t)
	r.answers = answersOfAll()
	r.good("realm", "use", "site-2")
	if p, _ := r.read().find("local"); p.Realm != "site-2" {
		t.Errorf("%+v", p)
	}
	r.answers["cfc.get_management_realm"] = cfcerr.New(cfcerr.NoSuchRealm, "cannot find realm none: there is none")
	r.bad(5, "cannot find realm none", "realm", "use", "none")
	if p, _ := r.read().find("local"); p.Realm != "site-2" {
		t.Errorf("%+v", p)
	}
	r.bad(2, "there is no context to keep the realm in", "realm", "use", "x1", "--relay", "ws://localhost:1", "--key", "/k")
	// A new realm becomes the context's where it has none.
	s := r.read()
	s.Contexts[0].Realm = ""
	r.write(s)
	r.good("realm", "create", "first")
	r.good("realm", "create", "second")
	if p, _ := r.read().find("local"); p.Realm != "first" {
		t.Errorf("%+v", p)
	}
}
