package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fabric.center/cfc/shared/config"
)

func TestMarkdown(t *testing.T) {
	page := config.Markdown(&sample{}, "T_", true)
	want, err := os.ReadFile("testdata/sample.md")
	if *update {
		err = os.WriteFile("testdata/sample.md", []byte(page), 0o644)
		want = []byte(page)
	}
	if err != nil {
		t.Fatal(err)
	}
	if page != string(want) {
		t.Errorf("testdata/sample.md is stale; run with -update. Now:\n%s", page)
	}
	if bare := config.Markdown(&sample{}, "", false); strings.Contains(bare, "flag") || strings.Contains(bare, "T_") {
		t.Errorf("variables and flags were to be left out:\n%s", bare)
	}
}

func TestUpdateRegion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	const page = "# Page\n<!-- begin a -->\nold\n<!-- end a -->\ntail\n"
	if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := config.UpdateRegion(path, "a", "new", false); err == nil || !strings.Contains(err.Error(), "stale") {
		t.Errorf("stale: %v", err)
	}
	if err := config.UpdateRegion(path, "b", "new", true); err == nil || !strings.Contains(err.Error(), "cannot find region b") {
		t.Errorf("no region: %v", err)
	}
	if err := config.UpdateRegion(path, "a", "\nnew\n\n", true); err != nil {
		t.Error(err)
	}
	if err := config.UpdateRegion(path, "a", "new", false); err != nil {
		t.Errorf("fresh: %v", err)
	}
	b, _ := os.ReadFile(path)
	if string(b) != strings.Replace(page, "old", "new", 1) {
		t.Errorf("got %q", b)
	}
	if err := config.UpdateRegion(path+"x", "a", "", true); err == nil {
		t.Error("a page that is not there was updated")
	}
}
