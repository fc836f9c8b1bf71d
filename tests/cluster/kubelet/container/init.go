package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Descriptors that the kubelet leaves to the process that becomes a container.
const (
	specDescriptor  = 3 // the Spec or Process, as JSON
	errorDescriptor = 4 // what went wrong; closed without a word when the program runs
)

// Init becomes the first process of a container. It returns only where that fails.
func Init() {
	become(func(spec *Spec) (*Process, error) {
		if err := spec.enter(); err != nil {
			return nil, err
		}
		return &spec.Process, nil
	})
}

// Exec becomes a process in a running container, in whose namespaces it already is. It returns only where that fails.
func Exec() {
	become(func(process *Process) (*Process, error) { return process, nil })
}

// become reads what to be, prepares for it and executes the program.
func become[T any](prepare func(*T) (*Process, error)) {
	// Namespaces, capabilities and filters are those of a thread, and execve keeps those of the caller.
	runtime.LockOSThread()
	unix.CloseOnExec(specDescriptor)
	unix.CloseOnExec(errorDescriptor)
	unix.CloseOnExec(binaryDescriptor)
	err := func() error {
		var subject T
		if err := json.NewDecoder(os.NewFile(specDescriptor, "spec")).Decode(&subject); err != nil {
			return fmt.Errorf("read what to run: %w", err)
		}
		process, err := prepare(&subject)
		if err != nil {
			return err
		}
		return process.execute()
	}()
	fmt.Fprint(os.NewFile(errorDescriptor, "errors"), err)
}

// enter moves into the namespaces and the root of the container.
func (spec *Spec) enter() error {
	if spec.NetworkNamespace != "" {
		if err := enterNamespace(spec.NetworkNamespace, unix.CLONE_NEWNET); err != nil {
			return err
		}
	}
	if err := spec.enterRoot(); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
		return fmt.Errorf("set host name %q: %w", spec.Hostname, err)
	}
	return nil
}

func enterNamespace(path string, kind int) error {
	descriptor, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open namespace %s: %w", path, err)
	}
	defer unix.Close(descriptor)
	if err := unix.Setns(descriptor, kind); err != nil {
		return fmt.Errorf("enter namespace %s: %w", path, err)
	}
	return nil
}

// execute takes the rights that the process shall not have, and executes the program.
func (process *Process) execute() error {
	directory := process.Directory
	if directory == "" {
		directory = "/"
	}
	if err := os.Chdir(directory); err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	program, err := process.program()
	if err != nil {
		return err
	}
	unix.Umask(0o022)
	if err := limitFiles(); err != nil {
		return err
	}
	if err := process.dropRights(); err != nil {
		return err
	}
	return fmt.Errorf("exec %s: %w", program, unix.Exec(program, process.Args, process.Env))
}

// program finds the file to execute, by the PATH of the container and not by that of the kubelet.
func (process *Process) program() (string, error) {
	name := process.Args[0]
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, variable := range process.Env {
		path, found := strings.CutPrefix(variable, "PATH=")
		if !found {
			continue
		}
		for _, folder := range filepath.SplitList(path) {
			candidate := filepath.Join("/", folder, name)
			if _, err := exec.LookPath(candidate); err == nil {
				return candidate, nil
			}
		}
	}
	return "", fmt.Errorf("exec: %q: executable file not found in $PATH", name)
}

// limitFiles lets the program have as many open files as a service of systemd, and thus of containerd: 1,024 until it asks
// for more. A machine that does not let the kubelet raise the limit keeps its own.
func limitFiles() error {
	limit := syscall.Rlimit{Cur: 1024, Max: 524288}
	err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	if errors.Is(err, unix.EPERM) {
		if err = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
			limit.Cur = min(1024, limit.Max)
			err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
		}
	}
	if err != nil {
		return fmt.Errorf("limit open files: %w", err)
	}
	return nil
}

// dropRights is in the only order that works: the filter needs rights to be loaded, and so does the change of the user.
func (process *Process) dropRights() error {
	if process.FilterSystemCalls {
		if err := filterSystemCalls(process.Capabilities); err != nil {
			return err
		}
	}
	if err := limitCapabilities(process.Capabilities); err != nil {
		return err
	}
	groups := make([]int, len(process.Supplemental))
	for i, group := range process.Supplemental {
		groups[i] = int(group)
	}
	user, group := int(process.User), int(process.Group)
	err := errors.Join(unix.Setgroups(groups), unix.Setresgid(group, group, group), unix.Setresuid(user, user, user))
	if err != nil {
		return fmt.Errorf("become user %d, group %d: %w", user, group, err)
	}
	if user == 0 {
		if err := setCapabilities(process.Capabilities); err != nil {
			return err
		}
	}
	if process.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no_new_privs: %w", err)
		}
	}
	return nil
}
