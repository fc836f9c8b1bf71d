package front

import (
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"portcullis/tests/cluster/binaries"
	"portcullis/tests/cluster/kubelet/images"
)

// BackendImage is the image of the HTTP server for tests, ../backend.
const BackendImage = "backend"

// loadImages reads the table of images, YAML or JSON, and adds those that every cluster has. Path "" is an empty table.
func loadImages(path, components, harness string) (map[string]images.Image, error) {
	table := map[string]images.Image{}
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("images: %w", err)
		}
		if err := yaml.UnmarshalStrict(text, &table); err != nil {
			return nil, fmt.Errorf("images %s: %w", path, err)
		}
	}
	for name, image := range table {
		if len(image.Command) == 0 {
			return nil, fmt.Errorf("images %s: %s.command: is empty", path, name)
		}
		if !filepath.IsAbs(image.Command[0]) {
			return nil, fmt.Errorf("images %s: %s.command[0]: %q is not an absolute path", path, name, image.Command[0])
		}
		if _, err := os.Stat(image.Command[0]); err != nil {
			return nil, fmt.Errorf("images %s: %s.command[0]: %w", path, name, err)
		}
	}
	for name, program := range map[string]string{
		BackendImage:     filepath.Join(harness, "backend"),
		binaries.CoreDNS: filepath.Join(components, binaries.CoreDNS),
	} {
		if _, own := table[name]; !own {
			table[name] = images.Image{Command: []string{program}, Mounts: []string{filepath.Dir(program)}}
		}
	}
	return table, nil
}
