package engine

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// lookAt is how soon after an event of an image the images are looked at.
const lookAt = 500 * time.Millisecond

// gallery is the images as the events so far leave them. An event does not say
// all that it changes (which image was pulled, which name was taken away): until
// the images are looked at again, what it may have been is not missed.
type gallery struct {
	names  map[string]string // to the image's id
	ids    map[string]bool
	pulled map[string]bool // names whose image is not known
	lost   map[string]bool // images that have lost a name
	unsure bool
}

// hang looks at the images.
func (w *watcher) hang(ctx context.Context, api *client.Client) (gallery, error) {
	ctx, cancel := patiently(ctx)
	defer cancel()
	list, err := api.ImageList(ctx, image.ListOptions{All: true}) // also those that others are made of, which are not gone
	if err != nil {
		return gallery{}, w.engine.Failed(ctx, "list images", err)
	}
	g := gallery{names: map[string]string{}, ids: map[string]bool{}, pulled: map[string]bool{}, lost: map[string]bool{}}
	for _, i := range list {
		g.ids[i.ID] = true
		for _, name := range i.RepoTags {
			g.names[name] = i.ID
		}
	}
	delete(g.names, "<none>:<none>")
	return g, nil
}

// take keeps what an event says of its image.
func (g *gallery) take(v Event) {
	g.unsure = true
	switch v.Action {
	case "tag":
		g.names[v.Attributes["name"]] = v.ID
		g.ids[v.ID] = true
	case "pull", "load", "import":
		g.pulled[v.ID], g.pulled[v.Attributes["name"]] = true, true
	case "untag":
		g.lost[v.ID] = true
	case "delete":
		maps.DeleteFunc(g.names, func(_, id string) bool { return id == v.ID })
		delete(g.ids, v.ID)
	}
}

// happened is one thing that has happened to an image.
type happened struct{ action, id, name string }

// changes are what has become of the images that nobody told.
func (g *gallery) changes(now gallery) (all []happened) {
	for _, name := range slices.Sorted(maps.Keys(g.names)) {
		if id := g.names[name]; now.names[name] != id && !g.lost[id] && !g.pulled[name] {
			all = append(all, happened{"untag", id, name})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(g.ids)) {
		if !now.ids[id] {
			all = append(all, happened{"delete", id, id})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now.names)) {
		if id := now.names[name]; g.names[name] != id && !g.pulled[name] {
			all = append(all, happened{"tag", id, name})
		}
	}
	return all
}
