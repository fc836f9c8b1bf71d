package volumes

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// File is a file of a volume that is made from objects of the API.
type File struct {
	Data []byte
	Mode fs.FileMode
	// User owns the file; 0 is root.
	User int
}

// Tree are files by their paths.
type Tree map[string]File

// dataLink is the link that is swapped: what is seen through it is all old or all new.
const dataLink = "..data"

// Write makes a folder show a tree, as a kubelet does:
//
//	tls.crt -> ..data/tls.crt
//	..data  -> ..2026_01_02_15_04_05.123     swapped by a rename
//	..2026_01_02_15_04_05.123/tls.crt
//
// Where the folder shows it already nothing happens, and changed is false. With a group other than 0 all of it belongs to
// that group, which may read it.
func (tree Tree) Write(folder string, group int) (changed bool, err error) {
	old, err := os.Readlink(filepath.Join(folder, dataLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if old != "" && tree.equals(filepath.Join(folder, old), group) {
		return false, nil
	}
	fresh, err := tree.writeFiles(folder, group)
	if err != nil {
		return false, errors.Join(err, os.RemoveAll(fresh))
	}
	swap := filepath.Join(folder, "..data_tmp")
	if err := os.Symlink(filepath.Base(fresh), swap); err != nil {
		return false, err
	}
	if err := os.Rename(swap, filepath.Join(folder, dataLink)); err != nil {
		return false, err
	}
	if err := tree.link(folder); err != nil {
		return true, err
	}
	if old != "" {
		return true, os.RemoveAll(filepath.Join(folder, old))
	}
	return true, nil
}

// writeFiles writes the files to a new folder and returns its path.
func (tree Tree) writeFiles(folder string, group int) (string, error) {
	fresh, err := os.MkdirTemp(folder, time.Now().UTC().Format("..2006_01_02_15_04_05."))
	if err != nil {
		return "", err
	}
	if err := makeFolder(fresh, group); err != nil {
		return fresh, err
	}
	for path, file := range tree {
		target := filepath.Join(fresh, path)
		if !filepath.IsLocal(path) {
			return fresh, fmt.Errorf("path %q leads out of the volume", path)
		}
		for _, parent := range parents(path) {
			if err := makeFolder(filepath.Join(fresh, parent), group); err != nil {
				return fresh, err
			}
		}
		if err := os.WriteFile(target, file.Data, 0o600); err != nil {
			return fresh, err
		}
		if err := os.Chown(target, file.User, group); err != nil {
			return fresh, err
		}
		// After chown, and regardless of the mask of the process.
		if err := os.Chmod(target, file.mode(group)); err != nil {
			return fresh, err
		}
	}
	return fresh, nil
}

func (file File) mode(group int) fs.FileMode {
	if group != 0 {
		return file.Mode | 0o440
	}
	return file.Mode
}

func makeFolder(path string, group int) error {
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if group == 0 {
		return os.Chmod(path, 0o755)
	}
	if err := os.Chown(path, 0, group); err != nil {
		return err
	}
	return os.Chmod(path, 0o755|fs.ModeSetgid)
}

// parents returns the folders of a path, outermost first.
func parents(path string) (folders []string) {
	for i, c := range path {
		if c == '/' {
			folders = append(folders, path[:i])
		}
	}
	return folders
}

// link makes the links that users see, and removes those of files that are gone.
func (tree Tree) link(folder string) error {
	names := map[string]bool{}
	for path := range tree {
		name, _, _ := strings.Cut(path, "/")
		names[name] = true
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "..") {
			continue
		}
		if names[entry.Name()] {
			delete(names, entry.Name())
		} else if err := os.Remove(filepath.Join(folder, entry.Name())); err != nil {
			return err
		}
	}
	for name := range names {
		if err := os.Symlink(filepath.Join(dataLink, name), filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	return nil
}

// equals says whether a folder has these files and no others.
func (tree Tree) equals(folder string, group int) bool {
	same := 0
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, wanted := tree[relative]
		if !wanted || info.Mode().Perm() != file.mode(group).Perm() || !bytes.Equal(data, file.Data) {
			return errDiffers
		}
		same++
		return nil
	})
	return err == nil && same == len(tree)
}

var errDiffers = errors.New("differs")
