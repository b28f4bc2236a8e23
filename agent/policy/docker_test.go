package policy

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fabric.center/cfc/shared/cfcerr"
	"go.uber.org/zap/zaptest"
)

func ruleOf(err error) string {
	var e *cfcerr.Error
	if !errors.As(err, &e) || e.Kind != cfcerr.DeniedByHost {
		return ""
	}
	return e.Details["rule"].(string)
}

func TestImagesAndRegistries(t *testing.T) {
	const digest = "@sha256:0123456789012345678901234567890123456789012345678901234567890123"
	const other = "@sha256:9999999999999999999999999999999999999999999999999999999999999999"
	for _, c := range []struct {
		images, registries []string
		names              []string
		want               string
	}{
		{nil, nil, nil, ""},
		{nil, nil, []string{"evil.example/x"}, ""},
		{[]string{"nginx"}, nil, []string{"nginx"}, ""},
		{[]string{"nginx"}, nil, []string{"docker.io/library/nginx:1.27"}, ""},
		{[]string{"nginx"}, nil, []string{"nginx" + digest}, ""},
		{[]string{"nginx"}, nil, []string{"nginx2"}, "docker.images"},
		{[]string{"nginx"}, nil, []string{"evil.example/nginx"}, "docker.images"},
		{[]string{"nginx"}, nil, []string{"evil.example/library/nginx"}, "docker.images"},
		{[]string{"nginx"}, nil, []string{"someone/nginx"}, "docker.images"},
		{[]string{"nginx"}, nil, nil, "docker.images"}, // no name at all
		{[]string{"nginx"}, nil, []string{"<none>:<none>"}, "docker.images"},
		{[]string{"nginx:1.27"}, nil, []string{"nginx:1.27"}, ""},
		{[]string{"nginx:1.27"}, nil, []string{"nginx:1.26"}, "docker.images"},
		{[]string{"nginx:1.27"}, nil, []string{"nginx"}, "docker.images"},
		{[]string{"nginx:latest"}, nil, []string{"nginx"}, ""},
		{[]string{"nginx:1.27"}, nil, []string{"nginx:1.27" + digest}, "docker.images"}, // the engine ignores the tag
		{[]string{"nginx:1.27"}, nil, []string{"nginx" + digest}, "docker.images"},
		{[]string{"nginx" + digest}, nil, []string{"nginx" + digest}, ""},
		{[]string{"nginx" + digest}, nil, []string{"nginx:1.27" + digest}, ""},
		{[]string{"nginx" + digest}, nil, []string{"nginx" + other}, "docker.images"},
		{[]string{"nginx" + digest}, nil, []string{"nginx:1.27"}, "docker.images"},
		{[]string{"r.example/team/*"}, nil, []string{"r.example/team/a/b:1"}, ""},
		{[]string{"r.example/team/*"}, nil, []string{"r.example/team2/a"}, "docker.images"},
		{[]string{"r.example/team/*"}, nil, []string{"r.example/team"}, "docker.images"},
		{[]string{"nginx"}, nil, []string{"evil.example/x:1", "nginx:1"}, ""}, // the same image by two names
		{nil, []string{"r.example:5000"}, []string{"r.example:5000/a"}, ""},
		{nil, []string{"r.example:5000"}, []string{"r.example/a"}, "docker.registries"},
		{nil, []string{"r.example:5000"}, []string{"nginx"}, "docker.registries"},
		{nil, []string{"docker.io"}, []string{"nginx"}, ""},
		{[]string{"nginx"}, []string{"r.example"}, []string{"nginx"}, "docker.registries"},
		{[]string{"nginx"}, []string{"docker.io"}, []string{"redis"}, "docker.images"},
	} {
		if got := ruleOf(Docker{Images: c.images, Registries: c.registries}.Image("it", c.names...)); got != c.want {
			t.Errorf("%v of %v with %v: refused by %q, expected %q", c.names, c.images, c.registries, got, c.want)
		}
	}
}

func TestFoldersThatMayBeMounted(t *testing.T) {
	home := t.TempDir()
	if err := os.Chmod(filepath.Dir(home), 0o755); err != nil {
		t.Fatal(err)
	}
	dirs := map[string]os.FileMode{"listed": 0o755, "listed/deep": 0o755, "listed/open": 0o777, "listed/open/inner": 0o755, "listed2": 0o755, "secret": 0o755}
	for _, name := range []string{"listed", "listed/deep", "listed/open", "listed/open/inner", "listed2", "secret"} {
		if err := os.Mkdir(filepath.Join(home, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(home, name), dirs[name]); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{"listed/link": "secret", "listed/inside": "listed/deep", "link": "listed"} {
		if err := os.Symlink(filepath.Join(home, to), filepath.Join(home, from)); err != nil {
			t.Fatal(err)
		}
	}
	d := Docker{Binds: []string{filepath.Join(home, "listed"), filepath.Join(home, "link")}}
	for source, want := range map[string]string{
		"listed": "", "listed/deep": "", "listed/open": "",
		"listed2": "does not allow", "secret": "does not allow", "listed/../secret": "no plain path", "listed/": "no plain path", "listed//deep": "no plain path",
		"listed/./deep": "no plain path", "listed/link": "is a link", "listed/inside": "is a link", "link": "is a link", "link/deep": "is a link",
		"listed/none": "no such file", "listed/open/inner": "others can write",
	} {
		err := d.Bind(home + "/" + source)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || ruleOf(err) != "docker.binds") {
			t.Errorf("%s: %v, expected %q", source, err, want)
		}
	}
	for _, source := range []string{"", "relative", "name", "../x"} {
		if err := d.Bind(source); ruleOf(err) != "docker.binds" {
			t.Errorf("%q: %v", source, err)
		}
	}
	if err := (Docker{}).Bind(home); ruleOf(err) != "docker.binds" {
		t.Errorf("nothing listed: %v", err)
	}
}

// TestWhoOwnsWhatStandsInAFolderForAll can put a link in its place.
func TestWhoOwnsWhatStandsInAFolderForAll(t *testing.T) {
	if os.Getuid() != 0 {
		return // only root can give a folder away
	}
	home := t.TempDir()
	for _, dir := range []string{filepath.Dir(home), home} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	shared, source := filepath.Join(home, "shared"), filepath.Join(home, "shared", "his")
	if err := os.MkdirAll(source, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(source, 4711, 4711); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{0o755: "", 0o777 | os.ModeSticky: "docker.binds"} {
		if err := os.Chmod(shared, mode); err != nil {
			t.Fatal(err)
		}
		if got := ruleOf((Docker{Binds: []string{home}}).Bind(source)); got != want {
			t.Errorf("in a folder with mode %s: refused by %q, expected %q", mode, got, want)
		}
	}
}

func TestRulesOfDockerAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"images: ['NGINX']": "images[0]", "images: ['a b']": "images[0]", "images: ['/*']": "images[0]", "registries: ['https://x']": "registries[0]",
		"registries: [example]": "registries[0]", "host_namespaces: [net]": "host_namespaces[0]", "binds: [srv]": "binds[0]", "binds: [/srv/../etc]": "binds[0]",
		"privilege: true": "privilege",
	} {
		p := Open(write(t, "version: 1\nareas: {docker: on}\ndocker: {"+text+"}\n"), false, zaptest.NewLogger(t))
		if err := p.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
		if d := p.Docker(); d.Images != nil || d.Binds != nil || d.HostNamespaces != nil {
			t.Errorf("%s: rules %+v", text, d)
		}
	}
	p := Open(write(t, "version: 1\nareas: {docker: on}\ndocker: {images: [nginx, 'r.example/a/*'], registries: [docker.io, 'r.example:5000'], host_namespaces: [pid], binds: [/srv], exec: true}\n"), false, zaptest.NewLogger(t))
	if d := p.Docker(); p.Err() != nil || !d.Exec || len(d.Images) != 2 || d.Binds[0] != "/srv" {
		t.Errorf("%+v, %v", d, p.Err())
	}
}
