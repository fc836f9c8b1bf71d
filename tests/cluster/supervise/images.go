package supervise

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"

	"portcullis/tests/cluster/kubelet/images"
)

// imagesFile is the table of images. Nodes read it at each look.
const imagesFile = "images.json"

// addImages adds images to the table, so that a test can bring its own to a cluster that runs.
func addImages(added map[string]images.Image) error {
	text, err := os.ReadFile(path(imagesFile))
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	table := map[string]images.Image{}
	if err := json.Unmarshal(text, &table); err != nil {
		return fmt.Errorf("images: %w", err)
	}
	maps.Copy(table, added)
	return writeImages(table)
}

// writeImages replaces the table at once: a node never reads half of one.
func writeImages(table map[string]images.Image) error {
	text, err := json.MarshalIndent(table, "", "  ")
	if err != nil {
		return fmt.Errorf("images: %w", err)
	}
	scratch := path(imagesFile + ".new")
	if err := os.WriteFile(scratch, text, 0o600); err != nil {
		return fmt.Errorf("images: %w", err)
	}
	return os.Rename(scratch, path(imagesFile))
}
