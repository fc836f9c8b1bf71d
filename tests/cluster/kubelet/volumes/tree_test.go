package volumes

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func read1(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write1(t *testing.T, folder string, tree Tree) bool {
	t.Helper()
	changed, err := tree.Write(folder, 0)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func TestFilesAreSwappedTogetherAndOldOnesGo(t *testing.T) {
	folder := t.TempDir()
	file := func(text string) File { return File{Data: []byte(text), Mode: 0o644} }
	if !write1(t, folder, Tree{"a": file("1"), "sub/b": file("1")}) {
		t.Fatal("the first write changed nothing")
	}
	first, err := os.Readlink(filepath.Join(folder, dataLink))
	if err != nil {
		t.Fatal(err)
	}
	if write1(t, folder, Tree{"a": file("1"), "sub/b": file("1")}) {
		t.Fatal("the same files were written again")
	}
	// A file that is open, or mounted by subPath, stays as it was.
	held, err := os.Open(filepath.Join(folder, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if !write1(t, folder, Tree{"a": file("2"), "c": file("2")}) {
		t.Fatal("other files changed nothing")
	}
	if got := read1(t, filepath.Join(folder, "a")); got != "2" {
		t.Errorf("a is %q", got)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	now, _ := os.Readlink(filepath.Join(folder, dataLink))
	if want := []string{now, dataLink, "a", "c"}; !slices.Equal(names, want) || now == first {
		t.Errorf("folder has %q, not %q", names, want)
	}
	buffer := make([]byte, 8)
	if n, _ := held.Read(buffer); string(buffer[:n]) != "1" {
		t.Errorf("the open file became %q", buffer[:n])
	}
}

func TestAFileThatIsGoneOrHasAnotherModeIsAChange(t *testing.T) {
	folder := t.TempDir()
	write1(t, folder, Tree{"a": {Mode: 0o644}, "b": {Mode: 0o644}})
	if !write1(t, folder, Tree{"a": {Mode: 0o644}}) {
		t.Error("a file that is gone is no change")
	}
	if !write1(t, folder, Tree{"a": {Mode: 0o400}}) {
		t.Error("another mode is no change")
	}
	info, err := os.Stat(filepath.Join(folder, "a"))
	if err != nil || info.Mode().Perm() != 0o400 {
		t.Errorf("mode is %v (%v)", info.Mode(), err)
	}
}

func TestPathsDoNotLeaveTheVolume(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "volume")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := (Tree{"../../out": {}}).Write(folder, 0); err == nil {
		t.Fatal("a path out of the volume was written")
	}
	entries, _ := os.ReadDir(folder)
	if len(entries) != 0 {
		t.Errorf("left %v behind", entries)
	}
}

func TestTokensAreDueAfterAPartOfTheLifeThatWasAskedFor(t *testing.T) {
	asked := time.Unix(0, 0)
	hour, year, week := int64(3600), int64(365*24*3600), int64(7*24*3600)
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	for _, test := range []struct {
		expires time.Time
		seconds *int64
		want    int64
	}{
		{at(hour), &hour, 2880},
		{at(year), &hour, 2880},
		{at(hour), nil, 2880},
		{at(week), &week, 24 * 3600},
	} {
		if got := dueTime(asked, test.expires, test.seconds, 0.8); !got.Equal(at(test.want)) {
			t.Errorf("expires %v, asked for %d: due %v, not %v", test.expires, test.seconds, got, at(test.want))
		}
	}
}
