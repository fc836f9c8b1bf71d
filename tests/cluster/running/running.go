// Package running has a cluster for a test of this module: one that `cluster run` runs, and that ends with the test.
package running

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"portcullis/tests/cluster/front"
)

// Cluster is a cluster that runs for a test.
type Cluster struct {
	front.Announcement
	input  io.WriteCloser
	output *bufio.Reader
	ended  chan error
}

// Start starts a cluster by the script of this folder, with arguments of `cluster run`. It is skipped where it could not
// run, and ends with the test, which fails where the cluster does not end well.
func Start(t *testing.T, script string, arguments ...string) *Cluster {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a cluster makes namespaces, which needs root")
	}
	command := exec.Command(script, append([]string{"run"}, arguments...)...)
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	started := &Cluster{input: input, output: bufio.NewReader(output), ended: make(chan error, 1)}
	t.Cleanup(func() {
		input.Close()
		if err := <-started.ended; err != nil {
			t.Errorf("the cluster ended with %v", err)
		}
	})
	line, err := started.output.ReadBytes('\n')
	// Only now: it closes what is read from.
	go func() { started.ended <- command.Wait(); close(started.ended) }()
	if err != nil {
		t.Fatalf("the cluster did not start: %v", err)
	}
	if err := json.Unmarshal(line, &started.Announcement); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	t.Logf("ready after %d ms: %v", started.ReadyMS, started.Steps)
	return started
}

// Ask sends a request and fails the test if it was not done.
func (c *Cluster) Ask(t *testing.T, request string) front.Reply {
	t.Helper()
	if _, err := io.WriteString(c.input, request+"\n"); err != nil {
		t.Fatal(err)
	}
	line, err := c.output.ReadBytes('\n')
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	var reply front.Reply
	if err := json.Unmarshal(line, &reply); err != nil {
		t.Fatalf("%s: %q: %v", request, line, err)
	}
	if !reply.OK {
		t.Fatalf("%s: %s", request, reply.Error)
	}
	return reply
}

// End ends the cluster and waits until its process is gone.
func (c *Cluster) End(t *testing.T) {
	t.Helper()
	c.input.Close()
	select {
	case err := <-c.ended:
		if err != nil {
			t.Fatalf("the cluster ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the cluster has not ended 30 s after its input")
	}
}
