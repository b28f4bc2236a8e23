package docker

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/agent/engine"
	"fabric.center/cfc/agent/policy"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/enginetest"
	"fabric.center/cfc/shared/session"
	"github.com/gammazero/nexus/v3/wamp"
)

// noise is a layer that does not shrink.
func noise(name string, size int) enginetest.File {
	b := make([]byte, size)
	rand.Read(b)
	return enginetest.File{Name: name, Data: b}
}

// publishImage builds an image of several layers, gives it to the registry and
// forgets it here.
func publishImage(h *host, name string, files ...enginetest.File) {
	h.t.Helper()
	h.real.Build(name, files)
	h.real.Push(name)
}

// pulled calls a row and collects what was told of its progress.
func pulled[Out any](h *host, ctx context.Context, call func(context.Context) (Out, error)) (out Out, told []catalog.DockerPull, err error) {
	var mu sync.Mutex
	ctx = session.WithProgress(ctx, func(args wamp.List, _ wamp.Dict) error {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, args[0].(catalog.DockerPull))
		return nil
	})
	out, err = call(ctx)
	mu.Lock()
	defer mu.Unlock()
	return out, slices.Clone(told), err
}

func TestAnImagesLife(t *testing.T) {
	h := newHost(t, policy.Docker{}, enginetest.Options{})
	h.watch()
	r := enginetest.StartRegistry(t)
	name := r.Addr + "/team/app:1"
	publishImage(h, name, noise("a", 1<<20), noise("b", 2<<20), noise("c", 3<<20))
	update := func(ctx context.Context) (catalog.DockerUpdated, error) {
		return try(h, ctx, catalog.DockerUpdateImage, name)
	}
	first, told, err := pulled(h, within(t, time.Minute), update)
	if err != nil || !first.Changed || first.OldID != nil || first.Digest == nil || !strings.HasPrefix(*first.Digest, "sha256:") || first.Image != name {
		t.Fatalf("update %+v, %v", first, err)
	}
	checkProgress(t, name, told)
	if again := do(h, catalog.DockerUpdateImage, name); again.Changed || *again.OldDigest != *first.Digest || *again.Digest != *first.Digest {
		t.Errorf("nothing new: %+v", again)
	}
	i := do(h, catalog.DockerGetImage, name)
	if i.ID != first.ID || i.Layers != 4 || i.Size < 6<<20 || i.Tags[0] != name || !strings.HasSuffix(i.Digests[0], *first.Digest) || i.Entrypoint[0] != "/box" {
		t.Errorf("image %+v", i)
	}
	if ids := do(h, catalog.DockerGetImages); len(ids) != 2 || !slices.IsSorted(ids) || !slices.Contains(ids, i.ID) {
		t.Errorf("images %v", ids)
	}
	// Somebody publishes another one under the same name.
	h.real.Build(name, []enginetest.File{noise("d", 1000)})
	h.real.Push(name)
	do(h, catalog.DockerUpdateImage, r.Addr+"/team/app@"+*first.Digest)
	second := do(h, catalog.DockerUpdateImage, name)
	if !second.Changed || second.ID == first.ID || *second.Digest == *first.Digest {
		t.Errorf("update %+v", second)
	}
	if byID := do(h, catalog.DockerUpdateImage, second.ID); byID.Changed || byID.Image != name {
		t.Errorf("by id: %+v", byID)
	}
	h.real.Tag(name, "other:1")
	refuse(h, cfcerr.InvalidArgument, "image_id exactly other:1", catalog.DockerUpdateImage, second.ID)
	removeIt(h, name, second.ID)
	for _, e := range []string{"on_docker_image_update_started", "on_docker_image_update_finished", "on_docker_image_remove_started", "on_docker_image_remove_progress", "on_docker_image_remove_finished"} {
		if n, about := h.count(e + " " + name); n == 0 {
			t.Errorf("no %s of %s: %v", e, name, about)
		}
	}
	h.eventually("the engine's events", func() error {
		return errors.Join(h.heard("on_image_pull "+name), h.heard("on_image_untag"), h.heard("on_image_delete"))
	})
}

func removeIt(h *host, name, id string) {
	h.t.Helper()
	s := do(h, catalog.DockerStartContainer, "user", wamp.Dict{"image": name})
	if s.ImageID != id || s.ImageDigest == nil {
		h.t.Errorf("started %+v", s)
	}
	refuse(h, cfcerr.NotEmpty, "", catalog.DockerRemoveImage, id, true)
	do(h, catalog.DockerRemoveImage, "other:1")
	refuse(h, cfcerr.NotEmpty, "using", catalog.DockerRemoveImage, name)
	do(h, catalog.DockerDestroyContainer, "user", true)
	if r := do(h, catalog.DockerRemoveImage, name); len(r.Deleted) == 0 || !slices.Contains(r.Untagged, name) {
		h.t.Errorf("removed %+v", r)
	}
	refuse(h, cfcerr.NoSuchObject, name, catalog.DockerRemoveImage, name)
	refuse(h, cfcerr.NoSuchObject, name, catalog.DockerGetImage, name)
	h.real.Build("lonely:1", nil, "LABEL a=b")
	if p := do(h, catalog.DockerPruneImages, true); len(p.Deleted) == 0 || !slices.Contains(p.Untagged, "lonely:1") {
		h.t.Errorf("pruned %+v", p)
	}
	if u := do(h, catalog.DockerGetUsage); u.Images.Count != len(do(h, catalog.DockerGetImages)) || u.Containers.Count != 0 {
		h.t.Errorf("usage %+v", u)
	}
}

func checkProgress(t *testing.T, name string, told []catalog.DockerPull) {
	t.Helper()
	if len(told) < 2 {
		t.Fatalf("progress was told %d times", len(told))
	}
	last := 0.0
	for _, p := range told {
		if p.Image != name || p.Share < last || p.Share > 1 || len(p.Layers) == 0 {
			t.Errorf("progress %+v after %v", p, last)
		}
		last = p.Share
	}
	if end := told[len(told)-1]; end.Share != 1 || end.Bytes != end.Total || end.Bytes < 3<<20 || end.Layers[3].Status != "pull complete" {
		t.Errorf("in the end %+v", end)
	}
}

func TestPullsThatFail(t *testing.T) {
	h := newHost(t, policy.Docker{}, enginetest.Options{})
	r := enginetest.StartRegistry(t)
	refuse(h, cfcerr.NoSuchObject, "none", catalog.DockerUpdateImage, r.Addr+"/none:1")
	refuse(h, cfcerr.NoSuchObject, "none", catalog.DockerStartContainer, nil, wamp.Dict{"image": r.Addr + "/none:1"})
	refuse(h, cfcerr.Unavailable, "registry refused", catalog.DockerUpdateImage, "127.0.0.1:1/none:1")
	refuse(h, cfcerr.InvalidArgument, "image_id", catalog.DockerUpdateImage, "Upper:1")
	refuse(h, cfcerr.InvalidArgument, "container_config.image", catalog.DockerStartContainer, nil, wamp.Dict{"image": "Upper:1"})
	refuse(h, cfcerr.NoSuchObject, "sha256:abcdef id", catalog.DockerUpdateImage, "sha256:abcdef")
	refuse(h, cfcerr.NoSuchObject, "sha256:abcdef id", catalog.DockerStartContainer, nil, wamp.Dict{"image": "sha256:abcdef"})
	refuse(h, cfcerr.InvalidArgument, "image_id", catalog.DockerUpdateImage, "a b")
	if n, about := h.count("on_docker_image_update_finished " + r.Addr + "/none:1"); n != 1 || about["error"] == nil {
		t.Errorf("finished %d times, %v", n, about)
	}
}

// TestAPullIsCanceled, in the middle of a layer that does not come on; the
// engine stops too, and a container that was to be is not.
func TestAPullIsCanceled(t *testing.T) {
	h := newHost(t, policy.Docker{}, enginetest.Options{})
	r := enginetest.StartRegistry(t)
	name := r.Addr + "/big:1"
	publishImage(h, name, noise("a", 4<<20))
	for what, call := range map[string]func(context.Context) error{
		"update": func(ctx context.Context) error { _, err := try(h, ctx, catalog.DockerUpdateImage, name); return err },
		"start": func(ctx context.Context) error {
			_, err := try(h, ctx, catalog.DockerStartContainer, nil, wamp.Dict{"image": name})
			return err
		},
	} {
		r.Hold()
		ctx, cancel := context.WithCancel(within(t, time.Minute))
		half := make(chan struct{})
		var once sync.Once
		done := make(chan error, 1)
		go func() {
			done <- call(session.WithProgress(ctx, func(args wamp.List, _ wamp.Dict) error {
				if p := args[0].(catalog.DockerPull); p.Bytes > 0 {
					once.Do(func() { close(half) })
				}
				return nil
			}))
		}()
		<-half
		cancel()
		if err := <-done; cfcerr.KindOf(err) != cfcerr.Canceled {
			t.Errorf("%s: %v", what, err)
		}
		r.Release()
		if _, err := try(h, within(t, time.Minute), catalog.DockerGetImage, name); cfcerr.KindOf(err) != cfcerr.NoSuchObject {
			t.Errorf("%s: the engine pulled on: %v", what, err)
		}
	}
	if ids := do(h, catalog.DockerGetContainers); len(ids) != 0 {
		t.Errorf("left: %v", ids)
	}
	if u := do(h, catalog.DockerUpdateImage, name); !u.Changed {
		t.Errorf("after that: %+v", u)
	}
}

// TestTheEngineDiesInAPull, and the pull can be made again when it is back.
func TestTheEngineDiesInAPull(t *testing.T) {
	h := newHost(t, policy.Docker{}, enginetest.Options{})
	r := enginetest.StartRegistry(t)
	name := r.Addr + "/big:1"
	publishImage(h, name, noise("a", 4<<20))
	r.Hold()
	var once sync.Once
	_, told, err := pulled(h, within(t, time.Minute), func(ctx context.Context) (catalog.DockerUpdated, error) {
		killing := session.WithProgress(ctx, func(args wamp.List, _ wamp.Dict) error {
			if args[0].(catalog.DockerPull).Bytes > 0 {
				once.Do(h.real.Kill)
			}
			return nil
		})
		return try(h, killing, catalog.DockerUpdateImage, name)
	})
	var e *cfcerr.Error
	if !errors.As(err, &e) || e.Kind != cfcerr.Unavailable || e.Details["part"] != "docker" {
		t.Errorf("the pull ends with %v, %v", err, told)
	}
	refuse(h, cfcerr.Unavailable, "docker", catalog.DockerGetImages)
	r.Release()
	h.real.Restart()
	if u := do(h, catalog.DockerUpdateImage, name); !u.Changed {
		t.Errorf("after that: %+v", u)
	}
}

func TestCredentialsStayOnTheHost(t *testing.T) {
	h := newHost(t, policy.Docker{}, enginetest.Options{})
	r := enginetest.StartRegistry(t)
	name := r.Addr + "/private:1"
	publishImage(h, name)
	r.Require("puller", "pa55word")
	refuse(h, cfcerr.Unavailable, "registry", catalog.DockerUpdateImage, name)
	file := filepath.Join(t.TempDir(), "registries.json")
	write := func(password string, mode os.FileMode) {
		auth := base64.StdEncoding.EncodeToString([]byte("puller:" + password))
		if err := os.WriteFile(file, fmt.Appendf(nil, `{"auths": {%q: {"auth": %q}}}`, r.Addr, auth), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	known := hostOf(t, h.real, func(c *engine.Config) { c.Credentials = file })
	refuse(known, cfcerr.Unavailable, "credentials no", catalog.DockerUpdateImage, name)
	write("pa55word", 0o644)
	refuse(known, cfcerr.Unavailable, "credentials 0600", catalog.DockerUpdateImage, name)
	write("wrong", 0o600)
	_, err := try(known, within(t, time.Minute), catalog.DockerUpdateImage, name)
	if cfcerr.KindOf(err) != cfcerr.Unavailable || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v", err)
	}
	write("pa55word", 0o600)
	if u := do(known, catalog.DockerUpdateImage, name); !u.Changed {
		t.Errorf("update %+v", u)
	}
}
