// Command cluster runs a Kubernetes cluster for tests on one machine, in namespaces that end with it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"portcullis/tests/cluster/binaries"
	"portcullis/tests/cluster/front"
	"portcullis/tests/cluster/supervise"
)

const usage = `usage: cluster COMMAND [OPTIONS]

  build   builds the control plane where it is not in the cache, and prints its folder
  run     runs a cluster until standard input ends, a signal comes or the parent process is gone;
          prints one line of JSON when it is ready, and answers requests on standard input and on a socket
  up      starts a cluster that stays, and prints how to use it
  ask     sends a request to it, such as '{"do":"kill","name":"apiserver"}'
  down    ends it

options of run and up:
  --images FILE           YAML or JSON: image name -> {command: [...], env: {...}}
  --kubeconfig-out FILE   a further place for the kubeconfig
  --logs DIR              keeps the logs of the components there
`

func init() {
	// The cluster's first process is killed when the thread ends that made it: this one, which lives to the end.
	runtime.LockOSThread()
}

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
		os.Exit(1)
	}
}

func command(arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("no command given\n" + usage)
	}
	switch name, rest := arguments[0], arguments[1:]; name {
	case "init":
		if len(rest) != 1 {
			return errors.New("init: takes the folder of a control group")
		}
		return supervise.Init(rest[0])
	case "supervise":
		return supervise.Supervise()
	case "build":
		options, err := parse(name, rest)
		if err != nil {
			return err
		}
		folder, err := binaries.Ensure(options.Source, os.Stderr)
		if err == nil {
			fmt.Println(folder)
		}
		return err
	case "run":
		options, err := parse(name, rest)
		if err != nil {
			return err
		}
		return front.Run(options)
	case "up":
		options, err := parse(name, rest)
		if err != nil {
			return err
		}
		return front.Up(options)
	case "ask":
		if len(rest) != 1 {
			return errors.New(`ask: takes one request, such as '{"do":"pids"}'`)
		}
		return front.Ask(rest[0])
	case "down":
		return front.Down()
	default:
		return fmt.Errorf("%q is not a command\n%s", name, usage)
	}
}

func parse(name string, arguments []string) (front.Options, error) {
	var options front.Options
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(flags.Output(), usage) }
	flags.StringVar(&options.Images, "images", "", "")
	flags.StringVar(&options.KubeconfigOut, "kubeconfig-out", "", "")
	flags.StringVar(&options.Logs, "logs", "", "")
	flags.BoolVar(&options.Detached, "detached", false, "")
	if err := flags.Parse(arguments); err != nil {
		return options, err
	}
	if flags.NArg() > 0 {
		return options, fmt.Errorf("%s: %q is not an option", name, flags.Arg(0))
	}
	// The script that starts this program says where its sources are; our other programs lie beside it.
	options.Source = os.Getenv("PORTCULLIS_CLUSTER_SOURCE")
	if options.Source == "" {
		return options, errors.New("PORTCULLIS_CLUSTER_SOURCE is not set to the folder tests/cluster: start tests/cluster/cluster")
	}
	program, err := os.Executable()
	if err != nil {
		return options, fmt.Errorf("own program: %w", err)
	}
	options.Harness = filepath.Dir(program)
	return options, nil
}
