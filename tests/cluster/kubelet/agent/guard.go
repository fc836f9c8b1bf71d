package agent

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"portcullis/tests/cluster/kubelet/container"
	"portcullis/tests/cluster/kubelet/lifecycle"
	"portcullis/tests/cluster/kubelet/network"
)

// WorkerCommand is the first argument of the process that does the work.
const WorkerCommand = "worker"

// lockDescriptor is where the worker has the lock. It keeps it open for as long as it lives.
const lockDescriptor = 3

// shutdownPatience is how long the worker has to end by itself.
const shutdownPatience = 15 * time.Second

// Guard starts the worker as the first process of a process namespace, in a mount namespace of its own: when it ends, for
// whatever reason, the kernel ends what it started and takes its mounts away. What has a name on the machine (network
// namespaces, interfaces, control groups) and the folder of the node are cleaned up here, before and after.
//
//	kubelet (guard) --SIGTERM when it is asked to end, or killed--> worker --> containers
//
// A kubelet that is killed may still have a worker that ends its pods. The next one waits for it, by a lock that both hold.
func Guard(options *Options, args []string) error {
	lock, err := takeLock(options.Root)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := clean(options); err != nil {
		return fmt.Errorf("clean up after an earlier kubelet: %w", err)
	}
	if err := shareNamespaceFolder(); err != nil {
		return err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	// The death of this thread is what the worker is told of.
	runtime.LockOSThread()
	program, err := os.Executable()
	if err != nil {
		return err
	}
	worker := exec.Command(program, append([]string{WorkerCommand}, args...)...)
	worker.Stdout, worker.Stderr = os.Stdout, os.Stderr
	worker.ExtraFiles = []*os.File{lock} // lockDescriptor
	worker.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGTERM,
		Setpgid:    true, // ^C is for the guard, which asks the worker to end
	}
	if err := worker.Start(); err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- worker.Wait() }()
	asked := false
	for {
		select {
		case err := <-ended:
			if err == nil && !asked {
				err = errors.New("worker ended by itself")
			}
			return errors.Join(err, clean(options))
		case <-signals:
			if !asked {
				asked = true
				_ = worker.Process.Signal(syscall.SIGTERM)
				time.AfterFunc(shutdownPatience, func() { _ = worker.Process.Kill() })
			} else {
				_ = worker.Process.Kill()
			}
		}
	}
}

// takeLock waits until no other kubelet has the folder.
func takeLock(root string) (*os.File, error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(shutdownPatience + 5*time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return lock, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			lock.Close()
			return nil, fmt.Errorf("another kubelet has the folder %s: %w", root, err)
		}
	}
}

// clean takes away what a kubelet with this root has left. Logs stay.
func clean(options *Options) error {
	var problems []error
	files, err := filepath.Glob(filepath.Join(options.Root, "run", "*", lifecycle.NamespaceFile))
	problems = append(problems, err)
	for _, file := range files {
		name, err := os.ReadFile(file)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		uid := filepath.Base(filepath.Dir(file))
		attachment := network.Attachment{Namespace: string(name), Link: lifecycle.LinkName(uid)}
		problems = append(problems, attachment.Detach())
	}
	problems = append(problems, container.NewRuntime(options.prefix()).Clean())
	problems = append(problems, os.RemoveAll(filepath.Join(options.Root, "run")))
	return errors.Join(problems...)
}

// prefix is what names of this kubelet's on the machine begin with.
func (options *Options) prefix() string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(options.Root))
	return fmt.Sprintf("kubelet-%08x-", hash.Sum32())
}

// shareNamespaceFolder lets names of network namespaces that the worker makes be seen outside of its mount namespace, as
// iproute2 does.
func shareNamespaceFolder() error {
	folder := network.NamespaceFolder
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for range 2 {
		err := unix.Mount("", folder, "", unix.MS_SHARED|unix.MS_REC, "")
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("share %s: %w", folder, err)
		}
		// It is not a mount yet.
		if err := unix.Mount(folder, folder, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mount %s on itself: %w", folder, err)
		}
	}
	return fmt.Errorf("share %s: it is no mount, even after it was mounted on itself", folder)
}

// separateMounts keeps the mounts of the worker to itself, but for names of network namespaces.
func separateMounts() error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || strings.HasPrefix(fields[4], network.NamespaceFolder) {
			continue
		}
		path := unescape(fields[4])
		err := unix.Mount("", path, "", unix.MS_PRIVATE, "")
		// A mount that lies under another cannot be named.
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("make mount %s private: %w", path, err)
		}
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// unescape undoes the octal escapes of mountinfo (proc_pid_mountinfo(5)).
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
