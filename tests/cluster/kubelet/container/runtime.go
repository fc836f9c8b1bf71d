package container

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Runtime starts containers. What it makes of the machine's has names with its prefix.
type Runtime struct {
	prefix string
	memory *memoryController
	// Unbounded says why memory limits are not applied on this machine; nil where they are.
	Unbounded error
}

// Limits bound a container. What is 0 is not bounded.
type Limits struct {
	MemoryBytes int64
}

// NewRuntime makes a runtime. No two that run at once have the same prefix.
func NewRuntime(prefix string) *Runtime {
	runtime := &Runtime{prefix: prefix}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err == nil {
		runtime.memory, err = findMemoryController("/sys/fs/cgroup", own)
	}
	runtime.Unbounded = err
	return runtime
}

// Start starts a container whose output goes to log, which it closes, and returns when its program runs. The name is the
// container's own.
//
// # Errors
//
// What kept the program from being executed, as a container runtime would tell it.
func (runtime *Runtime) Start(name string, spec *Spec, limits Limits, log *os.File) (*Running, error) {
	var control *controlGroup
	if limits.MemoryBytes > 0 && runtime.memory != nil {
		var err error
		if control, err = runtime.memory.group(runtime.prefix+name, limits.MemoryBytes); err != nil {
			return nil, errors.Join(err, log.Close())
		}
	}
	return start(spec, control, log)
}

// Clean removes what an earlier runtime with this prefix left when it was killed.
func (runtime *Runtime) Clean() error {
	if runtime.memory == nil {
		return nil
	}
	folders, err := filepath.Glob(filepath.Join(runtime.memory.folder, runtime.prefix+"*"))
	for _, folder := range folders {
		// One that has processes is that of another kubelet, with the same root in other mounts.
		if problem := os.Remove(folder); !errors.Is(problem, unix.EBUSY) {
			err = errors.Join(err, problem)
		}
	}
	return err
}
