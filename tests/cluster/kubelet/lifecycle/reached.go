package lifecycle

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"portcullis/tests/cluster/kubelet/container"
	"portcullis/tests/cluster/netns"
)

// Is says whether the pod has a name.
func (p *Pod) Is(namespace, name string) bool {
	return p.about.Namespace == namespace && p.about.Name == name
}

// Log returns the path of the log of a container that runs, and what is closed when all is in it.
//
// # Errors
//
// The container does not run.
func (p *Pod) Log(name string) (path string, ended <-chan struct{}, err error) {
	err = p.withRun(name, func(one *run) { path, ended = one.log, one.running.Done() })
	return path, ended, err
}

// Exec runs a command in a container, with the rights of the container: by a function that has one of the ways of
// [container.Running] to do so.
//
// # Errors
//
// The container does not run, or what the function says.
func (p *Pod) Exec(
	name string, command []string, way func(*container.Running, *container.Process) (int32, error),
) (code int32, err error) {
	var found *run
	if err := p.withRun(name, func(one *run) { found = one }); err != nil {
		return 0, err
	}
	process := found.process
	process.Args = command
	return way(found.running, &process)
}

// Dial connects to a port of the pod's own loopback.
//
// # Errors
//
// The pod has no network, or nobody listens there.
func (p *Pod) Dial(ctx context.Context, port uint16) (net.Conn, error) {
	var namespace string
	p.ask(func() {
		switch {
		case p.pod.Spec.HostNetwork:
			namespace = "/proc/self/ns/net"
		case p.attachment.Namespace != "":
			namespace = p.attachment.NamespacePath()
		}
	})
	if namespace == "" {
		return nil, fmt.Errorf("pod %s/%s has no network", p.about.Namespace, p.about.Name)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))
	return netns.Dial(namespace)(ctx, "tcp4", address)
}

// withRun has something done with a container that runs.
func (p *Pod) withRun(name string, function func(*run)) error {
	err := fmt.Errorf("container %q of pod %s/%s does not run", name, p.about.Namespace, p.about.Name)
	p.ask(func() {
		if one := p.runs[name]; one != nil {
			function(one)
			err = nil
		}
	})
	return err
}

// ask has something done by run and waits for it. Of a pod that is gone nothing is done.
func (p *Pod) ask(function func()) {
	answered := make(chan struct{})
	p.post(func() {
		function()
		close(answered)
	})
	select {
	case <-answered:
	case <-p.done:
	}
}
