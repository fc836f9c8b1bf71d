// Command kubelet runs the pods of one node of the test bed as processes of this machine. See the package
// portcullis/tests/cluster/kubelet.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"portcullis/tests/cluster/kubelet/agent"
	"portcullis/tests/cluster/kubelet/container"
)

func init() {
	// What becomes a container changes what belongs to the main thread.
	runtime.LockOSThread()
}

func main() {
	args := os.Args[1:]
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	switch command {
	case container.InitCommand:
		container.Init()
		os.Exit(1)
	case container.ExecCommand:
		container.Exec()
		os.Exit(1)
	case agent.WorkerCommand:
		args = args[1:]
	}
	options, err := agent.Parse(args)
	if err == nil {
		if command == agent.WorkerCommand {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			err = agent.Work(ctx, options)
		} else {
			err = agent.Guard(options, args)
		}
	}
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubelet:", err)
		os.Exit(1)
	}
}
