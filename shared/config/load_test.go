package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/config"
	"github.com/spf13/pflag"
)

// sample has one key of every kind.
type sample struct {
	Listen string                `yaml:"listen" default:"127.0.0.1:8080" doc:"where clients join"`
	Level  string                `yaml:"level" default:"info" enum:"debug|info|warn" doc:"what is logged"`
	Stop   time.Duration         `yaml:"stop_timeout" default:"10s" min:"1s" max:"5m" doc:"how long a stop may take"`
	Calls  int                   `yaml:"calls" default:"256" min:"1" doc:"calls in flight"`
	Ratio  float64               `yaml:"ratio" default:"0.5" max:"1" doc:"a ratio"`
	Queue  config.Size           `yaml:"queue" default:"4MiB" min:"64KiB" doc:"bytes queued"`
	Quiet  bool                  `yaml:"quiet" doc:"say less"`
	Hosts  []string              `yaml:"hosts" max:"3" doc:"hosts allowed"`
	TLS    sampleTLS             `yaml:"tls"`
	Rules  []sampleRule          `yaml:"rules" doc:"rules in order"`
	Labels map[string]string     `yaml:"labels" doc:"labels of the node"`
	Parts  map[string]sampleRule `yaml:"parts" doc:"rules by name"`
	Token  string                `yaml:"token" flag:"-" env:"-" doc:"for the file alone"`
	Inline
}

// Inline is embedded.
type Inline struct {
	Name string `yaml:"name" env:"SAMPLE_NAME" flag:"as" doc:"its name"`
}

type sampleTLS struct {
	Certificate string `yaml:"certificate" doc:"certificate file"`
	Key         string `yaml:"key" doc:"key file"`
}

func (t sampleTLS) Validate() []config.Fault {
	if (t.Certificate == "") != (t.Key == "") {
		return []config.Fault{config.Faultf("certificate", "certificate and key come together")}
	}
	return nil
}

type sampleRule struct {
	Image string `yaml:"image" required:"true" doc:"an image"`
	Max   int    `yaml:"max" default:"7" min:"1" doc:"how many"`
}

func (r *sampleRule) Validate() []config.Fault {
	if r.Image == "none" {
		return []config.Fault{config.Faultf("", "allows nothing")}
	}
	return nil
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBadFiles loads every testdata/*.bad.yaml: one file per rule, its message
// expected in the comment on its first line.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d bad files: %v", len(files), err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(b)) {
				rest, ok := strings.CutPrefix(line, "#! ")
				if !ok {
					break
				}
				want = append(want, strings.TrimSpace(rest))
			}
			err = config.Load(&sample{}, config.Sources{File: path})
			var faults config.Faults
			if !errors.As(err, &faults) {
				t.Fatalf("got %v, want faults", err)
			}
			got := strings.ReplaceAll(faults.Error(), path, filepath.Base(path))
			if got != strings.Join(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
			}
		})
	}
}

func TestGoodFile(t *testing.T) {
	path := write(t, `version: 1
listen: "[::1]:80"
level: debug
stop_timeout: 1m30s
calls: 3
ratio: 1
queue: 65536
quiet: true
hosts: [a, "b"]
tls:
rules:
  - image: nginx
  - {image: redis, max: 2}
labels: {site: "7"}
parts:
  one: {image: alpine}
token: |
  long
name: n
`)
	var got sample
	if err := config.Load(&got, config.Sources{File: path}); err != nil {
		t.Fatal(err)
	}
	want := sample{Listen: "[::1]:80", Level: "debug", Stop: 90 * time.Second, Calls: 3, Ratio: 1, Queue: 64 << 10, Quiet: true, Hosts: []string{"a", "b"},
		Rules: []sampleRule{{"nginx", 7}, {"redis", 2}}, Labels: map[string]string{"site": "7"}, Parts: map[string]sampleRule{"one": {"alpine", 7}}, Token: "long\n", Inline: Inline{"n"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestLaterSourceWins(t *testing.T) {
	path := write(t, "version: 1\nlisten: file\nlevel: debug\ncalls: 3\n")
	set := pflag.NewFlagSet("x", pflag.ContinueOnError)
	config.AddFlags(set, &sample{})
	if err := set.Parse([]string{"--calls=5", "--quiet", "--hosts=a,b", "--hosts", "c", "--tls-key", "k", "--tls-certificate", "c", "--as=me"}); err != nil {
		t.Fatal(err)
	}
	var got sample
	err := config.Load(&got, config.Sources{File: path, EnvPrefix: "T_", Flags: set, KnownEnv: []string{"T_OTHER"},
		Environ: []string{"T_LEVEL=warn", "T_CALLS=4", "T_OTHER=1", "HOME=/", "T_TLS_KEY=none", "SAMPLE_NAME=you", "T_QUEUE=1MiB"}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Listen != "file" || got.Level != "warn" || got.Calls != 5 || !got.Quiet || strings.Join(got.Hosts, "") != "abc" ||
		got.TLS.Key != "k" || got.Name != "me" || got.Queue != 1<<20 || got.Stop != 10*time.Second {
		t.Errorf("got %+v", got)
	}
}

// TestFaultsOfAllSources finds one in each, in one go, each with its place.
func TestFaultsOfAllSources(t *testing.T) {
	path := write(t, "version: 1\nlevel: loud\nnope: 1\n")
	set := pflag.NewFlagSet("x", pflag.ContinueOnError)
	config.AddFlags(set, &sample{})
	if err := set.Parse([]string{"--calls=many", "--stop-timeout", "0s"}); err != nil {
		t.Fatal(err)
	}
	err := config.Load(&sample{}, config.Sources{File: path, EnvPrefix: "T_", Flags: set, Environ: []string{"T_QUEUE=big", "T_LISTN=x", "T_TOKEN=x"}})
	want := path + `:2: level: expected debug, info or warn, found "loud"
` + path + `:3: nope: no such key; did you mean name?
T_LISTN: no such variable; did you mean T_LISTEN?
T_QUEUE: queue: expected a size such as 512, 64KiB or 4MiB, found "big"
T_TOKEN: no such variable
--calls: calls: expected a whole number, found "many"
--stop-timeout: stop_timeout: expected at least 1s, found 0s`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.yaml")
	var got sample
	if err := config.Load(&got, config.Sources{File: path, Optional: true}); err != nil || got.Calls != 256 {
		t.Errorf("optional: %v, %+v", err, got)
	}
	if err := config.Load(&got, config.Sources{File: path}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("named: %v", err)
	}
}

func TestDefaults(t *testing.T) {
	var got sample
	if err := config.Defaults(&got); err != nil || got.Queue != 4<<20 || got.Ratio != 0.5 {
		t.Errorf("%v, %+v", err, got)
	}
}

// TestBadDeclarations: a struct that is badly declared is refused whatever the
// sources say, so that its first test meets it.
func TestBadDeclarations(t *testing.T) {
	for want, dst := range map[string]any{
		"expected a pointer to a struct": sample{},
		"has no doc": &struct {
			A string `yaml:"a"`
		}{},
		"has no yaml tag": &struct {
			A string `doc:"a"`
		}{},
		"declared twice": &struct {
			A string `yaml:"a" doc:"a"`
			B string `yaml:"a" doc:"a"`
		}{},
		"cannot be configured": &struct {
			A chan int `yaml:"a" doc:"a"`
		}{},
		"version belongs to every file": &struct {
			A int `yaml:"version" doc:"a"`
		}{},
		`found "x"`: &struct {
			A int `yaml:"a" doc:"a" default:"x"`
		}{},
		"at least 3": &struct {
			A int `yaml:"a" doc:"a" default:"2" min:"3"`
		}{},
		"bound x": &struct {
			A time.Duration `yaml:"a" doc:"a" max:"x"`
		}{},
		"only numbers": &struct {
			A string `yaml:"a" doc:"a" max:"3"`
		}{},
		"has no default": &struct {
			A map[string]string `yaml:"a" doc:"a" default:"3"`
		}{},
		"key b has no doc": &struct {
			A []struct {
				B string `yaml:"b"`
			} `yaml:"a" doc:"a"`
		}{},
	} {
		if err := config.Load(dst, config.Sources{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]config.Size{"0": 0, "512": 512, "64KiB": 64 << 10, "4 MiB": 4 << 20, "2GiB": 2 << 30, "1536KiB": 1536 << 10} {
		var s config.Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s: %d, %v", text, s, err)
		}
		var again config.Size
		b, _ := s.MarshalText()
		if err := again.UnmarshalText(b); err != nil || again != s {
			t.Errorf("%s: written as %s and read as %d", text, b, again)
		}
	}
	for _, text := range []string{"", "x", "-1", "1.5MiB", "4MB", "9223372036854775807GiB"} {
		var s config.Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %d", text, s)
		}
	}
}
