package cli

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"fabric.center/cfc/shared/catalog"
	"github.com/gammazero/nexus/v3/wamp"
)

func TestTheBar(t *testing.T) {
	var out bytes.Buffer
	b := bar{w: &out}
	for _, c := range []struct {
		told wamp.Dict
		want string
	}{
		{wamp.Dict{"share": 0.5, "bytes": 3 << 20, "total": uint64(6 << 20)}, "\r[===============               ]  50 %  3.0 MiB of 6.0 MiB"},
		{wamp.Dict{"share": 1}, "\r[==============================] 100 %" + strings.Repeat(" ", 20)},
		{wamp.Dict{"share": 7.0, "total": 0}, "\r[==============================] 100 %"},
		{wamp.Dict{"share": -1.0, "bytes": 5, "total": 1000}, "\r[" + strings.Repeat(" ", 30) + "]   0 %  5 B of 1000 B"},
		{wamp.Dict{"bytes": 5}, ""},
	} {
		out.Reset()
		b.take(&wamp.Result{Arguments: wamp.List{c.told}})
		if out.String() != c.want {
			t.Errorf("%v: %q", c.told, out.String())
		}
	}
	for _, odd := range []wamp.List{nil, {nil}, {7}, {"x"}, {wamp.Dict{"share": math.NaN()}}} {
		out.Reset()
		b.take(&wamp.Result{Arguments: odd})
		if out.Len() > 0 {
			t.Errorf("%v: %q", odd, out.String())
		}
	}
	b.clear()
	if got := out.String(); strings.Trim(got, "\r ") != "" || !strings.HasSuffix(got, "\r") {
		t.Errorf("cleared by %q", got)
	}
	out.Reset()
	b.clear()
	if out.Len() > 0 {
		t.Errorf("nothing was there: %q", out.String())
	}
}

// TestProgressIsForTerminals: a pipe gets the result alone, and the relay is not
// asked for what nobody sees.
func TestProgressIsForTerminals(t *testing.T) {
	r := newRig(t)
	r.answers[catalog.DockerUpdateImage.URI()] = wamp.Dict{"image": "x:1", "changed": true}
	if out := r.good("docker", "update-docker-image", "n1", "x:1"); !strings.Contains(out, "changed") {
		t.Errorf("printed %s", out)
	}
	if r.lastCall().options.Progress != nil {
		t.Error("progress was asked for")
	}
}
