package front

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"portcullis/tests/cluster/supervise"
)

// inside is the process that is PID 1 of the cluster, and the supervisor behind its standard streams.
type inside struct {
	process *exec.Cmd
	group   string
	mutex   sync.Mutex // one request at a time: replies come in the order of requests
	input   io.WriteCloser
	output  *bufio.Reader
}

// enter starts the cluster in namespaces of its own. The caller's thread must live as long as the cluster.
func enter(settings supervise.Settings, listener *net.TCPListener, group string) (*inside, error) {
	file, err := listener.File()
	if err != nil {
		return nil, fmt.Errorf("listener for the API server: %w", err)
	}
	defer file.Close()
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("own program: %w", err)
	}
	command := exec.Command(program, "init", group)
	command.Stderr = os.Stderr
	command.ExtraFiles = []*os.File{file}
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		// Nothing that this process has started outlives it, not even where it is killed.
		Pdeathsig: syscall.SIGKILL,
		// A Ctrl-C of a terminal is ours to handle.
		Setsid: true,
	}
	input, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("namespaces for the cluster: %w", err)
	}
	entered := &inside{
		process: command, group: group,
		input: input, output: bufio.NewReaderSize(output, 1<<20),
	}
	if _, err := input.Write(supervise.Line(settings)); err != nil {
		entered.end()
		return nil, fmt.Errorf("settings for the supervisor: %w", err)
	}
	return entered, nil
}

// ready waits until the cluster is up.
func (i *inside) ready() (supervise.Ready, error) {
	var ready supervise.Ready
	if err := i.read(&ready); err != nil {
		return ready, err
	}
	if ready.Error != "" {
		return ready, errors.New(ready.Error)
	}
	return ready, nil
}

// ask sends a request and returns the reply, with process ids as the machine sees them.
func (i *inside) ask(request supervise.Request) (supervise.Reply, error) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	_, err := i.input.Write(supervise.Line(request))
	if err != nil {
		return supervise.Reply{}, fmt.Errorf("supervisor: %w", err)
	}
	var reply supervise.Reply
	if err := i.read(&reply); err != nil {
		return reply, err
	}
	reply.PIDs, err = i.onMachine(reply.PIDs)
	return reply, err
}

func (i *inside) read(message any) error {
	line, err := i.output.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the supervisor ended: %w", err)
	}
	if err := json.Unmarshal(line, message); err != nil {
		return fmt.Errorf("supervisor: %q: %w", line, err)
	}
	return nil
}

// end kills PID 1, and the kernel everything else of its namespace before Wait returns.
func (i *inside) end() {
	// It may be gone already.
	_ = i.process.Process.Kill()
	_ = i.process.Wait()
}

// onMachine turns process ids of the cluster's namespace into those of the machine.
func (i *inside) onMachine(pids map[string]int) (map[string]int, error) {
	if len(pids) == 0 {
		return nil, nil
	}
	all, err := processes(i.process.Process.Pid, i.group)
	if err != nil {
		return nil, err
	}
	translated := map[string]int{}
	for name, pid := range pids {
		for _, process := range all {
			if process.inner == pid {
				translated[name] = process.PID
			}
		}
	}
	return translated, nil
}
