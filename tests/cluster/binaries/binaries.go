// Package binaries builds the components of the control plane, once for each machine.
//
// They come from the Go modules of etcd, Kubernetes and CoreDNS, by the go.mod files under components/. What is built
// is kept in the user's cache, in a folder named by a hash of all that decides what it is, so that no clone and no
// `cargo clean` throws it away. A second caller waits for the first.
package binaries

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Names of the components, as files of the folder that Ensure returns.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Proxy             = "kube-proxy"
	Kubectl           = "kubectl"
	CoreDNS           = "coredns"
)

// module is one go.mod with the programs that are built from it in one `go build`, so that packages are shared.
type module struct {
	folder   string
	programs map[string]string // file name -> package
}

var modules = []module{
	{"components", map[string]string{
		Etcd:              "go.etcd.io/etcd/server/v3",
		APIServer:         "k8s.io/kubernetes/cmd/kube-apiserver",
		ControllerManager: "k8s.io/kubernetes/cmd/kube-controller-manager",
		Scheduler:         "k8s.io/kubernetes/cmd/kube-scheduler",
		Proxy:             "k8s.io/kubernetes/cmd/kube-proxy",
		Kubectl:           "k8s.io/kubernetes/cmd/kubectl",
	}},
	{"components/coredns", map[string]string{CoreDNS: "."}},
}

// Ensure returns the folder with all components, and builds them where they are not there.
// Source is the folder tests/cluster; progress goes to log.
func Ensure(source string, log io.Writer) (string, error) {
	folder, err := Folder(source)
	if err != nil {
		return "", err
	}
	if complete(folder) {
		return folder, nil
	}
	root := filepath.Dir(filepath.Dir(folder))
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("cache of components: %w", err)
	}
	unlock, err := lock(filepath.Join(root, "lock"), log)
	if err != nil {
		return "", err
	}
	defer unlock()
	if complete(folder) {
		return folder, nil
	}
	if err := build(source, folder, log); err != nil {
		return "", err
	}
	return folder, nil
}

// Folder is where the components of these go.mod files are, built or not.
func Folder(source string) (string, error) {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("cache of components: %w", err)
		}
		cache = filepath.Join(home, ".cache")
	}
	key, err := key(source)
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "portcullis-cluster", key, "bin"), nil
}

// key hashes what decides about the bytes of the components: their modules, our sources among them, and the compiler.
func key(source string) (string, error) {
	version, err := exec.Command("go", "env", "GOVERSION").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOVERSION: %w (is Go installed?)", err)
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s\n%v\n", version, flags(""))
	for _, module := range modules {
		for _, name := range []string{"go.mod", "go.sum", "main.go"} {
			text, err := os.ReadFile(filepath.Join(source, module.folder, name))
			if errors.Is(err, os.ErrNotExist) && name == "main.go" {
				continue // only tools
			}
			if err != nil {
				return "", fmt.Errorf("modules of the components: %w", err)
			}
			fmt.Fprintf(hash, "%s/%s %d\n%s", module.folder, name, len(text), text)
		}
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}

func complete(folder string) bool {
	for _, module := range modules {
		for name := range module.programs {
			if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
				return false
			}
		}
	}
	return true
}

// build makes everything in a folder beside the final one and renames it, so that half a build is never taken for one.
func build(source, folder string, log io.Writer) error {
	began := time.Now()
	parent := filepath.Dir(folder)
	scratch := parent + ".new"
	if err := os.RemoveAll(scratch); err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if err := os.MkdirAll(filepath.Join(scratch, "bin"), 0o755); err != nil {
		return err
	}
	fmt.Fprintf(log, "cluster: building the control plane into %s (minutes, once for each machine)\n", folder)
	for _, module := range modules {
		if err := buildModule(filepath.Join(source, module.folder), filepath.Join(scratch, "bin"), module.programs, log); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(parent); err != nil {
		return err
	}
	if err := os.Rename(scratch, parent); err != nil {
		return fmt.Errorf("built components: %w", err)
	}
	fmt.Fprintf(log, "cluster: built in %.0f s\n", time.Since(began).Seconds())
	return nil
}

func buildModule(source, target string, programs map[string]string, log io.Writer) error {
	began := time.Now()
	version := ""
	if list, err := exec.Command("go", "-C", source, "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes").Output(); err == nil {
		version = strings.TrimSpace(string(list))
	}
	arguments := append([]string{"-C", source, "build"}, flags(version)...)
	arguments = append(arguments, "-o", target+"/")
	for _, program := range programs {
		arguments = append(arguments, program)
	}
	command := exec.Command("go", arguments...)
	// Without cgo the programs need nothing of the machine.
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	command.Stdout, command.Stderr = log, log
	// It must not go on in a folder whose lock is free.
	command.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGTERM}
	if err := command.Run(); err != nil {
		return fmt.Errorf("go build in %s: %w", source, err)
	}
	// The command of etcd is the package `server/v3`, and is called so by `go build`.
	if _, ok := programs[Etcd]; ok {
		if err := os.Rename(filepath.Join(target, "server"), filepath.Join(target, Etcd)); err != nil {
			return fmt.Errorf("etcd: %w", err)
		}
	}
	fmt.Fprintf(log, "cluster: built %s in %.0f s\n", filepath.Base(source), time.Since(began).Seconds())
	return nil
}

// flags are those of `go build`. Kubernetes learns its version from the linker only.
func flags(kubernetes string) []string {
	linker := "-s -w"
	if parts := strings.Split(strings.TrimPrefix(kubernetes, "v"), "."); len(parts) == 3 {
		const path = "k8s.io/component-base/version."
		linker += fmt.Sprintf(" -X %sgitVersion=%s -X %sgitMajor=%s -X %sgitMinor=%s",
			path, kubernetes, path, parts[0], path, parts[1])
	}
	return []string{"-trimpath", "-buildvcs=false", "-ldflags=" + linker}
}

// lock takes a file lock; it is free again when its holder ends, however it does.
func lock(path string, log io.Writer) (func(), error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock of the cache: %w", err)
	}
	if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		fmt.Fprintf(log, "cluster: another build of the control plane is running, waiting for it\n")
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
			file.Close()
			return nil, fmt.Errorf("lock of the cache: %w", err)
		}
	}
	return func() { file.Close() }, nil
}
