// Package audit writes down who was let in, who was not and why, and who changed
// whose rights: one JSON object a line, with time, event and what it is about.
//
// The fields of an Event are names, ids and public keys, and nothing else has a
// place in a line; so no token, ticket or key can get there. The true reason of
// a refusal, which the refused one is not told, stands here.
//
// Refused log-ins go to a file of their own, audit-refused.log beside audit.log:
// strangers can cause as many as they have addresses, and must not make the
// relay forget who changed what.
//
// A file is made with mode 0600, appended to, and turned over when it has
// reached its size: path.1 is the one before, and so on. It is written at once
// and flushed when it is turned over and closed. A line that cannot be written
// goes to the relay's log in its place.
package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// What happened.
const (
	LoginRefused  = "login.refused"
	TokenMade     = "token.made"
	TokenClaimed  = "token.claimed"
	TokenRevoked  = "token.revoked"
	UserCreated   = "user.created"
	UserKeyAdded  = "user.key_added"
	UserReplaced  = "user.replaced"
	UserDeleted   = "user.deleted"
	RealmCreated  = "realm.created"
	RealmDeleted  = "realm.deleted"
	MemberSet     = "member.set"
	MemberRemoved = "member.removed"
	NodePaired    = "node.paired"
	NodeReplaced  = "node.replaced"
	NodeUnpaired  = "node.unpaired"
)

// Event is one line. Empty fields are left out.
type Event struct {
	Event   string
	By      string // the user who did it
	Address string // host of whoever did it
	Realm   string
	User    string
	Role    string
	Node    string // node id
	OID     string
	Key     string // public key
	Token   string // id of a token
	Kind    string // what the refused one was told, a URI
	Reason  string // the true reason
}

func (e Event) fields() []zap.Field {
	var out []zap.Field
	for _, f := range [...][2]string{
		{"by", e.By}, {"address", e.Address}, {"realm", e.Realm}, {"user", e.User}, {"role", e.Role}, {"node_id", e.Node}, {"oid", e.OID},
		{"pubkey", e.Key}, {"token_id", e.Token}, {"kind", e.Kind}, {"reason", e.Reason},
	} {
		if f[1] != "" {
			out = append(out, zap.String(f[0], f[1]))
		}
	}
	return out
}

// Log takes events. It is safe for use by many goroutines.
type Log struct {
	log, refused *zap.Logger
	files        []*file
}

// ToLogger records into the relay's own log, under the name "audit".
func ToLogger(log *zap.Logger) *Log {
	log = log.Named("audit")
	return &Log{log: log, refused: log}
}

// Size and number of files that are kept unless File says otherwise.
const (
	MaxBytes = 16 << 20
	Keep     = 8
)

// File says where to record and how much to keep, of changes and as much again
// of refused log-ins.
type File struct {
	Path     string
	MaxBytes int64 // of one file; zero for MaxBytes
	Keep     int   // files that were turned over; zero for Keep
}

// ToFile records into a file. What cannot be written goes to log.
func ToFile(f File, log *zap.Logger) (*Log, error) {
	if f.MaxBytes == 0 {
		f.MaxBytes = MaxBytes
	}
	if f.Keep == 0 {
		f.Keep = Keep
	}
	refused := f
	refused.Path = RefusedPath(f.Path)
	l := &Log{files: []*file{{File: f, log: log}, {File: refused, log: log}}}
	for _, out := range l.files {
		if err := out.open(); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot open audit log: %w", err), l.Close())
		}
	}
	l.log, l.refused = lines(l.files[0]), lines(l.files[1])
	return l, nil
}

// RefusedPath is where refused log-ins are, of an audit log at path.
func RefusedPath(path string) string {
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-refused" + ext
}

func lines(to *file) *zap.Logger {
	enc := zapcore.NewJSONEncoder(zapcore.EncoderConfig{TimeKey: "time", MessageKey: "event",
		EncodeTime: zapcore.TimeEncoderOfLayout("2006-01-02T15:04:05.000Z07:00"), LineEnding: zapcore.DefaultLineEnding})
	return zap.New(zapcore.NewCore(enc, to, zapcore.InfoLevel), zap.WithClock(utc{}))
}

// Record writes one line.
func (l *Log) Record(e Event) {
	to := l.log
	if e.Event == LoginRefused {
		to = l.refused
	}
	to.Info(e.Event, e.fields()...)
}

// Close flushes and closes the files.
func (l *Log) Close() error {
	var all error
	for _, f := range l.files {
		all = errors.Join(all, f.close())
	}
	return all
}

// file is a zapcore.WriteSyncer that turns over.
type file struct {
	File
	log *zap.Logger

	mu   sync.Mutex
	f    *os.File
	size int64
}

func (w *file) open() error {
	f, err := os.OpenFile(w.Path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		err = f.Chmod(0o600)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.f, w.size = f, info.Size()
	return nil
}

// Write is one line.
func (w *file) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.write(line)
	if err != nil {
		w.log.Error("audit line not written", zap.String("path", w.Path), zap.Error(err), zap.ByteString("line", line))
	}
	return len(line), nil
}

func (w *file) write(line []byte) error {
	if w.f != nil && w.size > 0 && w.size+int64(len(line)) > w.MaxBytes {
		if err := w.turnOver(); err != nil {
			return err
		}
	}
	if w.f == nil {
		if err := w.open(); err != nil {
			return err
		}
	}
	n, err := w.f.Write(line)
	w.size += int64(n)
	return err
}

// turnOver renames path to path.1, path.1 to path.2 and so on; the next write
// opens a new file.
func (w *file) turnOver() error {
	err := errors.Join(w.f.Sync(), w.f.Close())
	w.f = nil
	for i := w.Keep; i > 0; i-- {
		from := w.Path
		if i > 1 {
			from = fmt.Sprintf("%s.%d", w.Path, i-1)
		}
		if e := os.Rename(from, fmt.Sprintf("%s.%d", w.Path, i)); e != nil && !os.IsNotExist(e) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// Sync flushes.
func (w *file) Sync() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f == nil {
		return nil
	}
	return w.f.Sync()
}

func (w *file) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f == nil {
		return nil
	}
	err := errors.Join(w.f.Sync(), w.f.Close())
	w.f = nil
	if err != nil {
		return fmt.Errorf("cannot close audit log %s: %w", w.Path, err)
	}
	return nil
}
