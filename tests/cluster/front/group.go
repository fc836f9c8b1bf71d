package front

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// groupFile, in the folder of a run, has the path of its control group: all that is not gone with its processes.
const groupFile = "cgroup"

// newGroup makes a control group for the cluster, below that of this process, so that groups which nodes make for
// containers have a place of their own and can be removed with it. It is noted in the state first, for the next sweep.
func newGroup(state string) (string, error) {
	parent, err := ownGroup()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(parent, "portcullis-cluster-"+filepath.Base(state))
	if err := os.WriteFile(filepath.Join(state, groupFile), []byte(folder), 0o600); err != nil {
		return "", fmt.Errorf("state of this run: %w", err)
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		return "", fmt.Errorf("control group: %w", err)
	}
	return folder, nil
}

// ownGroup is this process's group in the hierarchy of the memory controller.
func ownGroup() (string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("control group: %w", err)
	}
	path, err := memoryGroup(string(text))
	if err != nil {
		return "", fmt.Errorf("/proc/self/cgroup: %w", err)
	}
	return filepath.Join("/sys/fs/cgroup", path), nil
}

// memoryGroup reads /proc/PID/cgroup: lines "NUMBER:CONTROLLERS:PATH". A controller is either in a hierarchy of the first
// version, mounted under its name, or in the only one of the second, whose line has no controllers.
func memoryGroup(text string) (string, error) {
	second := ""
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(fields) != 3:
			return "", fmt.Errorf("%q does not have three fields", line)
		case fields[1] == "memory":
			return filepath.Join("memory", fields[2]), nil
		case fields[1] == "":
			second = fields[2]
		}
	}
	if second == "" {
		return "", errors.New("names no hierarchy with a memory controller")
	}
	return second, nil
}

// removeGroup removes a group and those below it. Their processes have been killed; until the kernel has done with
// them a group is busy.
func removeGroup(folder string) error {
	var err error
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err = removeTree(folder); err == nil || !errors.Is(err, syscall.EBUSY) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("control group: %w", err)
	}
	return nil
}

// removeTree removes folders from the leaves up. The files of a control group are not there to be removed.
func removeTree(folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := removeTree(filepath.Join(folder, entry.Name())); err != nil {
				return err
			}
		}
	}
	// Two sweeps may meet.
	if err := os.Remove(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
