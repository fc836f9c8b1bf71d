package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"portcullis/tests/cluster/front"
)

func TestAKilledRunLeavesNothingBehindAfterTheNext(t *testing.T) {
	needRoot(t)
	before := machine(t)
	command := exec.Command("../cluster", "run")
	command.Stderr = os.Stderr
	if _, err := command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	// The first part of the folder's name is the process, which the script has become.
	var state, group string
	eventually(t, 10*time.Minute, "processes of the cluster", func() error {
		select {
		case err := <-ended:
			t.Fatalf("the cluster ended by itself: %v", err)
		default:
		}
		folders, _ := filepath.Glob(filepath.Join(front.StateRoot, strconv.Itoa(command.Process.Pid)+"-*"))
		if len(folders) == 0 {
			return os.ErrNotExist
		}
		state = folders[0]
		text, err := os.ReadFile(filepath.Join(state, "cgroup"))
		if err != nil {
			return err
		}
		group = string(text)
		if len(members(group)) < 4 {
			return os.ErrNotExist // etcd is the third below `init` and `supervise`
		}
		return nil
	})
	pids := map[string]int{}
	for _, pid := range members(group) {
		pids[pid], _ = strconv.Atoi(pid)
	}
	if err := command.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-ended
	eventually(t, 10*time.Second, "the end of the killed run's processes", func() error {
		if left := members(group); len(left) > 0 {
			return syscall.EBUSY
		}
		return nil
	})
	gone(t, pids)
	unchanged(t, before)
	if output, err := exec.Command("../down").CombinedOutput(); err != nil {
		t.Fatalf("down: %v: %s", err, output)
	}
	for _, path := range []string{state, group} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
}

// members are the processes of a control group.
func members(group string) []string {
	text, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text))
}
