package server

import (
	"io"
	stdlog "log"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// NewLog makes the relay's log: one event a line, times in UTC.
func NewLog(c Log, w io.Writer) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(c.Level)
	if err != nil {
		return nil, err
	}
	e := zap.NewProductionEncoderConfig()
	e.TimeKey, e.MessageKey = "time", "msg"
	e.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	e.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(e)
	if c.Format == "text" {
		e.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(e)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level)), nil
}

// httpLog takes what net/http has to say: broken handshakes of strangers,
// which are no fault of ours and may come by the thousand.
func httpLog(log *zap.Logger) *stdlog.Logger {
	return stdlog.New(lineLog{log}, "", 0)
}

type lineLog struct{ log *zap.Logger }

func (l lineLog) Write(b []byte) (int, error) {
	line := strings.TrimSpace(string(b))
	if strings.HasPrefix(line, "http: TLS handshake error") {
		l.log.Debug("connection refused", zap.String("why", line))
	} else {
		l.log.Warn("HTTP", zap.String("why", line))
	}
	return len(b), nil
}
