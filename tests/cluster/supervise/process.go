package supervise

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"portcullis/tests/cluster/netns"
)

// patience is how long a component that is asked to end may take before it is killed.
const patience = 10 * time.Second

// Process is one component: a command that can be started, stopped and started again.
type Process struct {
	Name string
	// Namespace is the name of the network namespace; "" is that of the control plane.
	Namespace string
	Command   []string
	Log       string
	// Healthy returns nil once the component does its work. May be nil.
	Healthy func() error

	mutex   sync.Mutex
	running *running
}

type running struct {
	command *exec.Cmd
	ended   chan struct{}
	wanted  bool // somebody asked for the end
}

// Start starts the component. Unexpected is called with a reason if it ends and nobody asked it to.
func (p *Process) Start(unexpected func(error)) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.running != nil {
		return fmt.Errorf("%s: is running already", p.Name)
	}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("%s: log: %w", p.Name, err)
	}
	defer log.Close()
	command := exec.Command(p.Command[0], p.Command[1:]...)
	command.Stdout, command.Stderr = log, log
	command.Dir = Folder
	start := command.Start
	if p.Namespace != "" {
		start = func() error { return netns.Do(filepath.Join(netns.Folder, p.Namespace), command.Start) }
	}
	if err := start(); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	started := &running{command: command, ended: make(chan struct{})}
	p.running = started
	go func() {
		err := command.Wait()
		p.mutex.Lock()
		wanted := started.wanted
		p.running = nil
		p.mutex.Unlock()
		close(started.ended)
		if !wanted {
			unexpected(fmt.Errorf("%s ended by itself (%v); the end of its log:\n%s", p.Name, err, tail(p.Log)))
		}
	}()
	return nil
}

// Stop ends the component and waits until it is gone: asked first, unless hard.
func (p *Process) Stop(hard bool) error {
	p.mutex.Lock()
	started := p.running
	if started == nil {
		p.mutex.Unlock()
		return fmt.Errorf("%s: is not running", p.Name)
	}
	started.wanted = true
	p.mutex.Unlock()
	if !hard {
		if err := started.command.Process.Signal(syscall.SIGTERM); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		select {
		case <-started.ended:
			return nil
		case <-time.After(patience):
		}
	}
	if err := started.command.Process.Kill(); err != nil && err != os.ErrProcessDone {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	<-started.ended
	return nil
}

// Signal sends a signal that does not end the component.
func (p *Process) Signal(signal syscall.Signal) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.running == nil {
		return fmt.Errorf("%s: is not running", p.Name)
	}
	if err := p.running.command.Process.Signal(signal); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return nil
}

// PID is the process id within the cluster's PID namespace, 0 where the component does not run.
func (p *Process) PID() int {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.running == nil {
		return 0
	}
	return p.running.command.Process.Pid
}

// WaitHealthy waits until the component does its work.
func (p *Process) WaitHealthy(limit time.Duration) error {
	if p.Healthy == nil {
		return nil
	}
	deadline := time.Now().Add(limit)
	for {
		err := p.Healthy()
		if err == nil {
			return nil
		}
		if p.PID() == 0 {
			return fmt.Errorf("%s: does not run any more; the end of its log:\n%s", p.Name, tail(p.Log))
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not healthy after %s: %w; the end of its log:\n%s", p.Name, limit, err, tail(p.Log))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// tail returns the last lines of a log, for an error message.
func tail(path string) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-15):], []byte("\n"))
}
