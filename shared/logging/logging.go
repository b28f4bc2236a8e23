// Package logging makes the log of a program: structured, one event one line,
// to standard error, where systemd or a container's runtime takes it. What is
// logged is said by the packages; here is only how it looks.
package logging

import (
	"io"
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

// HTTP is where http.Server complains (ErrorLog). Broken handshakes of strangers
// are no fault of ours and may come by the thousand: they are for debugging.
func HTTP(log *zap.Logger) *zap.Logger {
	return log.Named("http").WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core { return strangers{c} }))
}

type strangers struct{ zapcore.Core }

// With keeps the wrapping.
func (s strangers) With(f []zapcore.Field) zapcore.Core { return strangers{s.Core.With(f)} }

// Check has Write called on the wrapping.
func (s strangers) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if s.Enabled(e.Level) {
		return to.AddCore(e, s)
	}
	return to
}

// Write lowers the level of what strangers cause.
func (s strangers) Write(e zapcore.Entry, f []zapcore.Field) error {
	if strings.HasPrefix(e.Message, "http: TLS handshake error") {
		if e.Level = zapcore.DebugLevel; !s.Enabled(e.Level) {
			return nil
		}
	}
	return s.Core.Write(e, f)
}
