package container

import (
	"context"
	"io"
	"os"
	"sync"
	"time"
)

// Stream runs a command in a running container until it ends or the context does, and returns its exit code. What it
// says goes to output and problems as it comes, and it is told what is read of input; any of them may be nil.
//
// A command whose output is not taken any more gets SIGPIPE, and one that reads its input comes to the end of it.
//
// # Errors
//
// The command could not be executed, or was still running when the context ended.
func (running *Running) Stream(
	ctx context.Context, process *Process, input io.Reader, output, problems io.Writer,
) (int32, error) {
	var streams streams
	var theirs, outputs []*os.File // ends of pipes: the command's, and those that it is heard by
	var copies sync.WaitGroup
	var begin []func()
	closeTheirs := func() {
		for _, file := range theirs {
			file.Close()
		}
		theirs = nil
	}
	defer closeTheirs()
	defer func() {
		for _, file := range outputs {
			file.Close()
		}
	}()
	if input != nil {
		read, write, err := os.Pipe()
		if err != nil {
			return 0, err
		}
		streams.in, theirs = read, append(theirs, read)
		defer write.Close()
		begin = append(begin, func() {
			// Nobody waits for it: an input may have no end of its own.
			go func() {
				_, _ = io.Copy(write, input)
				write.Close()
			}()
		})
	}
	hear := func(to io.Writer) (*os.File, error) {
		if to == nil {
			return nil, nil
		}
		read, write, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		theirs, outputs = append(theirs, write), append(outputs, read)
		begin = append(begin, func() {
			copies.Go(func() {
				_, _ = io.Copy(to, read)
				read.Close()
			})
		})
		return write, nil
	}
	var err error
	if streams.out, err = hear(output); err != nil {
		return 0, err
	}
	if streams.err, err = hear(problems); err != nil {
		return 0, err
	}
	command, err := running.launchInside(process, streams)
	closeTheirs()
	if err != nil {
		return 0, err
	}
	for _, start := range begin {
		start()
	}
	stop := context.AfterFunc(ctx, func() { _ = command.Kill() })
	defer stop()
	state, err := command.Wait()
	if err != nil {
		return 0, err
	}
	// What the command left running may hold its output open.
	for _, file := range outputs {
		_ = file.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	}
	copies.Wait()
	code, _ := exitCode(state)
	return code, ctx.Err()
}
