package logging_test

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"testing"

	"fabric.center/cfc/shared/config"
	"fabric.center/cfc/shared/logging"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOneEventOneLine(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		log, err := logging.New(logging.Config{Level: "info", Format: format}, &out)
		if err != nil {
			t.Fatal(err)
		}
		log.Debug("hidden")
		log.Info("ready", zap.String("url", "two\nlines"))
		std := zap.NewStdLog(logging.HTTP(log).With(zap.String("listener", "join")))
		std.Print("http: TLS handshake error from 192.0.2.1:1: EOF")
		std.Print("http: Accept error: too many open files")
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[1], "too many open files") || !strings.Contains(lines[1], "join") || !regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`).MatchString(lines[0]) {
			t.Errorf("%s: %s", format, out.String())
		}
		if format == "json" && !json.Valid([]byte(lines[0])) {
			t.Errorf("no JSON: %s", lines[0])
		}
	}
}

func TestLevels(t *testing.T) {
	if _, err := logging.New(logging.Config{Level: "loud"}, io.Discard); err == nil {
		t.Error("an unknown level was taken")
	}
	var c struct {
		Log logging.Config `yaml:"log"`
	}
	if err := config.Defaults(&c); err != nil {
		t.Fatal(err)
	}
	if _, err := logging.New(c.Log, io.Discard); err != nil {
		t.Errorf("the defaults make no log: %v", err)
	}
}
