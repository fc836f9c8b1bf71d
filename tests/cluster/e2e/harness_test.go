// Package e2e starts real clusters.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"portcullis/tests/cluster/running"
)

// start starts a cluster, which ends with the test.
func start(t *testing.T) *running.Cluster {
	t.Helper()
	logs := t.TempDir()
	// Before the cluster, so that it comes after its end.
	t.Cleanup(func() {
		if t.Failed() {
			printTails(t, logs)
		}
	})
	return running.Start(t, "../cluster", "--logs", logs)
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
