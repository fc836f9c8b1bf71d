package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// outputLimit is how much of a command's output is kept.
const outputLimit = 10 << 10

// Run runs a command in a running container until it ends or the context does, and returns its exit code and the
// beginning of its output.
//
// # Errors
//
// The command could not be executed, or was still running when the context ended.
func (running *Running) Run(ctx context.Context, process *Process) (int32, []byte, error) {
	outputRead, outputWrite, err := os.Pipe()
	if err != nil {
		return 0, nil, err
	}
	defer outputRead.Close()
	command, err := running.launchInside(process, streams{out: outputWrite, err: outputWrite})
	outputWrite.Close()
	if err != nil {
		return 0, nil, err
	}
	output := make(chan []byte, 1)
	go func() {
		var kept bytes.Buffer
		_, _ = io.CopyN(&kept, outputRead, outputLimit)
		output <- kept.Bytes()
		_, _ = io.Copy(io.Discard, outputRead)
	}()
	ended := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			_ = command.Kill()
		case <-ended:
		}
	}()
	state, err := command.Wait()
	close(ended)
	if err != nil {
		return 0, nil, err
	}
	// What the command left running may hold its output open: what is there by now is all that is told.
	_ = outputRead.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	code, _ := exitCode(state)
	if ctx.Err() != nil {
		return code, <-output, fmt.Errorf("command %q timed out: %w", process.Args, ctx.Err())
	}
	return code, <-output, nil
}

// launchInside forks from a thread that is in the namespaces of the container. The thread is not used again.
func (running *Running) launchInside(process *Process, streams streams) (*os.Process, error) {
	type result struct {
		process *os.Process
		err     error
	}
	results := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := running.joinNamespaces(); err != nil {
			results <- result{err: err}
			return
		}
		command, err := launch(ExecCommand, process, &syscall.SysProcAttr{Setsid: true, Setctty: streams.isTerminal}, streams, running.control)
		results <- result{command, err}
	}()
	got := <-results
	return got.process, got.err
}

func (running *Running) joinNamespaces() error {
	select {
	case <-running.done:
		return errors.New("container has ended")
	default:
	}
	// A mount namespace can be entered only by a thread that shares its folders with no other.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare folders: %w", err)
	}
	folder := fmt.Sprintf("/proc/%d/ns/", running.process.Pid)
	// The mount namespace is last: paths are those of the container from then on.
	kinds := []struct {
		name string
		kind int
	}{{"net", unix.CLONE_NEWNET}, {"ipc", unix.CLONE_NEWIPC}, {"uts", unix.CLONE_NEWUTS}, {"pid", unix.CLONE_NEWPID},
		{"mnt", unix.CLONE_NEWNS}}
	for _, entry := range kinds {
		if err := enterNamespace(folder+entry.name, entry.kind); err != nil {
			return err
		}
	}
	return nil
}
