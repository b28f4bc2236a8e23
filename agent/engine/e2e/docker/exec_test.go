package docker

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/enginetest"
	"github.com/gammazero/nexus/v3/wamp"
)

func (f *flow) write(data any, kwargs wamp.Dict) int64 {
	f.t.Helper()
	v, err := f.call(catalog.DockerWriteExec.Op, wamp.List{f.id, data}, kwargs)
	if err != nil {
		f.t.Fatal(err)
	}
	return v.(catalog.WrittenStream).Written
}

func TestExec(t *testing.T) {
	d := newDesk(t, enginetest.Options{})
	id := d.box(nil, "wait")

	both := d.exec(id, nil, "say", "oh", "ah")
	if out, errs := both.until(nil); out != "ah\n" || errs != "oh\n" {
		t.Errorf("%q, %q", out, errs)
	}
	both.ended("exited", int64(0))
	seven := d.exec(id, nil, "exit", "7")
	seven.until(nil)
	seven.ended("exited", int64(7))
	env := d.exec(id, wamp.Dict{"env": wamp.Dict{"COLOUR": "grün"}, "user": "65534", "workdir": "/"}, "env", "COLOUR")
	if out, _ := env.until(nil); out != "grün\n" {
		t.Errorf("%q", out)
	}
	none := d.open(catalog.DockerExecs, wamp.List{id, wamp.List{"/nothing"}}, nil)
	if none.until(nil); none.end["exit_code"] != int64(126) && none.end["exit_code"] != int64(127) {
		t.Errorf("a program that is not there: %v", none.end)
	}
	d.refused(cfcerr.NotRunning, catalog.DockerWriteExec.Op, wamp.List{none.id, "x"}, nil)

	stopped := d.box(nil, "exit", "0")
	d.logs(stopped, wamp.Dict{"follow": true}).until(nil)
	for _, c := range []struct {
		want cfcerr.Kind
		args wamp.List
	}{
		{cfcerr.NoSuchObject, wamp.List{"nobody", wamp.List{"/box"}}},
		{cfcerr.NotRunning, wamp.List{stopped, wamp.List{"/box"}}},
		{cfcerr.InvalidArgument, wamp.List{id, wamp.List{}}},
		{cfcerr.InvalidArgument, wamp.List{id, wamp.List{"/box"}, true, true, wamp.Dict{"A": 1}}},
		{cfcerr.InvalidArgument, wamp.List{id, wamp.List{"/box"}, true, true, wamp.Dict{"A=B": "c"}}},
		{cfcerr.InvalidArgument, wamp.List{id, wamp.List{"/box", "x\x00"}}},
		{cfcerr.InvalidArgument, wamp.List{id, wamp.List{"/box", strings.Repeat("x", 128<<10)}}},
		{cfcerr.InvalidArgument, wamp.List{id, wamp.List{"/box"}, true, true, nil, nil, nil, 0, 80}},
	} {
		d.refused(c.want, catalog.DockerExec.Op, c.args, nil)
	}
}

// TestExecInput writes what no text is, repeats a write whose answer was lost,
// and ends the input.
func TestExecInput(t *testing.T) {
	d := newDesk(t, enginetest.Options{})
	f := d.exec(d.box(nil, "wait"), wamp.Dict{"input": true}, "cat")
	odd := []byte{0, 0xff, 'x', 0xc3}
	if n := f.write("grün ", wamp.Dict{"at": 0}); n != 6 {
		t.Errorf("%d bytes were written", n)
	}
	if n := f.write("grün und ", wamp.Dict{"at": 0}); n != 10 { // the first 6 have come
		t.Errorf("%d bytes were written", n)
	}
	f.write(odd, nil)
	d.refused(cfcerr.InvalidArgument, catalog.DockerWriteExec.Op, wamp.List{f.id, "x", 99}, nil)
	d.refused(cfcerr.InvalidArgument, catalog.DockerWriteExec.Op, wamp.List{f.id, 7}, nil)
	d.refused(cfcerr.NotRunning, catalog.DockerResizeExec.Op, wamp.List{f.id, 10, 10}, nil)
	f.write("", wamp.Dict{"eof": true})
	if out, _ := f.until(nil); out != "grün und "+string(odd) {
		t.Errorf("%q", out)
	}
	f.ended("exited", int64(0))
	d.refused(cfcerr.NotRunning, catalog.DockerWriteExec.Op, wamp.List{f.id, "x"}, nil)

	big := d.exec(d.box(nil, "wait"), wamp.Dict{"input": true}, "cat")
	block := bytes.Repeat([]byte("0123456789abcdef"), 16<<10)
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < 16 && err == nil; i++ {
			_, err = d.call(catalog.DockerWriteExec.Op, wamp.List{big.id, block}, wamp.Dict{"at": i * len(block), "eof": i == 15})
		}
		sent <- err
	}()
	out, _ := big.until(nil)
	if err := <-sent; err != nil || out != strings.Repeat(string(block), 16) {
		t.Errorf("%d bytes of %d came back, %v", len(out), 16*len(block), err)
	}
}

func TestExecAtATerminal(t *testing.T) {
	d := newDesk(t, enginetest.Options{})
	id := d.box(nil, "wait")
	f := d.exec(id, wamp.Dict{"tty": true, "input": true, "rows": 30, "cols": 100}, "size")
	f.until(has("100 30\r\n"))
	if _, err := d.call(catalog.DockerResizeExec.Op, wamp.List{f.id, 50, 132}, nil); err != nil {
		t.Error(err)
	}
	f.until(has("132 50\r\n"))
	d.refused(cfcerr.InvalidArgument, catalog.DockerResizeExec.Op, wamp.List{f.id, 0, 132}, nil)
	f.write("\x03", nil)
	f.until(nil)
	f.ended("exited", int64(0))
	d.refused(cfcerr.NotRunning, catalog.DockerResizeExec.Op, wamp.List{f.id, 50, 132}, nil)
}

// running are the commands that run in a container, itself left out.
func (d *desk) running(id string) int {
	d.t.Helper()
	var top struct{ Processes [][]string }
	d.real.Do(http.MethodGet, "/containers/"+id+"/top", nil, &top)
	return len(top.Processes) - 1
}

// TestExecIsKilled is what becomes of a command whose stream is closed.
func TestExecIsKilled(t *testing.T) {
	d := newDesk(t, enginetest.Options{})
	id := d.box(nil, "wait")
	for _, word := range []string{"cat", "deaf"} {
		for _, tty := range []bool{false, true} {
			f := d.exec(id, wamp.Dict{"tty": tty, "input": true}, word)
			for end := time.Now().Add(time.Minute); d.running(id) == 0; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the command never ran")
				}
			}
			if end := f.close(); end["reason"] != "closed" || end["killed"] != true || end["not_killed"] != nil {
				t.Errorf("%s, terminal %v: %v", word, tty, end)
			}
			if n := d.running(id); n != 0 {
				t.Errorf("%s, terminal %v: %d commands are left", word, tty, n)
			}
			d.refused(cfcerr.NoSuchObject, f.rows.Read.Op, wamp.List{f.id, 0}, nil)
		}
	}
}

// TestExecIsIdle is a command that says nothing for longer than the engine may
// take for an answer.
func TestExecIsIdle(t *testing.T) {
	d := newDesk(t, enginetest.Options{})
	f := d.exec(d.box(nil, "wait"), wamp.Dict{"input": true}, "cat")
	for range 3 {
		if records := f.read(); len(records) > 0 || f.end != nil {
			t.Fatalf("%v, %v", records, f.end)
		}
	}
	f.write("still there\n", wamp.Dict{"eof": true})
	if out, _ := f.until(nil); out != "still there\n" {
		t.Errorf("%q", out)
	}
}

func TestExecEndsWithItsContainerAndEngine(t *testing.T) {
	d := newDesk(t, enginetest.Options{})
	id := d.box(nil, "wait")
	f := d.exec(id, nil, "wait")
	d.stop(id)
	if f.until(nil); f.end["reason"] != "exited" || f.end["exit_code"] == int64(0) {
		t.Errorf("the container was stopped: %v", f.end)
	}
	f = d.exec(d.box(nil, "wait"), wamp.Dict{"tty": true, "input": true}, "cat")
	f.write("echo", nil)
	f.until(has("echo"))
	d.real.Kill()
	f.until(nil)
	if f.ended("engine-lost", nil); f.end["error"] != cfcerr.Unavailable.URI() {
		t.Errorf("the end says %v", f.end)
	}
	d.refused(cfcerr.Unavailable, catalog.DockerExec.Op, wamp.List{id, wamp.List{"/box"}}, nil)
	d.real.Restart()
}

// TestStreamIsTheCallers is who else may not have it, and how many there are.
func TestStreamIsTheCallers(t *testing.T) {
	d := newDesk(t, enginetest.Options{})
	id := d.box(nil, "wait")
	f := d.exec(id, wamp.Dict{"input": true}, "cat")
	bob, other := *d, *d
	bob.caller.Session, bob.caller.AuthID = 2, "bob"
	other.caller.Session = 3
	for _, row := range []*catalog.Op{catalog.DockerReadExec.Op, catalog.DockerCloseExec.Op, catalog.DockerWriteExec.Op} {
		args := wamp.List{f.id, 0, 1}
		switch row {
		case catalog.DockerCloseExec.Op:
			args = args[:1]
		case catalog.DockerWriteExec.Op:
			args = wamp.List{f.id, "x"}
		}
		bob.refused(cfcerr.NoSuchObject, row, args, nil)
		other.refused(cfcerr.Busy, row, args, nil)
	}
	d.refused(cfcerr.NoSuchObject, catalog.DockerReadLogs.Op, wamp.List{f.id, 0}, nil)
	for range 15 {
		d.exec(id, nil, "wait")
	}
	d.refused(cfcerr.LimitExceeded, catalog.DockerExec.Op, wamp.List{id, wamp.List{"/box"}}, nil)
	bob.exec(id, nil, "exit", "0").until(nil)
}

// What a stream says can be written in JSON as it is.
func TestRecordsAreJSON(t *testing.T) {
	d := newDesk(t, enginetest.Options{})
	v, err := d.call(catalog.DockerReadLogs.Op, wamp.List{d.logs(d.box(nil, "say", "oh", "ah"), nil).id, 0, 1000, 5000}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(v); err != nil || !strings.Contains(string(b), `"records":[`) {
		t.Errorf("%s, %v", b, err)
	}
}
