package docker

import (
	"bytes"
	"context"
	"io"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/e2e/fleet"
	"fabric.center/cfc/shared/identity"
	"fabric.center/cfc/shared/session"
	"github.com/gammazero/nexus/v3/wamp"
)

// TestBytesAndText is what goes in and comes out of a command, the same with
// every serializer: text as text, all else as bytes.
func TestBytesAndText(t *testing.T) {
	s := newStage(t)
	s.box("web", "wait")
	key, err := identity.Load(s.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, serializer := range []string{"cbor", "msgpack", "json"} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		owner, err := session.Join(ctx, session.Config{URL: s.Relay.URL(), Realm: fleet.Realm, Key: key, Serializer: serializer})
		if err != nil {
			t.Fatal(err)
		}
		defer owner.Close()
		call := func(row *catalog.Op, args ...any) wamp.Dict {
			t.Helper()
			r, err := owner.Call(ctx, row.URI(), append(wamp.List{fleet.NodeID}, args...), nil, session.CallOptions{})
			if err != nil {
				t.Fatalf("%s: %v", serializer, err)
			}
			d, _ := wamp.AsDict(r.Arguments[0])
			return d
		}
		id := call(catalog.DockerExec.Op, "web", []string{"/box", "cat"}, false, true)["stream"]
		next := any(0)
		for _, data := range []any{"grün\x1b[0m\n", []byte{0, 1, 0xff}, []byte("\x00text"), "a\x00b"} {
			call(catalog.DockerWriteExec.Op, id, data)
			b := call(catalog.DockerReadExec.Op, id, next, 1000, 10_000)
			next = b["next"]
			records, _ := wamp.AsList(b["records"])
			var got any
			if len(records) == 1 {
				record, _ := wamp.AsDict(records[0])
				got = record["data"]
			}
			if want, binary := data.([]byte); binary {
				if b, ok := got.([]byte); !ok || !bytes.Equal(b, want) {
					t.Errorf("%s: %q became %#v", serializer, want, got)
				}
			} else if got != data {
				t.Errorf("%s: %q became %#v", serializer, data, got)
			}
		}
		call(catalog.DockerCloseExec.Op, id)
	}
}

// TestExecIntoAClosedPipe ends the command as well, which would else run on until
// its stream expires.
func TestExecIntoAClosedPipe(t *testing.T) {
	s := newStage(t)
	s.box("web", "wait")
	cmd := s.cfc("docker", "exec", "n1", "web", "/box", "flood", "5")
	out, errs := begin(t, cmd)
	if _, err := io.ReadFull(out, make([]byte, 100)); err != nil {
		t.Fatalf("%v: %s", err, errs)
	}
	if err := out.(io.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 128+int(syscall.SIGPIPE) || errs.Len() > 0 {
		t.Errorf("%v: %s", err, errs)
	}
	if n := s.commands("web"); n != 0 {
		t.Errorf("%d commands are left in the container", n)
	}
}
