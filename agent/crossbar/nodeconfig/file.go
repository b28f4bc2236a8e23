// Package nodeconfig changes the configuration file of a stock Crossbar.io node
// and takes the change back.
//
// Only controller.fabric is the agent's: the node's uplink to it. Everything
// else in the file stays as it is to the letter, comments too, for people
// wrote it: an edit puts text in, and is refused when what the file then says
// is not what it said before plus the uplink. The file keeps its mode, its
// owner, and the link that leads to it.
//
// What a change replaces is kept in the node directory below .cfc-adopt,
// written there before the change is made:
//
//	record.json           what was changed, and the mode and owner that it had
//	config.json           the file as it was (or config.yaml, key.activate)
//	config.json.changed   what the change has made of it
//
// So whenever it breaks off, applying it again finishes it and Undo ends it.
// Undo gives back the very file; where a person has edited it since, it takes
// out what was put in and nothing else, or refuses when that has been touched.
package nodeconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"fabric.center/cfc/shared/durable"
	"fabric.center/cfc/shared/yamltext"
	"github.com/goccy/go-yaml"
)

// Names are the configuration files in the order in which the node looks for
// them.
var Names = []string{"config.yaml", "config.json"}

// Activation is the file that names another master, and wins over the
// configuration.
const Activation = "key.activate"

// File is the configuration of a node.
type File struct {
	Name   string // in the node directory
	Text   []byte // nil where there is no file
	Config map[string]any
}

// Read reads the configuration that the node would take. Where there is none,
// it gives the name that one should have.
func Read(dir string) (File, error) {
	for _, name := range Names {
		path := filepath.Join(dir, name)
		text, err := durable.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			if _, err := os.Lstat(path); err == nil {
				return File{Name: name}, fmt.Errorf("cannot use the node's configuration %s: it is a link that leads nowhere", path)
			}
			continue
		}
		if err != nil {
			return File{Name: name}, fmt.Errorf("cannot read the node's configuration: %w", err)
		}
		config, err := decode(name, text)
		if err != nil {
			return File{Name: name}, fmt.Errorf("cannot use the node's configuration %s: %w", path, err)
		}
		return File{name, text, config}, nil
	}
	return File{Name: "config.json"}, nil
}

func decode(name string, text []byte) (config map[string]any, err error) {
	if filepath.Ext(name) == ".json" {
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber() // big ones stay what they are
		if err = dec.Decode(&config); err == nil {
			if _, more := dec.Token(); !errors.Is(more, io.EOF) {
				err = errors.New("it goes on after its end")
			}
		}
	} else if err = yamltext.Check(text); err == nil {
		err = yaml.Unmarshal(text, &config)
	}
	switch {
	case err != nil:
		first, _, _ := strings.Cut(err.Error(), "\n") // the rest quotes the file, secrets and all
		return nil, errors.New(first)
	case config == nil:
		return nil, errors.New("it is empty")
	}
	return config, nil
}

// Uplink is the URL that controller.fabric.transport leads to, with the
// agent's kind of transport.
func Uplink(config map[string]any) string {
	transport := Transport(config)
	if transport["type"] != "rawsocket" {
		return ""
	}
	url, _ := transport["url"].(string)
	return strings.TrimSuffix(url, "/")
}

// Transport is controller.fabric.transport, nil where there is none.
func Transport(config map[string]any) map[string]any {
	at := config
	for _, key := range []string{"controller", "fabric", "transport"} {
		at, _ = at[key].(map[string]any)
	}
	return at
}
