package docker

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fabric.center/cfc/agent/engine"
	"fabric.center/cfc/agent/policy"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/enginetest"
	"github.com/gammazero/nexus/v3/wamp"
)

// once waits for an event and sees that it is the only one of its kind.
func (h *host) once(event string) catalog.Dict {
	h.t.Helper()
	return h.times(event, 1)
}

// times waits for an event that is told so often.
func (h *host) times(event string, want int) catalog.Dict {
	h.t.Helper()
	h.eventually(event, func() error {
		if n, _ := h.count(event); n < want {
			return fmt.Errorf("%s was told %d times, expected %d", event, n, want)
		}
		return nil
	})
	n, about := h.count(event)
	if n != want {
		h.t.Errorf("%s was told %d times, expected %d", event, n, want)
	}
	return about
}

func TestWhatHappensIsTold(t *testing.T) {
	h := newHost(t, policy.Docker{}, enginetest.Options{})
	h.watch()
	s := do(h, catalog.DockerStartContainer, "web", box(nil))
	do(h, catalog.DockerPauseContainer, "web")
	do(h, catalog.DockerUnpauseContainer, "web")
	do(h, catalog.DockerStopContainer, "web")
	do(h, catalog.DockerDestroyContainer, "web")
	told := h.real.Told(s.ID) // a pause that is over at once, twice at times
	for _, action := range []string{"create", "start", "pause", "unpause", "kill", "die", "stop", "destroy"} {
		about := h.times("on_container_"+action+" "+s.ID, max(1, told[action]))
		if about["name"] != "web" || about["image"] != "box:1" || about["happened"] == nil || (action == "die") != (about["exit_code"] == 0) {
			t.Errorf("%s: %v", action, about)
		}
	}
}

// TestEventsGoOnAfterTheEngineWasAway: what it did not tell is found, and nothing
// is told twice.
func TestEventsGoOnAfterTheEngineWasAway(t *testing.T) {
	h := newHost(t, policy.Docker{}, enginetest.Options{})
	h.watch()
	web := do(h, catalog.DockerStartContainer, "web", box(nil))
	h.once("on_container_start " + web.ID)
	h.real.Kill()
	h.real.Restart()
	h.once("on_container_die " + web.ID)
	next := do(h, catalog.DockerStartContainer, "next", box(nil))
	h.once("on_container_start " + next.ID)
	h.real.Stop()
	h.real.Restart()
	h.once("on_container_die " + next.ID)
	do(h, catalog.DockerStartContainer, "web")
	h.eventually("its second start", func() error {
		if n, _ := h.count("on_container_start " + web.ID); n != 2 {
			return fmt.Errorf("%d starts", n)
		}
		return nil
	})
	do(h, catalog.DockerDestroyContainer, "web", true)
	h.once("on_container_destroy " + web.ID)
	for event, want := range map[string]int{"on_container_create " + web.ID: 1, "on_container_create " + next.ID: 1, "on_container_die " + web.ID: 2, "on_container_start " + next.ID: 1} {
		if n, _ := h.count(event); n != want {
			t.Errorf("%s was told %d times, expected %d", event, n, want)
		}
	}
}

// TestImagesThatChangeUnseen: the engine forgets its events when it restarts, and
// nobody was there to hear them. What is told once is not told again.
func TestImagesThatChangeUnseen(t *testing.T) {
	real := enginetest.Start(t, enginetest.Options{})
	for _, name := range []string{"box:1", "old:1", "told:1"} {
		real.Build(name, nil, "LABEL name="+name)
	}
	ids := map[string]string{}
	id := func(name string) string {
		var i struct{ ID string }
		real.Do(http.MethodGet, "/images/"+name+"/json", nil, &i)
		ids[name] = i.ID
		return i.ID
	}
	b := newBridge(t, real.Socket)
	h := hostOf(t, real, func(c *engine.Config) { c.Socket = b.socket })
	h.watch()
	real.Tag("told:1", "told:2")
	h.once("on_image_tag " + id("told:1"))
	id("old:1")
	b.cut()
	real.Do(http.MethodDelete, "/images/old:1", nil, nil)
	real.Tag("box:1", "new:1")
	real.Stop()
	real.Restart()
	b.join()
	h.once("on_image_delete " + ids["old:1"])
	if about := h.once("on_image_untag " + ids["old:1"]); about["name"] != "old:1" || about["missed"] != true {
		t.Errorf("untagged: %v", about)
	}
	tagged := "on_image_tag " + id("box:1")
	before, about := h.count(tagged) // of which the probes of watch are some
	if about["name"] != "new:1" || about["missed"] != true {
		t.Errorf("tagged: %v", about)
	}
	h.once("on_image_tag " + ids["told:1"])
	real.Tag("box:1", "new:2") // and what happens now is told
	h.eventually("the next tag", func() error {
		if n, _ := h.count(tagged); n != before+1 {
			return fmt.Errorf("%d of %d", n, before+1)
		}
		return nil
	})
}

// TestASlowEngine does not answer, and does again.
func TestASlowEngine(t *testing.T) {
	h := newHost(t, policy.Docker{Exec: true}, enginetest.Options{})
	thaw := h.real.Freeze()
	refuse(h, cfcerr.Unavailable, "docker answer", catalog.DockerGetStatus)
	ctx := within(t, time.Second)
	if _, err := try(h, ctx, catalog.DockerGetStatus); cfcerr.KindOf(err) != cfcerr.Timeout {
		t.Errorf("the caller's own deadline: %v", err)
	}
	var waiting sync.WaitGroup // what may take its time is not left to wait either
	for _, row := range []struct {
		op   *catalog.Op
		args wamp.List
	}{
		{catalog.DockerStartContainer.Op, wamp.List{"web", box(nil)}}, {catalog.DockerUpdateImage.Op, wamp.List{"box:1"}}, {catalog.DockerStopContainer.Op, wamp.List{"other"}},
		{catalog.DockerPruneImages.Op, nil}, {catalog.DockerOpenLogs.Op, wamp.List{"web"}}, {catalog.DockerExec.Op, wamp.List{"third", wamp.List{"/box"}}},
	} {
		waiting.Go(func() {
			if _, err := h.rows.Call(within(t, time.Minute), h.caller(), row.op.Key(), row.args, nil); cfcerr.KindOf(err) != cfcerr.Unavailable {
				t.Errorf("%s: %v", row.op.Name, err)
			}
		})
	}
	waiting.Wait()
	thaw()
	do(h, catalog.DockerGetStatus)
}

// TestADiskThatIsFull says so, and the engine goes on.
func TestADiskThatIsFull(t *testing.T) {
	data, err := os.MkdirTemp("", "cfc-small")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=48m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
		_ = os.Remove(data)
	})
	r := enginetest.StartRegistry(t)
	name := r.Addr + "/big:1"
	maker := newHost(t, policy.Docker{}, enginetest.Options{})
	publishImage(maker, name, noise("a", 64<<20))
	h := newHost(t, policy.Docker{}, enginetest.Options{Data: data})
	_, err = try(h, within(t, time.Minute), catalog.DockerUpdateImage, name)
	if cfcerr.KindOf(err) != cfcerr.Unavailable || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("a pull: %v", err)
	}
	if _, about := h.count("on_docker_image_update_finished " + name); about["error"] == nil {
		t.Errorf("finished: %v", about)
	}
	do(h, catalog.DockerStartContainer, nil, box(wamp.Dict{"command": "wait"}))
	var all []struct{ ID string }
	h.real.Do(http.MethodGet, "/images/json", nil, &all)
	if len(all) != 1 {
		t.Errorf("images: %v", all)
	}
}
