package container

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memoryController makes control groups that bound memory, in the first or the second version of control groups,
// whichever has the memory controller of this machine.
type memoryController struct {
	folder    string // where groups are made
	limitFile string
	swapFile  string
	eventFile string // has a line "oom_kill N"
}

// findMemoryController returns nil, and why, where the machine lets nobody bound memory.
func findMemoryController(root string, own []byte) (*memoryController, error) {
	for line := range strings.Lines(string(own)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) == 3 && fields[1] == "memory" {
			return &memoryController{
				folder:    filepath.Join(root, "memory", fields[2]),
				limitFile: "memory.limit_in_bytes", swapFile: "memory.memsw.limit_in_bytes", eventFile: "memory.oom_control",
			}, nil
		}
	}
	// In the second version a group either has processes or passes controllers on; only the root does both. So groups of
	// containers are not below that of the kubelet there.
	control := filepath.Join(root, "cgroup.subtree_control")
	if err := os.WriteFile(control, []byte("+memory"), 0); err != nil {
		return nil, fmt.Errorf("no memory controller: %w", err)
	}
	return &memoryController{
		folder: root, limitFile: "memory.max", swapFile: "memory.swap.max", eventFile: "memory.events",
	}, nil
}

// group makes a group with a limit.
func (controller *memoryController) group(name string, limitBytes int64) (*controlGroup, error) {
	folder := filepath.Join(controller.folder, name)
	if err := os.Mkdir(folder, 0o755); err != nil {
		return nil, err
	}
	group := &controlGroup{folder: folder, events: filepath.Join(folder, controller.eventFile)}
	limit := []byte(strconv.FormatInt(limitBytes, 10))
	if err := os.WriteFile(filepath.Join(folder, controller.limitFile), limit, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("bound memory: %w", err), group.remove())
	}
	// Kernels without an account of swap lack the file; then pages may be swapped out, where there is swap at all.
	swap := []byte("0")
	if controller.swapFile == "memory.memsw.limit_in_bytes" {
		swap = limit // that of memory and swap together
	}
	_ = os.WriteFile(filepath.Join(folder, controller.swapFile), swap, 0)
	var err error
	// It is open before a container starts: those who join one later are in a mount namespace without the file.
	group.processes, err = os.OpenFile(filepath.Join(folder, "cgroup.procs"), os.O_WRONLY, 0)
	if err != nil {
		return nil, errors.Join(err, group.remove())
	}
	return group, nil
}

// controlGroup bounds one container. A nil group bounds nothing.
type controlGroup struct {
	folder    string
	events    string
	processes *os.File
}

func (group *controlGroup) add(pid int) error {
	if group == nil {
		return nil
	}
	if _, err := group.processes.WriteString(strconv.Itoa(pid)); err != nil {
		return fmt.Errorf("add process %d to %s: %w", pid, group.folder, err)
	}
	return nil
}

// outOfMemory says whether the kernel has killed a process of the group for its memory.
func (group *controlGroup) outOfMemory() bool {
	if group == nil {
		return false
	}
	events, err := os.ReadFile(group.events)
	return err == nil && oomKills(events) > 0
}

func oomKills(events []byte) int {
	for line := range bytes.Lines(events) {
		if count, found := bytes.CutPrefix(bytes.TrimSpace(line), []byte("oom_kill ")); found {
			number, _ := strconv.Atoi(string(count))
			return number
		}
	}
	return 0
}

func (group *controlGroup) remove() error {
	if group == nil {
		return nil
	}
	if group.processes != nil {
		group.processes.Close()
	}
	return os.Remove(group.folder)
}
