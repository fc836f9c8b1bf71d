package front

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// machinePIDs maps the process ids of a PID namespace, that of process init, to those of the machine.
func machinePIDs(init int) map[int]int {
	found := map[int]int{}
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", init))
	if err != nil {
		return found // it is gone
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return found
	}
	for _, entry := range entries {
		outer, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", outer))
		if err != nil || own != namespace {
			continue
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", outer))
		if err != nil {
			continue // it has ended meanwhile
		}
		if inner, ok := innermost(status); ok {
			found[inner] = outer
		}
	}
	return found
}

// innermost reads the last number of the line "NSpid:" of /proc/PID/status: the id in the process's own namespace.
func innermost(status []byte) (int, bool) {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("NSpid:")); ok {
			fields := bytes.Fields(rest)
			if len(fields) == 0 {
				return 0, false
			}
			pid, err := strconv.Atoi(string(fields[len(fields)-1]))
			return pid, err == nil
		}
	}
	return 0, false
}
