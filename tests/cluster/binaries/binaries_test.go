package binaries

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// source makes a folder with the modules of the components.
func source(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, module := range modules {
		if err := os.MkdirAll(filepath.Join(folder, module.folder), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"go.mod", "go.sum"} {
			if err := os.WriteFile(filepath.Join(folder, module.folder, name), []byte(name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return folder
}

func TestWhatIsBuiltHasANewPlaceWhenAnythingChanges(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	from := source(t)
	seen := []string{}
	for _, change := range []string{"", "components/go.sum", "components/coredns/go.mod", "components/coredns/main.go"} {
		if change != "" {
			if err := os.WriteFile(filepath.Join(from, change), []byte("changed"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		folder, err := Folder(from)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(folder, cache+"/portcullis-cluster/") || slices.Contains(seen, folder) {
			t.Errorf("after a change of %q: %s; before: %v", change, folder, seen)
		}
		if again, err := Folder(from); again != folder || err != nil {
			t.Errorf("once %s, once %s, %v", folder, again, err)
		}
		seen = append(seen, folder)
	}
	if _, err := Folder(t.TempDir()); err == nil || !strings.Contains(err.Error(), "components/go.mod") {
		t.Errorf("a missing module is not named: %v", err)
	}
}

func TestOnlyAllComponentsAreComplete(t *testing.T) {
	folder := t.TempDir()
	for _, module := range modules {
		for name := range module.programs {
			if complete(folder) {
				t.Errorf("complete without %s", name)
			}
			if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !complete(folder) {
		t.Error("not complete with everything")
	}
}

func TestASecondBuildWaitsForTheFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(path, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	var told bytes.Buffer
	second := make(chan error)
	go func() {
		unlock, err := lock(path, &told)
		if err == nil {
			unlock()
		}
		second <- err
	}()
	select {
	case err := <-second:
		t.Fatalf("the second did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	unlock()
	if err := <-second; err != nil || !strings.Contains(told.String(), "waiting") {
		t.Errorf("the second: %v, told %q", err, told.String())
	}
}

func TestKubernetesIsToldItsVersion(t *testing.T) {
	with := strings.Join(flags("v1.37.2"), " ")
	if !strings.Contains(with, "gitVersion=v1.37.2") || !strings.Contains(with, "gitMinor=37") {
		t.Errorf("%s", with)
	}
	if without := strings.Join(flags(""), " "); strings.Contains(without, "gitVersion") {
		t.Errorf("%s", without)
	}
}
