package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The benchmark starts itself in other roles; under test it is this binary.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-role") {
		if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, io.Discard); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestOneRoundOfAll(t *testing.T) {
	var out, progress bytes.Buffer
	err := run(t.Context(), []string{"-rounds", "1", "-each", "100ms", "-payload", "10"}, nil, &out, &progress)
	if err != nil {
		t.Fatal(err)
	}
	number := `[0-9.]+ \([0-9.]+-[0-9.]+\)`
	row := regexp.MustCompile(`^\| \S+ \| ` + number + ` \| ` + number + ` \| ` + number + ` \| ` + number + ` \|$`)
	rows := 0
	for l := range strings.Lines(out.String()) {
		if row.MatchString(strings.TrimSpace(l)) {
			rows++
		}
	}
	if rows != 6 || strings.Count(progress.String(), "round 1") != 4 {
		t.Errorf("%d rows in\n%s%s", rows, out.String(), progress.String())
	}
}

func TestWhatFails(t *testing.T) {
	for args, want := range map[string]string{
		"-nonsense":                          "not defined",
		"-role callee -url ws://127.0.0.1:1": "refused",
		"-role relay -profile /nowhere":      "no such file",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := run(ctx, strings.Fields(args), strings.NewReader(""), io.Discard, io.Discard)
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}
