package front

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"portcullis/tests/cluster/netns"
)

// Process is a process of the cluster, as the machine sees it.
type Process struct {
	PID     int      `json:"pid"`
	Command []string `json:"command"`
	// Namespace is the name of its network namespace: "core", a node, "outside" or that of a pod.
	Namespace string `json:"namespace"`

	inner int // its number in the cluster's PID namespace
}

// processes returns all processes of the cluster whose first one is init: those of its control group and below it.
func processes(init int, group string) ([]Process, error) {
	names, err := namespaceNames(init)
	if err != nil {
		return nil, err
	}
	var found []Process
	err = filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the group of a container that has ended meanwhile
		}
		if err != nil || entry.Name() != "cgroup.procs" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for number := range strings.FieldsSeq(string(text)) {
			if process, ok := describe(number, names); ok {
				found = append(found, process)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("processes of the cluster: %w", err)
	}
	return found, nil
}

// describe reads /proc of one process; it may have ended.
func describe(number string, names map[string]string) (Process, bool) {
	folder := filepath.Join("/proc", number)
	status, err := os.ReadFile(filepath.Join(folder, "status"))
	if err != nil {
		return Process{}, false
	}
	inner, ok := secondPID(status)
	if !ok {
		return Process{}, false
	}
	command, err := os.ReadFile(filepath.Join(folder, "cmdline"))
	if err != nil || len(command) == 0 {
		return Process{}, false // it has ended and waits to be reaped
	}
	network, err := os.Readlink(filepath.Join(folder, "ns/net"))
	if err != nil {
		return Process{}, false
	}
	pid, err := strconv.Atoi(number)
	return Process{
		PID: pid, Command: strings.Split(strings.TrimSuffix(string(command), "\x00"), "\x00"),
		Namespace: names[network], inner: inner,
	}, err == nil
}

// secondPID reads the second number of the line "NSpid:" of /proc/PID/status. The first is the process's number for us,
// the second is that in the namespace below ours, the cluster's.
func secondPID(status []byte) (int, bool) {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("NSpid:")); ok {
			fields := bytes.Fields(rest)
			if len(fields) < 2 {
				return 0, false
			}
			pid, err := strconv.Atoi(string(fields[1]))
			return pid, err == nil
		}
	}
	return 0, false
}

// namedNamespaces is the folder of the cluster's network namespaces.
func namedNamespaces(init int) string { return fmt.Sprintf("/proc/%d/root%s", init, netns.Folder) }

// namespaceNames maps what /proc/PID/ns/net points at to the names of the cluster's network namespaces.
func namespaceNames(init int) (map[string]string, error) {
	core, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", init))
	if err != nil {
		return nil, fmt.Errorf("the cluster: %w", err)
	}
	names := map[string]string{core: "core"}
	entries, err := os.ReadDir(namedNamespaces(init))
	if err != nil {
		return nil, fmt.Errorf("network namespaces of the cluster: %w", err)
	}
	for _, entry := range entries {
		info, err := os.Stat(filepath.Join(namedNamespaces(init), entry.Name()))
		if err != nil {
			continue // the pod has ended meanwhile
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			names[fmt.Sprintf("net:[%d]", stat.Ino)] = entry.Name()
		}
	}
	return names, nil
}
