// Package e2e starts real clusters.
package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"portcullis/tests/cluster/front"
)

// run is a cluster that `cluster run` runs for a test.
type run struct {
	front.Announcement
	t      *testing.T
	input  io.WriteCloser
	output *bufio.Reader
	ended  chan error
}

// start starts a cluster, which ends with the test.
func start(t *testing.T) *run {
	t.Helper()
	logs := t.TempDir()
	command := exec.Command("../cluster", "run", "--logs", logs)
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
	started := &run{t: t, input: input, output: bufio.NewReader(output), ended: make(chan error, 1)}
	t.Cleanup(func() {
		input.Close()
		<-started.ended
		if t.Failed() {
			printTails(t, logs)
		}
	})
	line, err := started.output.ReadBytes('\n')
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

// ask sends a request and fails the test if it was not done.
func (r *run) ask(request string) front.Reply {
	r.t.Helper()
	if _, err := io.WriteString(r.input, request+"\n"); err != nil {
		r.t.Fatal(err)
	}
	line, err := r.output.ReadBytes('\n')
	if err != nil {
		r.t.Fatalf("%s: %v", request, err)
	}
	var reply front.Reply
	if err := json.Unmarshal(line, &reply); err != nil {
		r.t.Fatalf("%s: %q: %v", request, line, err)
	}
	if !reply.OK {
		r.t.Fatalf("%s: %s", request, reply.Error)
	}
	return reply
}

// end ends the cluster and waits until its process is gone.
func (r *run) end() {
	r.t.Helper()
	r.input.Close()
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Fatalf("the cluster ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		r.t.Fatal("the cluster has not ended 30 s after its input")
	}
}

// machine is what of the machine a cluster could leave something in.
func machine(t *testing.T) map[string]string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	links, err := os.ReadDir("/sys/class/net")
	if err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, link := range links {
		names += link.Name() + " "
	}
	rules, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, rules)
	}
	namespaces, _ := filepath.Glob("/run/netns/*")
	return map[string]string{
		"mounts": string(mounts), "links": names, "packet filter": string(rules),
		"network namespaces": strings.Join(namespaces, " "),
	}
}

// unchanged fails the test where the machine is not what it was.
func unchanged(t *testing.T, before map[string]string) {
	t.Helper()
	for name, now := range machine(t) {
		if now != before[name] {
			t.Errorf("%s were\n%s\nand are\n%s", name, before[name], now)
		}
	}
}

// gone fails the test where a process does not go.
func gone(t *testing.T, pids map[string]int) {
	t.Helper()
	if len(pids) == 0 {
		t.Error("there are no processes that could be gone")
	}
	for name, pid := range pids {
		// Whose parent was killed is reaped by another, in a moment.
		eventually(t, 10*time.Second, "the end of "+name, func() error {
			if syscall.Kill(pid, 0) == nil {
				return fmt.Errorf("process %d is still there", pid)
			}
			return nil
		})
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, limit time.Duration, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %s: %v", what, limit, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a cluster makes namespaces, which needs root")
	}
}

func printTails(t *testing.T, folder string) {
	logs, _ := filepath.Glob(filepath.Join(folder, "*.log"))
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		t.Logf("%s:\n%s", filepath.Base(log), strings.Join(lines[max(0, len(lines)-5):], "\n"))
	}
}
