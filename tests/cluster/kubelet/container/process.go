package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Running is a container that was started.
type Running struct {
	process *os.Process
	control *controlGroup
	logged  <-chan struct{} // closed when all that it said is in the log
	done    chan struct{}
	exit    Exit
}

// Exit says how a container ended.
type Exit struct {
	// Code is that of the program, or 128 and the number of the signal that ended it.
	Code int32
	// Signal ended the program, where it is not 0.
	Signal int32
	// OutOfMemory is set where the kernel killed the program, or one that it started, for the memory limit.
	OutOfMemory bool
	At          time.Time
}

// Done is closed when the container, and everything in it, has ended.
func (running *Running) Done() <-chan struct{} { return running.done }

// Exit says how it ended, once Done is closed.
func (running *Running) Exit() Exit { return running.exit }

// Signal sends a signal to the program. A container that has ended takes it silently.
func (running *Running) Signal(signal syscall.Signal) {
	_ = running.process.Signal(signal)
}

// start starts a container whose output goes to log, and returns when its program runs. The log is closed at its end.
//
// There is a pipe between them, as with other runtimes: what opens /dev/stdout again would empty a file.
func start(spec *Spec, control *controlGroup, log *os.File) (*Running, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, control.remove(), log.Close())
	}
	logged := make(chan struct{})
	go func() {
		_, _ = io.Copy(log, read)
		read.Close()
		log.Close()
		close(logged)
	}()
	defer write.Close()
	// The program may open it again by its name in /proc.
	if err := write.Chown(int(spec.Process.User), int(spec.Process.Group)); err != nil {
		return nil, errors.Join(err, control.remove())
	}
	attributes := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Setsid:     true,
	}
	process, err := launch(InitCommand, spec, attributes, streams{out: write, err: write}, control)
	if err != nil {
		return nil, errors.Join(err, control.remove())
	}
	running := &Running{process: process, control: control, logged: logged, done: make(chan struct{})}
	go running.wait()
	return running, nil
}

func (running *Running) wait() {
	state, err := running.process.Wait()
	running.exit = Exit{Code: 255, At: time.Now(), OutOfMemory: running.control.outOfMemory()}
	if err == nil {
		running.exit.Code, running.exit.Signal = exitCode(state)
	}
	_ = running.control.remove()
	<-running.logged // nobody is left to write
	close(running.done)
}

func exitCode(state *os.ProcessState) (code, signal int32) {
	status, _ := state.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int32(status.Signal()), int32(status.Signal())
	}
	return int32(status.ExitStatus()), 0
}

// binaryDescriptor is that of this binary in a process that becomes part of a container: the root of a container need
// not have the file.
const binaryDescriptor = 5

// ownBinary stays open, so that the file may be replaced on disk meanwhile.
var ownBinary = sync.OnceValues(func() (*os.File, error) { return os.Open("/proc/self/exe") })

// streams are standard input, output and error of a process. What is nil is /dev/null.
type streams struct {
	in, out, err *os.File
	// isTerminal says that they are a terminal, which is to be that of the process.
	isTerminal bool
}

func (streams streams) files(null *os.File) []*os.File {
	files := []*os.File{streams.in, streams.out, streams.err}
	for i, file := range files {
		if file == nil {
			files[i] = null
		}
	}
	return files
}

// launch runs this binary as command, tells it what to be, and waits until it is that or says why not.
func launch(
	command string, subject any, attributes *syscall.SysProcAttr, streams streams, control *controlGroup,
) (*os.Process, error) {
	binary, err := ownBinary()
	if err != nil {
		return nil, err
	}
	specRead, specWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer specRead.Close()
	defer specWrite.Close()
	errorRead, errorWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer errorRead.Close()
	defer errorWrite.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	path := fmt.Sprintf("/proc/self/fd/%d", binaryDescriptor)
	process, err := os.StartProcess(path, []string{"kubelet", command}, &os.ProcAttr{
		Env:   []string{"GOMAXPROCS=1"},
		Files: append(streams.files(null), specRead, errorWrite, binary),
		Sys:   attributes,
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", command, err)
	}
	if err := instruct(process, subject, specWrite, errorWrite, errorRead, control); err != nil {
		_ = process.Kill()
		_, _ = process.Wait()
		return nil, err
	}
	return process, nil
}

// instruct tells a process what to be. It waits for that, so that a control group is joined before anything happens.
func instruct(
	process *os.Process, subject any, specWrite, errorWrite, errorRead *os.File, control *controlGroup,
) error {
	errorWrite.Close()
	if err := control.add(process.Pid); err != nil {
		return err
	}
	if err := json.NewEncoder(specWrite).Encode(subject); err != nil {
		return fmt.Errorf("tell process %d what to run: %w", process.Pid, err)
	}
	specWrite.Close()
	message, err := io.ReadAll(errorRead)
	if err != nil {
		return err
	}
	if len(message) > 0 {
		return errors.New(string(message))
	}
	return nil
}
