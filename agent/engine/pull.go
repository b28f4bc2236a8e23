package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/durable"
	cerrdefs "github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/jsonmessage"
)

// provide sees to it that a container's image is here and allowed.
func (e *Engine) provide(ctx context.Context, api *client.Client, s spec, progress func(catalog.DockerPull)) error {
	d := e.cfg.Rules()
	if s.Pull != "always" {
		i, err := api.ImageInspect(ctx, s.Image)
		if err == nil {
			return e.judgeImage(ctx, api, d, s.Image, i.ID)
		}
		if cerrdefs.IsInvalidArgument(err) {
			return cfcerr.Argument(configAt+".image", "the name or id of an image: "+plain(err))
		}
		if !cerrdefs.IsNotFound(err) || s.Pull == "never" {
			return err
		}
	}
	n, err := pullable(configAt+".image", s.Image)
	if err != nil {
		return err
	}
	if err := d.Image(s.Image, n.String()); err != nil {
		return err
	}
	return e.pull(ctx, api, n, progress)
}

// pullable is the name under which a registry has an image. An id that no image
// here has would be taken for the name sha256.
func pullable(argument, text string) (reference.Named, error) {
	n, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return nil, cfcerr.Argument(argument, "the name or id of an image: "+err.Error())
	}
	if strings.HasPrefix(text, "sha256:") {
		return nil, cfcerr.New(cfcerr.NoSuchObject, "cannot find image %s: there is none with this id", text)
	}
	return reference.TagNameOnly(n), nil
}

// pull gets an image from its registry. When ctx ends, the engine stops too.
func (e *Engine) pull(ctx context.Context, api *client.Client, n reference.Named, progress func(catalog.DockerPull)) error {
	doing := "pull image " + reference.FamiliarString(n)
	auth, err := e.credentials(reference.Domain(n))
	if err != nil {
		return cfcerr.New(cfcerr.Unavailable, "cannot %s: the host's credentials cannot be used: %s", doing, err).With("part", "credentials").With("reason", err.Error())
	}
	stream, err := api.ImagePull(ctx, n.String(), image.PullOptions{RegistryAuth: auth})
	if err != nil {
		return e.pullFailed(ctx, doing, err)
	}
	defer stream.Close()
	return e.pullFailed(ctx, doing, follow(stream, reference.FamiliarString(n), progress))
}

// follow reads what the engine tells of a pull to the end.
func follow(stream io.Reader, name string, progress func(catalog.DockerPull)) error {
	if progress == nil {
		progress = func(catalog.DockerPull) {}
	}
	t := &teller{watch: watch{layers: map[string]*catalog.DockerPullLayer{}}, name: name, progress: progress}
	in := json.NewDecoder(stream)
	for {
		var m jsonmessage.JSONMessage
		err := in.Decode(&m)
		switch {
		case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			t.end(true)
			return nil
		case err == nil && m.Error != nil:
			err = m.Error
		}
		if err != nil {
			t.end(false)
			return err
		}
		t.take(m)
	}
}

// pullFailed tells the registry's faults from the engine's.
func (e *Engine) pullFailed(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	text := plain(err)
	var told *jsonmessage.JSONError
	if ctx.Err() != nil || disconnected(err) && !errors.As(err, &told) || strings.Contains(text, "no space left on device") {
		return e.Failed(ctx, doing, err)
	}
	for _, part := range []string{"manifest unknown", "not found", "does not exist", "no matching manifest"} {
		if strings.Contains(text, part) {
			return cfcerr.New(cfcerr.NoSuchObject, "cannot %s: %s", doing, text)
		}
	}
	return cfcerr.New(cfcerr.Unavailable, "cannot %s: the registry does not give it: %s", doing, text).With("part", "registry").With("reason", text)
}

// credentials are what the registry asks for, from the host's own file, in the
// form of Docker's config.json. They go to the engine and nowhere else.
func (e *Engine) credentials(domain string) (string, error) {
	if e.cfg.Credentials == "" {
		return "", nil
	}
	i, err := os.Stat(e.cfg.Credentials)
	if err != nil {
		return "", err
	}
	if i.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s has mode %#o, others can read it; expected 0600", e.cfg.Credentials, i.Mode().Perm())
	}
	b, err := durable.ReadFile(e.cfg.Credentials)
	if err != nil {
		return "", err
	}
	var file struct {
		Auths map[string]registry.AuthConfig `json:"auths"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return "", fmt.Errorf("%s is no JSON with auths", e.cfg.Credentials) // no word of what is in it
	}
	keys := []string{domain, "https://" + domain, "http://" + domain}
	if domain == "docker.io" {
		keys = append(keys, "https://index.docker.io/v1/")
	}
	for _, key := range keys {
		if auth, ok := file.Auths[key]; ok {
			auth.ServerAddress = domain
			return registry.EncodeAuthConfig(decoded(auth))
		}
	}
	return "", nil
}
