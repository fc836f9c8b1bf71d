// Package supervise runs the cluster from the inside: first process of a PID namespace, with mounts and a network of
// its own.
//
//	cluster run     on the machine: builds, waits, answers on a socket
//	  init          PID 1 of a namespace: mounts, reaps, and takes everything along when it ends
//	    supervise   starts and watches the components
//	      etcd, kube-apiserver, ... kubelet of each node
//	        pods
//
// Namespaces of processes, mounts and networks have no name on the machine. When PID 1 ends, for whatever reason, the
// kernel kills what runs under it and frees mounts, links and namespaces. No clean-up of ours has to run for that.
package supervise

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Folder is where everything of the running cluster is kept: a tmpfs that only its own processes see.
const Folder = "/run/cluster"

// Init is PID 1 of the cluster. It enters a control group, mounts, starts `supervise` with its own standard streams and further files, and ends
// with it.
func Init(group string) error {
	if os.Getpid() != 1 {
		return fmt.Errorf("init runs as the first process of a PID namespace, not as process %d", os.Getpid())
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("own program: %w", err)
	}
	// "0" is the process that writes.
	if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0); err != nil {
		return fmt.Errorf("control group: %w", err)
	}
	// What is mounted from here on stays here.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// All of /run, since iproute2 keeps the names of namespaces in /run/netns.
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	if err := os.MkdirAll(Folder, 0o755); err != nil {
		return err
	}
	child, err := os.StartProcess(program, []string{program, "supervise"}, &os.ProcAttr{
		Env:   os.Environ(),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, os.NewFile(3, "API listener")},
	})
	if err != nil {
		return fmt.Errorf("start supervise: %w", err)
	}
	// The child alone holds the streams now, so that its end is seen by who reads them.
	for _, file := range []*os.File{os.Stdin, os.Stdout, os.NewFile(3, "API listener")} {
		file.Close()
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait: %w", err)
		}
		if pid == child.Pid {
			os.Exit(status.ExitStatus())
		}
	}
}
