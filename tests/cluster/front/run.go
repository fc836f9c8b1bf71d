// Package front is the part of the test cluster that runs on the machine: it builds what is missing, starts the cluster
// in namespaces of its own, and is asked by tests and by developers.
package front

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"portcullis/tests/cluster/binaries"
	"portcullis/tests/cluster/plan"
	"portcullis/tests/cluster/supervise"
)

// Options of a run.
type Options struct {
	// Source is the folder tests/cluster, Harness has our own programs.
	Source, Harness string
	// Images is a file with the table of images, "" for none.
	Images string
	// KubeconfigOut is a further place for the kubeconfig, "" for none.
	KubeconfigOut string
	// Logs is a folder for the logs of the components, "" for one that ends with the cluster.
	Logs string
	// Detached runs until a signal, and not until standard input or the parent process ends.
	Detached bool
}

// Announcement is the line that a run prints when the cluster is ready.
type Announcement struct {
	// Kubeconfig is for the machine, KubeconfigInside for processes in the cluster's network namespaces.
	Kubeconfig       string `json:"kubeconfig"`
	KubeconfigInside string `json:"kubeconfig_inside"`
	// Namespace is the network namespace of the first node, from which services, pods and the API server are reached.
	Namespace  string            `json:"namespace"`
	Namespaces map[string]string `json:"namespaces"`
	// NamedNamespaces is the folder with all of them by name, also those of pods.
	NamedNamespaces string           `json:"named_namespaces"`
	Control         string           `json:"control"`
	Logs            string           `json:"logs"`
	Binaries        string           `json:"binaries"`
	PIDs            map[string]int   `json:"pids"`
	ReadyMS         int64            `json:"ready_ms"`
	Steps           []supervise.Step `json:"steps"`
}

// Run runs a cluster until it is asked to end. It leaves nothing behind.
func Run(options Options) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("the test cluster makes namespaces and needs root")
	}
	parent := os.Getppid()
	if options.Logs != "" {
		if options.Logs, err = prepareLogs(options.Logs); err != nil {
			return err
		}
	}
	if err := Sweep(); err != nil {
		return err
	}
	components, err := binaries.Ensure(options.Source, os.Stderr)
	if err != nil {
		return err
	}
	images, err := loadImages(options.Images, components, options.Harness)
	if err != nil {
		return err
	}
	// From here on there is something to clean up, so signals end in order. Who reads our output may go before us.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE)
	began := time.Now()
	state, err := newState()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeState(state), Sweep()) }()
	group, err := newGroup(state)
	if err != nil {
		return err
	}
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return fmt.Errorf("listener for the API server: %w", err)
	}
	cluster, err := enter(supervise.Settings{
		Binaries: components, Harness: options.Harness, Logs: options.Logs, Images: images,
		HostAPI: "https://" + listener.Addr().String(),
	}, listener, group)
	listener.Close()
	if err != nil {
		return err
	}
	defer cluster.end()

	var stdin <-chan string
	ended := make(chan string, 1)
	if !options.Detached {
		stdin = lines(os.Stdin)
		go watchParent(parent, ended)
	}
	ready := make(chan error, 1)
	var announcement Announcement
	go func() {
		message, err := cluster.ready()
		if err == nil {
			announcement, err = announce(cluster, message, state, components, options)
			announcement.ReadyMS = time.Since(began).Milliseconds()
		}
		ready <- err
	}()
	for {
		select {
		case err := <-ready:
			if err != nil {
				return err
			}
			control, err := listen(announcement.Control, cluster, ended)
			if err != nil {
				return err
			}
			defer control.Close()
			os.Stdout.Write(supervise.Line(announcement))
		case line, open := <-stdin:
			if !open {
				return nil
			}
			if strings.TrimSpace(line) != "" {
				reply := answer(cluster, line, ended)
				os.Stdout.Write(supervise.Line(reply))
			}
		case <-signals:
			return nil
		case reason := <-ended:
			fmt.Fprintf(os.Stderr, "cluster: ends: %s\n", reason)
			return nil
		}
	}
}

// prepareLogs makes the folder of the logs. The cluster has a /run of its own, and would not see one of the machine's.
func prepareLogs(folder string) (string, error) {
	absolute, err := filepath.Abs(folder)
	if err != nil {
		return "", fmt.Errorf("logs: %w", err)
	}
	if strings.HasPrefix(absolute+"/", "/run/") || strings.HasPrefix(absolute+"/", "/var/run/") {
		return "", fmt.Errorf("logs: %s is below /run, which the cluster has for itself", absolute)
	}
	if err := os.MkdirAll(absolute, 0o755); err != nil {
		return "", fmt.Errorf("logs: %w", err)
	}
	return absolute, nil
}

// announce writes the kubeconfigs and tells where everything is.
func announce(cluster *inside, ready supervise.Ready, state, components string, options Options) (Announcement, error) {
	init := cluster.process.Process.Pid
	named := namedNamespaces(init)
	pids, err := cluster.onMachine(ready.PIDs)
	if err != nil {
		return Announcement{}, err
	}
	announcement := Announcement{
		Kubeconfig:       filepath.Join(state, "kubeconfig"),
		KubeconfigInside: filepath.Join(state, "kubeconfig-inside"),
		Namespaces: map[string]string{
			"core":           fmt.Sprintf("/proc/%d/ns/net", init),
			plan.OutsideName: filepath.Join(named, plan.OutsideName),
		},
		NamedNamespaces: named,
		Control:         filepath.Join(state, controlFile),
		Logs:            options.Logs,
		Binaries:        components,
		PIDs:            pids,
		Steps:           ready.Steps,
	}
	for _, node := range plan.Nodes() {
		announcement.Namespaces[node.Name] = filepath.Join(named, node.Name)
	}
	announcement.Namespace = announcement.Namespaces[plan.Nodes()[0].Name]
	if announcement.Logs == "" {
		announcement.Logs = fmt.Sprintf("/proc/%d/root%s/logs", init, supervise.Folder)
	}
	texts := map[string]string{
		announcement.Kubeconfig:       ready.Kubeconfig,
		announcement.KubeconfigInside: ready.InsideKubeconfig,
	}
	if options.KubeconfigOut != "" {
		texts[options.KubeconfigOut] = ready.Kubeconfig
	}
	for file, text := range texts {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return announcement, fmt.Errorf("kubeconfig: %w", err)
		}
	}
	return announcement, nil
}

// lines reads lines until the end of a stream.
func lines(stream io.Reader) <-chan string {
	read := make(chan string)
	go func() {
		defer close(read)
		scanner := bufio.NewScanner(stream)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			read <- scanner.Text()
		}
		if err := scanner.Err(); err != nil {
			fmt.Fprintf(os.Stderr, "cluster: requests: %v\n", err)
		}
	}()
	return read
}

// watchParent tells when the process that started this one is gone. A signal at a parent's death is no way to know: it
// comes when the parent's thread ends, and tests run on threads.
func watchParent(parent int, ended chan<- string) {
	for os.Getppid() == parent {
		time.Sleep(200 * time.Millisecond)
	}
	ended <- "its parent process is gone"
}
