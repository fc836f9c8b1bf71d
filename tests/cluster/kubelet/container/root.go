package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// machineRoot is where the root of the machine is for as long as mounts are made.
const machineRoot = "/.machine"

// maskedPaths and readOnlyPaths are those of containerd: they tell of the machine, or change it.
var (
	maskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
	}
	readOnlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// enterRoot makes the root of the container and moves into it. The machine's root is its lower layer: there are no
// images, and programs of the machine run as they are. What the container writes goes to Layers.
func (spec *Spec) enterRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	root, upper, work := spec.layer("root"), spec.layer("upper"), spec.layer("work")
	for _, folder := range []string{root, upper, work} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	// Nothing of it outlives the container, so nothing need reach the disk.
	options := fmt.Sprintf("lowerdir=/,upperdir=%s,workdir=%s,volatile", upper, work)
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay (%s) on %s: %w", options, root, err)
	}
	if err := os.Mkdir(root+machineRoot, 0o700); err != nil {
		return err
	}
	if err := unix.PivotRoot(root, root+machineRoot); err != nil {
		return fmt.Errorf("pivot root to %s: %w", root, err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := spec.mountKernel(); err != nil {
		return err
	}
	for _, path := range spec.Reachable {
		if err := makeReachable(path); err != nil {
			return err
		}
	}
	for _, mount := range spec.Mounts {
		if err := mount.make(); err != nil {
			return err
		}
	}
	if err := unix.Unmount(machineRoot, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the machine's root: %w", err)
	}
	if err := os.Remove(machineRoot); err != nil {
		return err
	}
	if spec.ReadOnlyRoot {
		if err := remountReadOnly("/"); err != nil {
			return err
		}
	}
	return nil
}

func (spec *Spec) layer(name string) string { return filepath.Join(spec.Layers, name) }

// mountKernel mounts /proc, /sys and /dev.
func (spec *Spec) mountKernel() error {
	const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	sysFlags := uintptr(quiet)
	if !spec.Process.Privileged {
		sysFlags |= unix.MS_RDONLY
	}
	for _, mount := range []struct {
		kind, target string
		flags        uintptr
		options      string
	}{
		{"proc", "/proc", quiet, ""},
		{"sysfs", "/sys", sysFlags, ""},
		{"tmpfs", "/dev", unix.MS_NOSUID, "mode=755,size=64k"},
		{"devpts", "/dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"},
		{"tmpfs", "/dev/shm", quiet, "mode=1777,size=64m"},
		{"mqueue", "/dev/mqueue", quiet, ""},
	} {
		if err := os.MkdirAll(mount.target, 0o755); err != nil {
			return err
		}
		err := unix.Mount(mount.kind, mount.target, mount.kind, mount.flags, mount.options)
		// A kernel without message queues runs everything else.
		if err != nil && !(mount.kind == "mqueue" && errors.Is(err, unix.ENODEV)) {
			return fmt.Errorf("mount %s: %w", mount.target, err)
		}
	}
	if err := makeDevices(); err != nil {
		return err
	}
	if spec.Process.Privileged {
		return nil
	}
	for _, path := range readOnlyPaths {
		if err := bindItself(path); err != nil {
			return err
		}
	}
	for _, path := range maskedPaths {
		if err := mask(path); err != nil {
			return err
		}
	}
	return nil
}

func makeDevices() error {
	for _, device := range []struct {
		name         string
		major, minor uint32
	}{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}} {
		path := "/dev/" + device.name
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(device.major, device.minor))); err != nil {
			return fmt.Errorf("make %s: %w", path, err)
		}
		// The mask of the kubelet may have taken bits.
		if err := os.Chmod(path, 0o666); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
		"ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(target, "/dev/"+name); err != nil {
			return err
		}
	}
	return nil
}

func bindItself(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := unix.Mount(path, path, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s on itself: %w", path, err)
	}
	return remountReadOnly(path)
}

func mask(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = unix.Mount("tmpfs", path, "tmpfs", unix.MS_RDONLY, "size=0")
	} else {
		err = unix.Mount("/dev/null", path, "", unix.MS_BIND, "")
	}
	if err != nil {
		return fmt.Errorf("mask %s: %w", path, err)
	}
	return nil
}

// makeReachable lets every user descend to a path. Only the overlay's copy of a folder's mode changes: nothing else is
// mounted yet. What is not there comes with a mount, and its folders are made then.
func makeReachable(path string) error {
	path = filepath.Join("/", path)
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	for folder := filepath.Dir(path); folder != "/"; folder = filepath.Dir(folder) {
		info, err := os.Stat(folder)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o001 == 0 {
			if err := os.Chmod(folder, info.Mode().Perm()|0o111); err != nil {
				return err
			}
		}
	}
	return nil
}

// make makes a mount. Links in the target are followed by the kernel, within the root that is the container's already.
func (mount Mount) make() error {
	source := machineRoot + mount.Source
	if err := mountPoint(source, mount.Target); err != nil {
		return fmt.Errorf("mount %s on %s: %w", mount.Source, mount.Target, err)
	}
	if err := unix.Mount(source, mount.Target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", mount.Source, mount.Target, err)
	}
	if mount.ReadOnly {
		return remountReadOnly(mount.Target)
	}
	return nil
}

// mountPoint makes what a file or a folder can be mounted on.
func mountPoint(source, target string) error {
	info, err := os.Stat(source)
	if err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), machineRoot, ""))
	}
	if info.IsDir() {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	// The target may be a link that leads nowhere, as /etc/resolv.conf does on some machines.
	if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) {
		if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.WriteFile(target, nil, 0o644)
	}
	return nil
}

func remountReadOnly(path string) error {
	err := unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
	if err != nil {
		return fmt.Errorf("make %s read-only: %w", path, err)
	}
	return nil
}
