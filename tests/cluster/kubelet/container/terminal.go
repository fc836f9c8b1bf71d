package container

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Terminal runs a command in a running container with a terminal of its own until it ends or the context does, and
// returns its exit code. What it says goes to output, and it is told what is read of input; either may be nil. What
// tells of the size of the window gets a function that sets it, in columns and rows, and may go on until the command has
// ended.
//
// The terminal is one of the machine, which /dev/pts of the container does not list.
//
// # Errors
//
// The command could not be executed, or was still running when the context ended.
func (running *Running) Terminal(
	ctx context.Context, process *Process, input io.Reader, output io.Writer, sizes func(set func(width, height uint16)),
) (int32, error) {
	ours, theirs, err := openTerminal()
	if err != nil {
		return 0, fmt.Errorf("terminal: %w", err)
	}
	defer ours.Close()
	command, err := running.launchInside(process, streams{in: theirs, out: theirs, err: theirs, isTerminal: true})
	theirs.Close()
	if err != nil {
		return 0, err
	}
	if output == nil {
		output = io.Discard
	}
	copied := make(chan struct{})
	go func() {
		// It ends with an error when nobody has the other end any more.
		_, _ = io.Copy(output, ours)
		close(copied)
	}()
	if input != nil {
		go func() { _, _ = io.Copy(ours, input) }()
	}
	go sizes(func(width, height uint16) { setSize(ours, width, height) })
	stop := context.AfterFunc(ctx, func() { _ = command.Kill() })
	defer stop()
	state, err := command.Wait()
	if err != nil {
		return 0, err
	}
	<-copied
	code, _ := exitCode(state)
	return code, ctx.Err()
}

// openTerminal makes a pseudo-terminal (pty(7)): the end of whoever sits at it, and that of a command.
func openTerminal() (ours, theirs *os.File, err error) {
	ours, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	var number int
	err = control(ours, func(descriptor int) (err error) {
		if err = unix.IoctlSetPointerInt(descriptor, unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(descriptor, unix.TIOCGPTN)
		}
		return err
	})
	if err == nil {
		theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		ours.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// setSize sets the size of a terminal; that of one which is closed is nobody's.
func setSize(terminal *os.File, width, height uint16) {
	_ = control(terminal, func(descriptor int) error {
		return unix.IoctlSetWinsize(descriptor, unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height})
	})
}

// control does something with the descriptor of a file, which stays what it is for reads with a deadline.
func control(file *os.File, function func(descriptor int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(descriptor uintptr) { result = function(int(descriptor)) }); err != nil {
		return err
	}
	return result
}
