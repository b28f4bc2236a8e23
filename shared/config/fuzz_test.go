package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"fabric.center/cfc/shared/config"
)

// FuzzFile: whatever stands in a file, Load answers with faults and not with a
// panic, which a person could not read.
func FuzzFile(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	path := filepath.Join(f.TempDir(), "c.yaml")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		err := config.Load(&sample{}, config.Sources{File: path})
		var faults config.Faults
		if err != nil && (!errors.As(err, &faults) || len(faults) == 0) {
			t.Errorf("neither loaded nor faults: %v", err)
		}
	})
}
