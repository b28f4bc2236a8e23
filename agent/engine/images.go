package engine

import (
	"context"
	"maps"
	"slices"
	"strings"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// Images are the ids of the images, sorted.
func (e *Engine) Images(ctx context.Context) ([]string, error) {
	list, err := ask(ctx, e, "list images", func(ctx context.Context, api *client.Client) ([]image.Summary, error) {
		return api.ImageList(ctx, image.ListOptions{})
	})
	ids := make([]string, len(list))
	for i, m := range list {
		ids[i] = m.ID
	}
	slices.Sort(ids)
	return ids, err
}

// Image is one of them.
func (e *Engine) Image(ctx context.Context, name string) (catalog.DockerImage, error) {
	return ask(ctx, e, "get image "+name, func(ctx context.Context, api *client.Client) (out catalog.DockerImage, err error) {
		i, err := api.ImageInspect(ctx, name)
		if err != nil {
			return out, err
		}
		slices.Sort(i.RepoTags)
		slices.Sort(i.RepoDigests)
		out = catalog.DockerImage{ID: i.ID, Tags: nonNil(i.RepoTags), Digests: nonNil(i.RepoDigests), Created: instant(i.Created), Size: i.Size,
			Layers: len(i.RootFS.Layers), OS: i.Os, Arch: i.Architecture, Entrypoint: []string{}, Command: []string{}, Env: map[string]string{},
			Ports: []string{}, Volumes: []string{}, Labels: map[string]string{}}
		if c := i.Config; c != nil {
			out.Entrypoint, out.Command, out.Env, out.User, out.WorkingDir = nonNil(c.Entrypoint), nonNil(c.Cmd), pairs(c.Env), c.User, c.WorkingDir
			out.Ports, out.Volumes = nonNil(slices.Sorted(maps.Keys(c.ExposedPorts))), nonNil(slices.Sorted(maps.Keys(c.Volumes)))
			maps.Copy(out.Labels, c.Labels)
		}
		return out, nil
	})
}

// RawImage is what the engine itself says of it.
func (e *Engine) RawImage(ctx context.Context, name string) (catalog.Dict, error) {
	return ask(ctx, e, "get image "+name, func(ctx context.Context, api *client.Client) (catalog.Dict, error) {
		//nolint:staticcheck // the other call does not give the answer as it came
		_, raw, err := api.ImageInspectWithRaw(ctx, name)
		return dictOf(raw, err)
	})
}

// named is an image's name as a registry knows it; nil where the text is an id.
func (e *Engine) named(ctx context.Context, api *client.Client, text string) (reference.Named, error) {
	i, err := api.ImageInspect(ctx, text)
	if err == nil && (i.ID == text || strings.HasPrefix(i.ID, text) || strings.HasPrefix(strings.TrimPrefix(i.ID, "sha256:"), text) && !slices.Contains(i.RepoTags, text+":latest")) {
		if len(i.RepoTags) != 1 {
			return nil, cfcerr.Argument("image_id", "the name of an image, or an id that has exactly one tag; this one has ["+strings.Join(i.RepoTags, ", ")+"]")
		}
		text = i.RepoTags[0]
	}
	return pullable("image_id", text)
}

// Update pulls the newest of an image.
func (e *Engine) Update(ctx context.Context, name string, progress func(catalog.DockerPull)) (catalog.DockerUpdated, error) {
	return use(ctx, e, "update image "+name, func(ctx context.Context, api *client.Client) (out catalog.DockerUpdated, err error) {
		n, err := e.named(ctx, api, name)
		if err != nil {
			return out, err
		}
		d := e.cfg.Rules()
		if err := d.Image(name, n.String()); err != nil {
			return out, err
		}
		out.Image = reference.FamiliarString(n)
		repository := reference.FamiliarName(n)
		if old, err := api.ImageInspect(ctx, out.Image); err == nil {
			out.OldID, out.OldDigest = &old.ID, digestIn(old.RepoDigests, repository)
		}
		if err := e.pull(ctx, api, n, progress); err != nil {
			return out, err
		}
		now, err := api.ImageInspect(ctx, out.Image)
		if err != nil {
			return out, err
		}
		out.ID, out.Digest = now.ID, digestIn(now.RepoDigests, repository)
		out.Changed = out.OldID == nil || *out.OldID != out.ID
		return out, nil
	})
}

// Remove removes an image, or one of its names. Each part that is gone is told.
func (e *Engine) Remove(ctx context.Context, name string, force bool) (catalog.DockerRemoved, error) {
	list, err := use(ctx, e, "remove image "+name, func(ctx context.Context, api *client.Client) ([]image.DeleteResponse, error) {
		return api.ImageRemove(ctx, name, image.RemoveOptions{Force: force, PruneChildren: true})
	})
	out := catalog.DockerRemoved{Image: name}
	out.Untagged, out.Deleted = parts(list)
	return out, err
}

func parts(list []image.DeleteResponse) (untagged, deleted []string) {
	untagged, deleted = []string{}, []string{}
	for _, d := range list {
		if d.Untagged != "" {
			untagged = append(untagged, d.Untagged)
		}
		if d.Deleted != "" {
			deleted = append(deleted, d.Deleted)
		}
	}
	slices.Sort(untagged)
	slices.Sort(deleted)
	return untagged, deleted
}

// Prune removes the images that nobody needs.
func (e *Engine) Prune(ctx context.Context, all bool) (catalog.DockerPruned, error) {
	dangling := "true"
	if all {
		dangling = "false"
	}
	r, err := use(ctx, e, "prune images", func(ctx context.Context, api *client.Client) (image.PruneReport, error) {
		return api.ImagesPrune(ctx, filters.NewArgs(filters.Arg("dangling", dangling)))
	})
	out := catalog.DockerPruned{Reclaimed: int64(r.SpaceReclaimed)}
	out.Untagged, out.Deleted = parts(r.ImagesDeleted)
	return out, err
}
