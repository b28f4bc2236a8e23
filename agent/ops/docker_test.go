package ops

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/agent/engine"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
)

func TestAResultOfAGoTypeIsMasked(t *testing.T) {
	c := catalog.DockerContainer{Name: "web", Env: map[string]string{"TOKEN": "t0ken", "PATH": "/bin"}, Command: []string{"x"}}
	b, err := json.Marshal(mask(c, catalog.DockerGetContainer.Secrets))
	if text := string(b); err != nil || strings.Contains(text, "t0ken") || !strings.Contains(text, `"env":{"PATH":"***","TOKEN":"***"}`) || !strings.Contains(text, `"name":"web"`) {
		t.Errorf("masked %s, %v", b, err)
	}
	whole, _ := json.Marshal(c)
	var before, after map[string]any
	if json.Unmarshal(whole, &before) != nil || json.Unmarshal(b, &after) != nil || len(before) != len(after) {
		t.Errorf("%d keys of %d are left", len(after), len(before))
	}
}

func TestLanesOfTheHost(t *testing.T) {
	stop, start, update := catalog.DockerStopContainer.Op, catalog.DockerStartContainer.Op, catalog.DockerUpdateImage.Op
	if lane(stop, wamp.List{"web"}, nil) != lane(start, nil, wamp.Dict{"container_id": "web"}) {
		t.Error("changes of one container go side by side")
	}
	for _, other := range []string{lane(stop, wamp.List{"db"}, nil), lane(update, wamp.List{"web"}, nil), lane(start, wamp.List{nil}, nil)} {
		if other == lane(stop, wamp.List{"web"}, nil) {
			t.Errorf("%s waits for a container", other)
		}
	}
	if first, second := lane(start, wamp.List{nil}, nil), lane(start, wamp.List{nil}, nil); first == second {
		t.Error("containers without a name wait for each other")
	}
}

// dock is a Docker of which the tests use what pulls and removes.
type dock struct {
	Docker
	progress int
	err      error
}

func (d *dock) Update(_ context.Context, name string, progress func(catalog.DockerPull)) (catalog.DockerUpdated, error) {
	for range d.progress {
		progress(catalog.DockerPull{Image: name})
	}
	return catalog.DockerUpdated{Image: name, Changed: true}, d.err
}

func (d *dock) Remove(_ context.Context, name string, _ bool) (catalog.DockerRemoved, error) {
	return catalog.DockerRemoved{Image: name, Untagged: []string{name}, Deleted: []string{"sha256:1"}}, d.err
}

func TestWorkWithImagesIsTold(t *testing.T) {
	var told []string
	d := &dock{progress: 100}
	o, err := NewHost(Config{Docker: d, Publish: func(e *catalog.Event, args ...any) {
		about, _ := wamp.AsDict(args[2])
		told = append(told, strings.TrimPrefix(e.Name, "on_docker_image_")+" "+fmt.Sprint(about["error"] != nil))
	}})
	if err != nil {
		t.Fatal(err)
	}
	owner := catalog.Caller{AuthID: "anna", Role: wire.Owner}
	for _, c := range []struct {
		key  string
		err  error
		want string
	}{
		{catalog.DockerUpdateImage.Key(), nil, "update_started false, update_finished false"}, // a second has not passed
		{catalog.DockerRemoveImage.Key(), nil, "remove_started false, remove_progress false, remove_progress false, remove_finished false"},
		{catalog.DockerUpdateImage.Key(), cfcerr.New(cfcerr.NoSuchObject, "cannot find it"), "update_started false, update_finished true"},
	} {
		told, d.err = nil, c.err
		if _, err := o.Call(t.Context(), owner, c.key, wamp.List{"x:1"}, nil); cfcerr.KindOf(err) != cfcerr.KindOf(c.err) {
			t.Errorf("%s: %v", c.key, err)
		}
		if got := strings.Join(told, ", "); got != c.want {
			t.Errorf("%s tells %s, expected %s", c.key, got, c.want)
		}
	}
}

func TestTheEnginesEventsAreTold(t *testing.T) {
	var about wamp.Dict
	var name string
	o := newOps(Config{NodeID: func() string { return "n1" }, Publish: func(e *catalog.Event, args ...any) {
		name = e.Name + fmt.Sprint(args[:2])
		about, _ = wamp.AsDict(args[2])
	}})
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	o.engineEvent(engine.Event{Object: "container", Action: "die", ID: "c1", Time: at, Missed: true, Attributes: map[string]string{"name": "web", "image": "x", "exitCode": "0", "label": "secret"}})
	if name != "on_container_die[n1 c1]" || about["name"] != "web" || about["exit_code"] != 0 || about["missed"] != true || about["happened"] != wire.Time(at) || about["label"] != nil {
		t.Errorf("%s %v", name, about)
	}
	name = ""
	o.engineEvent(engine.Event{Object: "container", Action: "exec_create: /bin/sh", ID: "c1"})
	o.engineEvent(engine.Event{Object: "image", Action: "save", ID: "i1"})
	if name != "" {
		t.Errorf("%s was told", name)
	}
}
