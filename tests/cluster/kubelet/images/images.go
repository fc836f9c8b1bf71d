// Package images says which program of this machine stands for an image.
//
//	example.test/backend:1:
//	  command: [/srv/backend]      # ENTRYPOINT
//	  args: [--port, "8080"]       # CMD
//	  env: {LOG: debug}
//	  user: 65532                  # USER; root where it is left out
//	  directory: /srv              # WORKDIR
//	  mounts: [/mnt/build]         # other file systems that the program needs, read-only
//
// Programs run on the machine's own root, so an image has no files.
package images

import (
	"fmt"
	"os"
	"slices"

	"sigs.k8s.io/yaml"
)

// Image is what the table says of one image.
type Image struct {
	Command   []string          `json:"command"`
	Args      []string          `json:"args"`
	Env       map[string]string `json:"env"`
	User      int64             `json:"user"`
	Directory string            `json:"directory"`
	Mounts    []string          `json:"mounts"`
}

// Table is a file of images. It is read anew at each look, so that images can be added while nodes run.
type Table struct {
	Path string
}

// Find returns the image of a name; found is false where the table has none.
//
// # Errors
//
// The file cannot be read, has a key that is not known, or an image without a command.
func (table Table) Find(name string) (image Image, found bool, err error) {
	text, err := os.ReadFile(table.Path)
	if err != nil {
		return Image{}, false, err
	}
	images := map[string]Image{}
	if err := yaml.UnmarshalStrict(text, &images); err != nil {
		return Image{}, false, fmt.Errorf("%s: %w", table.Path, err)
	}
	image, found = images[name]
	if found && len(image.Command) == 0 {
		return Image{}, false, fmt.Errorf("%s: %q has no command", table.Path, name)
	}
	return image, found, nil
}

// Invocation returns the program and its arguments, as a runtime does with ENTRYPOINT and CMD: a command of the
// container replaces both.
func (image Image) Invocation(command, args []string) []string {
	if len(command) > 0 {
		return slices.Concat(command, args)
	}
	if len(args) > 0 {
		return slices.Concat(image.Command, args)
	}
	return slices.Concat(image.Command, image.Args)
}
