package front

import (
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"portcullis/tests/cluster/binaries"
	"portcullis/tests/cluster/supervise"
)

// BackendImage is the image of the HTTP server for tests, ../backend.
const BackendImage = "backend"

// loadImages reads the table of images, YAML or JSON, and adds those that every cluster has. Path "" is an empty table.
func loadImages(path, components, harness string) (map[string]supervise.Image, error) {
	images := map[string]supervise.Image{}
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("images: %w", err)
		}
		if err := yaml.UnmarshalStrict(text, &images); err != nil {
			return nil, fmt.Errorf("images %s: %w", path, err)
		}
	}
	for name, image := range images {
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
		if _, own := images[name]; !own {
			images[name] = supervise.Image{Command: []string{program}}
		}
	}
	return images, nil
}
