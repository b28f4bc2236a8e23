package fleet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// Tools are the built programs that a fleet consists of.
type Tools struct {
	Root  string // of the source tree
	Relay string
	Agent string
	CLI   string
}

// Node is the stock node, and the interpreter beside it, which has Autobahn.
type Node struct {
	Crossbar string
	Python   string
}

// Find takes the built programs from CFC_BIN, or builds them below .cache.
func Find(ctx context.Context) (Tools, error) {
	root, err := Root()
	if err != nil {
		return Tools{}, err
	}
	bin := os.Getenv("CFC_BIN")
	if bin == "" {
		bin = filepath.Join(root, ".cache", "e2e", "bin")
		if err := build(ctx, root, bin); err != nil {
			return Tools{}, err
		}
	}
	t := Tools{Root: root, Relay: filepath.Join(bin, "cfc-relay"), Agent: filepath.Join(bin, "cfc-agent"), CLI: filepath.Join(bin, "cfc")}
	for _, p := range []string{t.Relay, t.Agent, t.CLI} {
		if _, err := os.Stat(p); err != nil {
			return Tools{}, fmt.Errorf("cannot find a built program: %w; run: make build", err)
		}
	}
	return t, nil
}

// FindNode finds the stock node: CFC_CROSSBAR, else the one that `make venv`
// sets up. There is no test with less than the real one.
func FindNode() (Node, error) {
	crossbar := os.Getenv("CFC_CROSSBAR")
	if crossbar == "" {
		root, err := Root()
		if err != nil {
			return Node{}, err
		}
		crossbar = filepath.Join(root, ".cache", "venv", "bin", "crossbar")
	}
	n := Node{Crossbar: crossbar, Python: filepath.Join(filepath.Dir(crossbar), "python")}
	for _, p := range []string{n.Crossbar, n.Python} {
		if _, err := os.Stat(p); err != nil {
			return Node{}, fmt.Errorf("cannot find a Crossbar.io node: %w; run: make venv, or name one in CFC_CROSSBAR", err)
		}
	}
	return n, nil
}

func build(ctx context.Context, root, bin string) error {
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return fmt.Errorf("cannot build: %w", err)
	}
	args, env := []string{"build", "-trimpath"}, []string{"CGO_ENABLED=0"} // static, as `make build` does it
	if os.Getenv("CFC_RACE") != "" {
		args, env = append(args, "-race"), nil
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", bin+"/", "./relay/cmd/...", "./agent/cmd/...")...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build: %w\n%s", err, out)
	}
	return nil
}

// Root is the directory of go.mod at or above the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("cannot find the source tree: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("cannot find the source tree: %w", err)
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("cannot find the source tree: no go.mod above the working directory")
		}
		dir = up
	}
}
