package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fabric.center/cfc/shared/catalog"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/pkg/jsonmessage"
)

func stream(lines ...string) string { return strings.Join(lines, "\n") }

// TestLayersThatAreHere are named first, and are no progress.
func TestLayersThatAreHere(t *testing.T) {
	w := watch{layers: map[string]*catalog.DockerPullLayer{}}
	for _, c := range []struct {
		id, status string
		want       float64
	}{{"a", "Already exists", 0}, {"b", "Already exists", 0}, {"c", "Pulling fs layer", 0}, {"c", "Download complete", 0.8}, {"c", "Pull complete", 1}} {
		w.see(jsonmessage.JSONMessage{ID: c.id, Status: c.status})
		if w.share != c.want {
			t.Errorf("%s of %s: %v, expected %v", c.status, c.id, w.share, c.want)
		}
	}
}

func TestLayersWithoutEnd(t *testing.T) {
	w := watch{layers: map[string]*catalog.DockerPullLayer{}}
	for i := range 100_000 {
		w.see(jsonmessage.JSONMessage{ID: fmt.Sprint(i), Status: "Waiting"})
	}
	if n := len(w.state("x").Layers); n != mostLayers {
		t.Errorf("%d layers are told", n)
	}
}

func TestAPullIsFollowed(t *testing.T) {
	layer := func(id, status string, current, total int) string {
		return fmt.Sprintf(`{"id":%q,"status":%q,"progressDetail":{"current":%d,"total":%d}}`, id, status, current, total)
	}
	var told []catalog.DockerPull
	err := follow(strings.NewReader(stream(`{"status":"Pulling from x","id":"1"}`, layer("a", "Pulling fs layer", 0, 0), layer("b", "Already exists", 0, 0),
		layer("a", "Downloading", 50, 100), layer("a", "Download complete", 0, 0), layer("a", "Extracting", 100, 100), layer("a", "Pull complete", 0, 0),
		`{"status":"Digest: sha256:1"}`)), "x:1", func(p catalog.DockerPull) { told = append(told, p) })
	if err != nil || len(told) < 2 {
		t.Fatalf("told %v, %v", told, err)
	}
	b, _ := json.Marshal(told[len(told)-1])
	if want := `{"image":"x:1","bytes":100,"total":100,"share":1,"layers":[{"id":"a","status":"pull complete","bytes":100,"total":100},{"id":"b","status":"already exists","bytes":0,"total":0}]}`; string(b) != want {
		t.Errorf("in the end %s", b)
	}
	var fault *jsonmessage.JSONError
	if err := follow(strings.NewReader(`{"errorDetail":{"message":"no such"},"error":"no such"}`), "x", nil); !errors.As(err, &fault) {
		t.Errorf("a fault: %v", err)
	}
	if err := follow(strings.NewReader(`{"status":"Pul`), "x", nil); err == nil {
		t.Error("half an answer is taken for all")
	}
}

// TestTheNewestIsTold even if nothing follows it, and never more often than
// tellEvery.
func TestTheNewestIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []int64
		w := &teller{watch: watch{layers: map[string]*catalog.DockerPullLayer{}}, progress: func(p catalog.DockerPull) { told = append(told, p.Bytes) }}
		for i := range 100 {
			w.take(jsonmessage.JSONMessage{ID: "a", Status: "Downloading", Progress: &jsonmessage.JSONProgress{Current: int64(i), Total: 100}})
		}
		time.Sleep(2 * tellEvery)
		synctest.Wait()
		if len(told) != 2 || told[0] != 0 || told[1] != 99 {
			t.Errorf("told %v", told)
		}
		w.end(false)
		if len(told) != 2 {
			t.Error("a pull that failed tells on")
		}
	})
}

func TestEventsAreToldOnce(t *testing.T) {
	var told []string
	w := &watcher{tell: func(v Event) { told = append(told, v.Action+" "+v.ID) }, known: map[string]state{}, seen: map[string]int64{}, begin: 100, last: 100}
	take := func(action, id string, at int64) {
		w.take(events.Message{Type: "container", Action: events.Action(action), Actor: events.Actor{ID: id}, TimeNano: at})
	}
	take("start", "early", 100)
	take("create", "a", 101)
	take("start", "a", 102)
	take("start", "a", 102) // again, after the connection was lost
	take("start", "b", 102) // in the same moment
	w.found = map[string]bool{"die a": true, "start c": true}
	take("die", "a", 103) // late: it was found missing
	take("start", "a", 104)
	take("die", "a", 105)
	take("die", "c", 106)
	take("start", "c", 107)
	want := "create a, start a, start b, start a, die a, die c, start c"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("told %s\nwant %s", got, want)
	}
	take("stop", "a", 105+overlap+100)
	if len(w.seen) != 1 {
		t.Errorf("%d are remembered", len(w.seen))
	}
	if moment(1500000042) != "1.500000042" || moment(7) != "0.000000007" {
		t.Errorf("moments %s, %s", moment(1500000042), moment(7))
	}
}

// A clock that is set back, as one that was wrong at the start, hides nothing of
// what happens from then on, until it is as late again.
func TestEventsAreToldWhenTheClockIsSetBack(t *testing.T) {
	const hour = int64(time.Hour)
	for name, c := range map[string]struct {
		now  int64 // the engine's clock when the connection was made anew; 0: it was not
		told []int64
		want string
	}{
		"while it listens":            {told: []int64{9*hour + 1, 9*hour + 2, 9*hour + 2}, want: "9h1 9h2"},
		"before the agent's time":     {told: []int64{1, 2}, want: "0h1 0h2"},
		"by less than is asked again": {told: []int64{10*hour - overlap/2, 10*hour - overlap/2}, want: "9h" + fmt.Sprint(hour-overlap/2)},
		// Of before, the engine tells again what is later than now.
		"while it was away": {now: 9 * hour, told: []int64{9*hour + hour/2, 10 * hour, 9*hour + 1, 9*hour + 2}, want: "9h1 9h2"},
		"after it was away": {now: 9 * hour, told: []int64{10 * hour, 10*hour + 1, 9*hour + 1, 9*hour + 2}, want: "10h1 9h1 9h2"},
	} {
		t.Run(name, func(t *testing.T) {
			var told []string
			w := &watcher{known: map[string]state{}, seen: map[string]int64{}, begin: 8 * hour, last: 8 * hour, now: 8 * hour, then: time.Now(),
				tell: func(v Event) {
					told = append(told, fmt.Sprintf("%dh%d", v.Time.UnixNano()/hour, v.Time.UnixNano()%hour))
				}}
			take := func(at int64) {
				w.take(events.Message{Type: "container", Action: "start", Actor: events.Actor{ID: "a"}, TimeNano: at})
			}
			take(10 * hour)
			told = nil
			if c.now != 0 {
				w.now, w.then = c.now, time.Now()
			}
			for _, at := range c.told {
				take(at)
			}
			if got := strings.Join(told, " "); got != c.want {
				t.Errorf("told %s, expected %s", got, c.want)
			}
		})
	}
}
