package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/e2e/fleet"
)

// argvWatch looks at the argument lists of the fleet's processes as long as the
// tests run: everybody on a host can read them.
type argvWatch struct {
	stop, done chan struct{}
	seen, hits map[string]bool
}

var tokenForm = regexp.MustCompile(`cfc[unt]_[a-z2-7]{8}_[a-z2-7]{26,}`)

func watchArguments(home, seed string) *argvWatch {
	w := &argvWatch{stop: make(chan struct{}), done: make(chan struct{}), seen: map[string]bool{}, hits: map[string]bool{}}
	go func() {
		defer close(w.done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			for _, pid := range fleet.Survivors(home) {
				line := strings.Join(fleet.CommandLine(pid), " ")
				w.seen[line] = true
				if tokenForm.MatchString(line) || strings.Contains(line, seed) {
					w.hits[strings.Fields(line)[0]] = true
				}
			}
			select {
			case <-tick.C:
			case <-w.stop:
				return
			}
		}
	}()
	return w
}

// end ends the watch; it is an error when a secret was seen, or nothing at all.
func (w *argvWatch) end() error {
	close(w.stop)
	<-w.done
	switch {
	case len(w.hits) > 0:
		return fmt.Errorf("a secret stood in the arguments of %v", slices.Sorted(maps.Keys(w.hits)))
	case len(w.seen) < 5:
		return fmt.Errorf("hardly any process was seen: %v", slices.Sorted(maps.Keys(w.seen)))
	}
	return nil
}

// TestNoSecretIsLeftLying looks for every key and token that was used here in
// every file of the fleet: logs, audit, stores, configuration. A secret may
// stand in its own file alone, and nobody else may read that.
func TestNoSecretIsLeftLying(t *testing.T) {
	secrets := maps.Clone(stage.secrets)
	keys, err := filepath.Glob(filepath.Join(stage.Agent.Data, "keys", "*.key"))
	if err != nil || len(keys) == 0 {
		t.Fatalf("no keys of the agent: %v, %v", keys, err)
	}
	for _, k := range append(keys, stage.KeyFile) {
		b, err := os.ReadFile(k)
		if err != nil {
			t.Fatal(err)
		}
		secrets[k] = strings.TrimSpace(string(b))
	}
	logs := 0
	err = filepath.WalkDir(stage.Home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, ".log") {
			logs++
			if m := tokenForm.Find(b); m != nil {
				t.Errorf("%s has a token", path)
			}
		}
		for what, secret := range secrets {
			if !bytes.Contains(b, []byte(secret)) {
				continue
			}
			own := path == what || path == stage.KeyFile || filepath.Base(path) == "first-owner.token"
			if !own {
				t.Errorf("%s has %s", path, what)
			}
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has %s, and mode %s", path, what, info.Mode())
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if logs < 3 {
		t.Errorf("only %d logs were found", logs)
	}
	for _, dir := range []string{stage.Relay.Data, stage.Agent.Data, filepath.Join(stage.Agent.Data, "keys")} {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %s, expected 0700", dir, info.Mode())
		}
	}
	if _, err := os.Stat(filepath.Join(stage.Relay.Data, "first-owner.token")); err == nil {
		t.Error("first-owner.token is still there although it was claimed")
	}
}
