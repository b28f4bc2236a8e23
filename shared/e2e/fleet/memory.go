package fleet

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// MemoryUse is what a process holds of the machine's memory, in MB.
type MemoryUse struct {
	RSS       float64 // with the pages of its program file, which it shares
	Anonymous float64 // its own alone
}

// Memory reads it from proc(5).
func Memory(pid int) (m MemoryUse, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, fmt.Errorf("cannot tell the memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		kb, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "VmRSS:":
			m.RSS = kb / 1024
		case "RssAnon:":
			m.Anonymous = kb / 1024
		}
	}
	if m.RSS == 0 {
		return m, fmt.Errorf("cannot tell the memory of process %d: it is a zombie or no process of a program", pid)
	}
	return m, nil
}
