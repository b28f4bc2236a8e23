package nodeapi

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/driver"
	"fabric.center/cfc/shared/wire"
)

// recorded is a client of the relay whose calls and events go on record.
type recorded struct{ driver.Client }

func (r recorded) Call(ctx context.Context, uri string, args []any, kwargs map[string]any) (any, error) {
	v, err := r.Client.Call(ctx, uri, args, kwargs)
	var e *driver.Error
	if err == nil {
		stage.recorder.Call(uri, "")
	} else if errors.As(err, &e) {
		stage.recorder.Call(uri, e.URI)
	}
	return v, err
}

func (r recorded) Close() error {
	for _, e := range r.Events().All() {
		stage.recorder.Event(e.Topic)
	}
	return r.Client.Close()
}

// client joins a realm of the relay, as its owner, with one of driver.Names.
func client(t *testing.T, name, realm string) driver.Client {
	t.Helper()
	return app(t, name, driver.Login{URL: stage.Relay.URL() + wire.UserPath, Realm: realm, KeyFile: stage.KeyFile})
}

// app joins any realm over any transport.
func app(t *testing.T, name string, l driver.Login) driver.Client {
	t.Helper()
	c, err := stage.libraries.Join(within(t, 30*time.Second), name, l)
	if err != nil {
		t.Fatalf("%s joins %s at %s: %v", name, l.Realm, l.URL, err)
	}
	r := recorded{c}
	t.Cleanup(func() { r.Close() })
	return r
}

// refused expects that a log-in is refused, with one of these reasons if there
// are any.
func refused(t *testing.T, name string, l driver.Login, reasons ...string) {
	t.Helper()
	c, err := stage.libraries.Join(within(t, 30*time.Second), name, l)
	if err == nil {
		c.Close()
		t.Errorf("%s joins %s at %s as %q and is let in", name, l.Realm, l.URL, l.AuthID)
		return
	}
	var left *driver.Left
	if len(reasons) > 0 && errors.As(err, &left) && !slices.Contains(reasons, left.Reason) {
		t.Errorf("%s joins %s at %s as %q: %v; expected one of %v", name, l.Realm, l.URL, l.AuthID, err, reasons)
	}
}

// operator is who works on the node in a test, as an owner of its realm, and
// hears all events.
type operator struct {
	*testing.T
	c driver.Client
}

func operate(t *testing.T, name string) operator {
	t.Helper()
	o := operator{t, client(t, name, realm)}
	for _, e := range catalog.Events() {
		if err := o.c.Subscribe(within(t, 10*time.Second), e.URI(), ""); err != nil {
			t.Fatalf("%s subscribes to %s: %v", name, e.URI(), err)
		}
	}
	return o
}

// at puts the node before the row's own arguments.
func at(args []any) []any { return append([]any{node}, args...) }

// try calls; the node comes before the arguments.
func (o operator) try(key string, args ...any) (any, error) {
	o.Helper()
	return o.tryFor(90*time.Second, key, args...)
}

// tryFor is try with a deadline, which goes with the call.
func (o operator) tryFor(d time.Duration, key string, args ...any) (any, error) {
	o.Helper()
	return o.c.Call(within(o.T, d), wire.RemotePrefix+key, at(args), nil)
}

// call expects a result.
func (o operator) call(key string, args ...any) any {
	o.Helper()
	v, err := o.try(key, args...)
	if err != nil {
		o.Fatalf("%s%v: %v", key, args, err)
	}
	return v
}

// dict expects a dict that has these keys.
func (o operator) dict(keys string, key string, args ...any) map[string]any {
	o.Helper()
	d, ok := o.call(key, args...).(map[string]any)
	if !ok {
		o.Fatalf("%s%v: no dict", key, args)
	}
	for _, k := range strings.Fields(keys) {
		if _, ok := d[k]; !ok {
			o.Errorf("%s%v has no %s: %v", key, args, k, d)
		}
	}
	return d
}

// list expects exactly these strings.
func (o operator) list(want []string, key string, args ...any) {
	o.Helper()
	got, ok := o.call(key, args...).([]any)
	same := ok && len(got) == len(want)
	for i := range min(len(got), len(want)) {
		same = same && got[i] == want[i]
	}
	if !same {
		o.Errorf("%s%v: %v; expected %v", key, args, got, want)
	}
}

// fails expects an error of a kind, with a sentence.
func (o operator) fails(k cfcerr.Kind, key string, args ...any) {
	o.Helper()
	_, err := o.try(key, args...)
	var e *driver.Error
	if !errors.As(err, &e) || e.URI != k.URI() {
		o.Errorf("%s%v: %v; expected %s", key, args, err, k.URI())
		return
	}
	if text, _ := e.Args[0].(string); text == "" {
		o.Errorf("%s%v: %s without a sentence: %v", key, args, e.URI, e.Args)
	}
}

// object is one kind of object of a worker, whose operations are
// get_<object>s, get_<object>, start_<object> and stop_<object>.
type object struct {
	operator
	area, name string
	parents    []any // worker, and what the object is in
}

func (o operator) object(area, name string, parents ...any) object {
	return object{o, area, name, parents}
}

func (b object) key(verb, plural string) string { return b.area + "." + verb + "_" + b.name + plural }

// start starts one, looks at it and tries to start it again.
func (b object) start(id string, config map[string]any) {
	b.Helper()
	args := append(slices.Clone(b.parents), id)
	b.dict("id", b.key("start", ""), append(args, config)...)
	b.fails(cfcerr.AlreadyRunning, b.key("start", ""), append(args, config)...)
	if d := b.dict("id config", b.key("get", ""), args...); d["id"] != id {
		b.Errorf("%s%v: %v", b.key("get", ""), args, d)
	}
	if !b.there(id) {
		b.Errorf("%s does not list %s", b.key("get", "s"), id)
	}
}

// stop stops one and expects it to be gone, and not to be stopped twice.
func (b object) stop(id string, more ...any) {
	b.Helper()
	args := append(slices.Clone(b.parents), id)
	b.dict("id", b.key("stop", ""), append(args, more...)...)
	if b.there(id) {
		b.Errorf("%s still lists %s", b.key("get", "s"), id)
	}
	b.fails(cfcerr.NoSuchObject, b.key("get", ""), args...)
	b.fails(cfcerr.NoSuchObject, b.key("stop", ""), append(args, more...)...)
	b.life(b.area+".on_"+b.name, append(slices.Clone(b.parents), id)...)
}

func (b object) there(id string) bool {
	b.Helper()
	ids, _ := b.call(b.key("get", "s"), b.parents...).([]any)
	return slices.Contains(ids, any(id))
}

// worker starts a worker for the length of the test.
func (o operator) worker(id, kind string, options map[string]any) {
	o.Helper()
	config := map[string]any{"type": kind}
	for k, v := range options {
		config[k] = v
	}
	o.call("node.start_worker", id, config)
	o.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(o.Context()), time.Minute)
		defer cancel()
		_, err := o.c.Call(ctx, catalog.NodeStopWorker.URI(), at([]any{id}), nil)
		var e *driver.Error
		if err != nil && (!errors.As(err, &e) || e.URI != cfcerr.NoSuchWorker.URI()) {
			o.Errorf("cleaning up worker %s: %v", id, err)
		}
	})
}

// heard waits for the event with these ids after the node, and gives it.
func (o operator) heard(key string, ids ...any) driver.Event {
	o.Helper()
	got, err := o.c.Events().Wait(within(o.T, 10*time.Second), func(ev driver.Event) bool {
		fits := ev.Topic == wire.RemotePrefix+key && len(ev.Args) >= len(ids)+2 && ev.Args[0] == node
		for i, id := range ids {
			fits = fits && ev.Args[i+1] == id
		}
		return fits
	})
	if err != nil {
		o.Errorf("%s%v: %v", key, ids, err)
	}
	return got
}

// life hears all events of an object's life.
func (o operator) life(prefix string, ids ...any) {
	o.Helper()
	for _, when := range []string{"_starting", "_started", "_stopping", "_stopped"} {
		o.heard(prefix+when, ids...)
	}
}
