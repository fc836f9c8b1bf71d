package front

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// ended returns the name of a process that has ended.
func ended(t *testing.T) string {
	t.Helper()
	command := exec.Command("sleep", "60")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	name, err := owner(command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if _, runs := alive(name); !runs {
		t.Errorf("%s runs and is taken for dead", name)
	}
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	command.Wait()
	return name
}

func TestAProcessIsKnownOverTheReuseOfItsNumber(t *testing.T) {
	if name := ended(t); func() bool { _, runs := alive(name); return runs }() {
		t.Errorf("%s has ended and is taken for alive", name)
	}
	if _, runs := alive(fmt.Sprintf("%d-1", os.Getpid())); runs {
		t.Error("this process was not started at the first tick of the machine")
	}
	if _, runs := alive("nonsense"); runs {
		t.Error("a name that is none is alive")
	}
}

func TestASweepTakesWhatIsLeftAndNothingElse(t *testing.T) {
	root := filepath.Join(t.TempDir(), "runs")
	own, err := owner(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	gone := ended(t)
	group := filepath.Join(t.TempDir(), "group")
	for _, folder := range []string{filepath.Join(root, own), filepath.Join(root, gone), filepath.Join(group, "pod")} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, gone, groupFile), []byte(group), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sweep(root); err != nil {
		t.Fatal(err)
	}
	for path, left := range map[string]bool{filepath.Join(root, own): true, filepath.Join(root, gone): false, group: false} {
		if _, err := os.Stat(path); (err == nil) != left {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := os.Remove(filepath.Join(root, own)); err != nil {
		t.Fatal(err)
	}
	if err := sweep(root); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(root); err == nil {
		t.Error("the last sweep leaves an empty folder")
	}
	if err := sweep(root); err != nil {
		t.Errorf("where nothing ever ran: %v", err)
	}
}
