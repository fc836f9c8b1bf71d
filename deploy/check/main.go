// Command check tells whether what lies in deploy/ would be accepted.
//
// Manifests (.yaml) are decoded strictly and validated against the OpenAPI
// schemas of Kubernetes, every pod template is held against the Pod Security
// Standard "restricted", and Dockerfiles are read by BuildKit's own parser and
// rules. Everything wrong is printed, and then the exit status is 1.
//
// Usage: check [-configs DIR] PATH...
//
// With -configs the Portcullis configuration inside ConfigMaps is also written
// to DIR, one folder for each, so that `portcullis check` can read it.
//
// It never talks to a cluster, a registry or a container engine.
package main

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	configs := flag.String("configs", "", "`folder` to write the ConfigMaps' files to")
	flag.Parse()

	manifests, err := newManifestChecker(*configs)
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(2)
	}
	checked, failed := 0, 0
	report := func(place string, problems []string) {
		checked++
		if len(problems) == 0 {
			fmt.Println("ok  ", place)
			return
		}
		failed++
		for _, problem := range problems {
			fmt.Printf("FAIL %s: %s\n", place, problem)
		}
	}
	for _, root := range flag.Args() {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			switch {
			case filepath.Base(path) == "kustomization.yaml":
				report(path, checkKustomization(path, text))
			case strings.HasSuffix(path, ".yaml"):
				return manifests.check(path, text, report)
			case strings.HasPrefix(filepath.Base(path), "Dockerfile"):
				report(path, checkDockerfile(text))
			}
			return nil
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, "check:", err)
			os.Exit(2)
		}
	}
	fmt.Printf("%d checked, %d with problems\n", checked, failed)
	if failed > 0 || checked == 0 {
		os.Exit(1)
	}
}
