// Package logging makes the log of a program: structured, one event one line,
// to standard error, where systemd or a container's runtime takes it. What is
// logged is said by the packages; here is only how it looks.
package logging

import (
	"io"
	stdlog "log"
	"strings"
	"time"

	"fabric.center/cfc/shared/wire"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Config is the section log of relay.yaml and agent.yaml.
type Config struct {
	Level  string `yaml:"level" default:"info" enum:"debug|info|warn|error" doc:"least level that is logged"`
	Format string `yaml:"format" default:"json" enum:"json|text" doc:"one JSON object a line, or text for people"`
}

// New makes a log that writes to w. Times are UTC.
func New(c Config, w io.Writer) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(c.Level)
	if err != nil {
		return nil, err
	}
	e := zap.NewProductionEncoderConfig()
	e.TimeKey, e.MessageKey = "time", "msg"
	e.EncodeTime = func(t time.Time, out zapcore.PrimitiveArrayEncoder) { out.AppendString(wire.Time(t)) }
	e.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(e)
	if c.Format == "text" {
		e.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(e)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level)), nil
}

// HTTP is a log for http.Server. Broken handshakes of strangers are no fault of
// ours and may come by the thousand: they are for debugging.
func HTTP(log *zap.Logger) *stdlog.Logger { return stdlog.New(lines{log}, "", 0) }

type lines struct{ log *zap.Logger }

// Write is one line.
func (l lines) Write(b []byte) (int, error) {
	line := strings.TrimSpace(string(b))
	if strings.HasPrefix(line, "http: TLS handshake error") {
		l.log.Debug("connection refused", zap.String("why", line))
	} else {
		l.log.Warn("HTTP", zap.String("why", line))
	}
	return len(b), nil
}
