package front

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// upFile, in the folder of a run, marks the one that `up` has started and that `down` ends.
const upFile = "up"

// Up starts a cluster that stays, and says how to use it.
func Up(options Options) error {
	if err := Sweep(); err != nil {
		return err
	}
	if name, ok := standing(); ok {
		printUse(filepath.Join(StateRoot, name))
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("own program: %w", err)
	}
	arguments := []string{"run", "--detached"}
	for flag, value := range map[string]string{
		"--images": options.Images, "--logs": options.Logs, "--kubeconfig-out": options.KubeconfigOut,
	} {
		if value != "" {
			arguments = append(arguments, flag, value)
		}
	}
	command := exec.Command(program, arguments...)
	command.Stderr = os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	output, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err != nil {
		return errors.Join(errors.New("the cluster did not start"), command.Wait())
	}
	var announcement Announcement
	if err := json.Unmarshal(line, &announcement); err != nil {
		return fmt.Errorf("cluster: %q: %w", line, err)
	}
	folder := filepath.Dir(announcement.Kubeconfig)
	if err := os.WriteFile(filepath.Join(folder, upFile), line, 0o600); err != nil {
		return err
	}
	printUse(folder)
	return nil
}

// Down ends the cluster of `up` and waits until it is gone. Where there is none it only sweeps.
func Down() error {
	if name, ok := standing(); ok {
		pid, _ := alive(name)
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			return fmt.Errorf("cluster, process %d: %w", pid, err)
		}
		deadline := time.Now().Add(time.Minute)
		for _, runs := alive(name); runs; _, runs = alive(name) {
			if time.Now().After(deadline) {
				return fmt.Errorf("cluster, process %d: still there a minute after SIGTERM", pid)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return Sweep()
}

// Ask sends a request to the cluster of `up` and prints the reply.
func Ask(request string) error {
	name, ok := standing()
	if !ok {
		return errors.New("no cluster is up: start tests/cluster/up")
	}
	connection, err := net.Dial("unix", filepath.Join(StateRoot, name, controlFile))
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	defer connection.Close()
	if _, err := fmt.Fprintln(connection, strings.ReplaceAll(request, "\n", " ")); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	line, err := bufio.NewReader(connection).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	os.Stdout.Write(line)
	var reply Reply
	if err := json.Unmarshal(line, &reply); err != nil {
		return fmt.Errorf("control socket: %q: %w", line, err)
	}
	if !reply.OK {
		return errors.New(reply.Error)
	}
	return nil
}

// standing returns the name of the run that `up` has started, if it is alive.
func standing() (string, bool) {
	marks, _ := filepath.Glob(filepath.Join(StateRoot, "*", upFile))
	for _, mark := range marks {
		name := filepath.Base(filepath.Dir(mark))
		if _, runs := alive(name); runs {
			return name, true
		}
	}
	return "", false
}

func printUse(folder string) {
	var announcement Announcement
	text, err := os.ReadFile(filepath.Join(folder, upFile))
	if err == nil {
		err = json.Unmarshal(text, &announcement)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
		return
	}
	fmt.Print(strings.NewReplacer(
		"KUBECONFIG_FILE", announcement.Kubeconfig, "BINARIES", announcement.Binaries,
		"NAMED", announcement.NamedNamespaces, "LOGS", announcement.Logs,
		"INSIDE", announcement.KubeconfigInside, "MS", fmt.Sprint(announcement.ReadyMS),
	).Replace(`The cluster was ready in MS ms.

    export KUBECONFIG=KUBECONFIG_FILE
    export PATH=BINARIES:$PATH
    kubectl get pods --all-namespaces

On a node, where pods and services are reached (node-a, node-b, or outside of the cluster):
    nsenter --net=NAMED/node-a curl http://ADDRESS-OF-A-SERVICE/
    (for kubectl there: KUBECONFIG=INSIDE)

Logs:    LOGS
Control: tests/cluster/cluster ask '{"do":"restart","name":"apiserver"}'
End:     tests/cluster/down
`))
}
