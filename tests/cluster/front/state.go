package front

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// StateRoot has a folder for each run: its kubeconfigs and its socket. Everything else of a run
// ends with its processes, but for a control group.
const StateRoot = "/run/portcullis-cluster"

// owner names a process over the reuse of its number: "PID-START", START being field 22 of /proc/PID/stat.
func owner(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The name in brackets may have spaces and brackets of its own; the third field follows the last bracket.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return "", fmt.Errorf("/proc/%d/stat: %d fields after the name, not 20 or more", pid, len(fields))
	}
	return fmt.Sprintf("%d-%s", pid, fields[19]), nil
}

// alive says whether the process of an owner's name still runs, and its number.
func alive(name string) (pid int, runs bool) {
	number, _, _ := strings.Cut(name, "-")
	pid, err := strconv.Atoi(number)
	if err != nil {
		return 0, false
	}
	now, err := owner(pid)
	return pid, err == nil && now == name
}

// newState makes the folder of this process.
func newState() (string, error) {
	name, err := owner(os.Getpid())
	if err != nil {
		return "", fmt.Errorf("own process: %w", err)
	}
	folder := filepath.Join(StateRoot, name)
	err = os.MkdirAll(folder, 0o700)
	// The sweep of another run removes the root where it is empty, as it may be half-way through this.
	for try := 0; errors.Is(err, os.ErrNotExist) && try < 10; try++ {
		err = os.MkdirAll(folder, 0o700)
	}
	if err != nil {
		return "", fmt.Errorf("state of this run: %w", err)
	}
	return folder, nil
}

// removeState removes the folder of a run that has ended, and its control group.
func removeState(folder string) error {
	group, err := os.ReadFile(filepath.Join(folder, groupFile))
	if err == nil {
		err = removeGroup(string(group))
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.RemoveAll(folder)
}

// Sweep removes what runs have left whose process is gone: their folder and their control group.
func Sweep() error { return sweep(StateRoot) }

func sweep(root string) error {
	entries, err := os.ReadDir(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("states of runs: %w", err)
	}
	for _, entry := range entries {
		if _, runs := alive(entry.Name()); !runs {
			if err := removeState(filepath.Join(root, entry.Name())); err != nil {
				return fmt.Errorf("a run that is gone: %w", err)
			}
		}
	}
	// Fails where another run is there, as it should.
	_ = os.Remove(root)
	return nil
}
