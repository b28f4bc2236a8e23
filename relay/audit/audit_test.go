package audit_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/relay/audit"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func lines(t *testing.T, path string) []map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []map[string]string
	for s := bufio.NewScanner(f); s.Scan(); {
		var m map[string]string
		if err := json.Unmarshal(s.Bytes(), &m); err != nil {
			t.Fatalf("%s: %v", s.Text(), err)
		}
		out = append(out, m)
	}
	return out
}

func TestLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.ToFile(audit.File{Path: path}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	l.Record(audit.Event{Event: audit.MemberSet, By: "root", Address: "10.0.0.1", Realm: "r1", User: "bob", Role: "viewer"})
	l.Record(audit.Event{Event: audit.TokenClaimed, Key: "ab", Token: "id", Kind: "cfc.error.token_invalid", Reason: "used", Node: "n1", OID: "o"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got := lines(t, path)
	if len(got) != 2 {
		t.Fatalf("%d lines", len(got))
	}
	at, err := time.Parse("2006-01-02T15:04:05.000Z", got[0]["time"])
	if err != nil || time.Since(at) > time.Minute {
		t.Errorf("time %q: %v", got[0]["time"], err)
	}
	delete(got[0], "time")
	delete(got[1], "time")
	want := []map[string]string{
		{"event": "member.set", "by": "root", "address": "10.0.0.1", "realm": "r1", "user": "bob", "role": "viewer"},
		{"event": "token.claimed", "pubkey": "ab", "token_id": "id", "kind": "cfc.error.token_invalid", "reason": "used", "node_id": "n1", "oid": "o"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestTurnsOverAndKeepsLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	const n = 200
	for run := range 2 { // the second run appends to what the first has left
		l, err := audit.ToFile(audit.File{Path: path, MaxBytes: 4000, Keep: 20}, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for i := range n / 2 {
			all.Go(func() { l.Record(audit.Event{Event: "x", User: fmt.Sprintf("u%d-%d", run, i)}) })
		}
		all.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	files, _ := filepath.Glob(path + "*")
	seen := map[string]bool{}
	for _, f := range files {
		if info, _ := os.Stat(f); info.Size() > 4000 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes, mode %v", f, info.Size(), info.Mode())
		}
		for _, m := range lines(t, f) {
			seen[m["user"]] = true
		}
	}
	if len(seen) != n || len(files) < 3 {
		t.Fatalf("%d of %d lines in %d files", len(seen), n, len(files))
	}
}

func TestOldFilesGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.ToFile(audit.File{Path: path, MaxBytes: 200, Keep: 2}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		l.Record(audit.Event{Event: "x", User: strings.Repeat("u", 100)})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(path + "*"); len(files) != 3 {
		t.Fatalf("kept %v", files)
	}
}

func TestUnwritableLineGoesToLog(t *testing.T) {
	core, logged := observer.New(zap.InfoLevel)
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := audit.ToFile(audit.File{Path: filepath.Join(dir, "a"), MaxBytes: 1}, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	l.Record(audit.Event{Event: "x"})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	l.Record(audit.Event{Event: "y", User: "bob"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if all := logged.FilterMessage("audit line not written").All(); len(all) != 1 || !strings.Contains(fmt.Sprint(all[0].ContextMap()), "bob") {
		t.Fatalf("logged %v", logged.All())
	}
	if _, err := audit.ToFile(audit.File{Path: filepath.Join(dir, "a")}, zap.NewNop()); err == nil {
		t.Fatal("a file in a directory that is not there was opened")
	}
}

func TestToLogger(t *testing.T) {
	core, logged := observer.New(zap.InfoLevel)
	l := audit.ToLogger(zap.New(core))
	l.Record(audit.Event{Event: audit.TokenMade, By: "root"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if all := logged.All(); len(all) != 1 || all[0].Message != "token.made" || all[0].LoggerName != "audit" || all[0].ContextMap()["by"] != "root" {
		t.Fatalf("logged %v", all)
	}
}

// However many log-ins are refused, who changed what is kept.
func TestRefusalsTurnNothingElseOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l, err := audit.ToFile(audit.File{Path: path, MaxBytes: 500, Keep: 2}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	l.Record(audit.Event{Event: audit.UserDeleted, By: "root", User: "bob"})
	for range 100 {
		l.Record(audit.Event{Event: audit.LoginRefused, Realm: strings.Repeat("r", 64)})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := lines(t, path); len(got) != 1 || got[0]["user"] != "bob" {
		t.Errorf("the audit log has %v", got)
	}
	refused := audit.RefusedPath(path)
	if got := lines(t, refused); filepath.Base(refused) != "audit-refused.log" || len(got) == 0 || got[0]["event"] != audit.LoginRefused {
		t.Errorf("%s has %v", refused, got)
	}
	if files, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(files) != 4 {
		t.Errorf("kept %v", files)
	}
}
