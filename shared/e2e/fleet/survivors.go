package fleet

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// marker is the environment variable that every process of a fleet inherits.
const marker = "CFC_FLEET"

// Survivors are the living processes of the fleet in directory home: those that
// inherited its mark, Crossbar.io processes that work below it (they overwrite
// their environment with their title) and all that share a group with one of
// them.
func Survivors(home string) []int {
	groups := map[int]bool{}
	byGroup := map[int][]int{}
	for _, pid := range pids() {
		group, ok := groupOf(pid)
		if !ok || pid == os.Getpid() {
			continue
		}
		byGroup[group] = append(byGroup[group], pid)
		if belongs(pid, home) {
			groups[group] = true
		}
	}
	// The group of this very process holds its shell too: never that one.
	own, _ := groupOf(os.Getpid())
	var found []int
	for g := range groups {
		if g == own {
			for _, pid := range byGroup[g] {
				if belongs(pid, home) {
					found = append(found, pid)
				}
			}
			continue
		}
		found = append(found, byGroup[g]...)
	}
	slices.Sort(found)
	return found
}

// Reap ends what is left of the fleet in home, by force after the grace, and
// says how many processes there were.
func Reap(ctx context.Context, home string, grace time.Duration) (int, error) {
	first := Survivors(home)
	if len(first) == 0 {
		return 0, nil
	}
	for _, pid := range first {
		_ = syscall.Kill(pid, syscall.SIGCONT)
		_ = syscall.Kill(pid, syscall.SIGINT)
	}
	gone := func() error {
		if left := Survivors(home); len(left) > 0 {
			return fmt.Errorf("still running: %s", Describe(left))
		}
		return nil
	}
	quiet, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if Poll(quiet, gone) == nil {
		return len(first), nil
	}
	for _, pid := range Survivors(home) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return len(first), Poll(ctx, gone)
}

// Describe names processes for people.
func Describe(pids []int) string {
	var s []string
	for _, pid := range pids {
		s = append(s, fmt.Sprintf("%d (%s)", pid, strings.Join(CommandLine(pid), " ")))
	}
	return strings.Join(s, ", ")
}

// CommandLine is what everybody on the host can read of a process.
func CommandLine(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
}

// Children are the living processes whose parent is pid.
func Children(pid int) []int {
	var found []int
	for _, p := range pids() {
		if f := stat(p); f != nil && f[1] == strconv.Itoa(pid) && f[0] != "Z" {
			found = append(found, p)
		}
	}
	return found
}

func pids() []int {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var found []int
	for _, d := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(d)); err == nil {
			found = append(found, pid)
		}
	}
	return found
}

// stat is /proc/PID/stat from the state on: state, parent, group, ….
func stat(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	_, rest, ok := bytes.Cut(b, []byte(") "))
	if i := bytes.LastIndex(b, []byte(") ")); ok && i >= 0 {
		rest = b[i+2:]
	}
	f := strings.Fields(string(rest))
	if len(f) < 3 {
		return nil
	}
	return f
}

// groupOf is the group of a process that is more than a zombie.
func groupOf(pid int) (int, bool) {
	f := stat(pid)
	if f == nil || f[0] == "Z" || f[0] == "X" {
		return 0, false
	}
	g, err := strconv.Atoi(f[2])
	return g, err == nil
}

func belongs(pid int, home string) bool {
	// Somebody's shell may stand in the directory as well, so a name counts too.
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err == nil && strings.HasPrefix(strings.TrimSuffix(dir, " (deleted)")+"/", home+"/") &&
		strings.Contains(strings.Join(CommandLine(pid), " "), "crossbar") {
		return true
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && slices.Contains(strings.Split(string(env), "\x00"), marker+"="+home)
}
