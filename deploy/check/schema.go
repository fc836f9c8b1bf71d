package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gvk "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	kyaml "sigs.k8s.io/yaml"
)

// The schemas come from the files of a Go module, which a registry serves; its
// code is not built, since it pulls in a whole API server. The release is the
// newest that it has.
const (
	schemaModule  = "sigs.k8s.io/kubectl-validate@v0.0.4"
	schemaSum     = "h1:tGKuv0awYHn11Cb6KPsZKxUmHgavF46K3NvVH0Nse9U="
	schemaFolder  = "pkg/openapiclient/builtins"
	schemaRelease = "1.30"
)

// schemas are the OpenAPI schemas of one Kubernetes release.
type schemas struct {
	folder   string
	compiler *jsonschema.Compiler
	loaded   map[string]map[gvk.GroupVersionKind]string
}

func loadSchemas() (*schemas, error) {
	command := exec.Command("go", "mod", "download", "-json", schemaModule)
	command.Dir = os.TempDir()
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go mod download %s: %w: %s", schemaModule, err, output)
	}
	var module struct{ Dir, Sum string }
	if err := json.Unmarshal(output, &module); err != nil {
		return nil, err
	}
	if module.Sum != schemaSum {
		return nil, fmt.Errorf("%s has the checksum %s, not %s", schemaModule, module.Sum, schemaSum)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft4)
	folder := filepath.Join(module.Dir, schemaFolder, schemaRelease)
	return &schemas{folder, compiler, map[string]map[gvk.GroupVersionKind]string{}}, nil
}

// decode returns an object as it was written. It is read into its Go type too,
// which refuses unknown and duplicate fields.
func decode(document []byte) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	text, err := kyaml.YAMLToJSONStrict(document)
	if err != nil {
		return object, err
	}
	if err := object.UnmarshalJSON(text); err != nil {
		return object, err
	}
	typed, err := scheme.Scheme.New(object.GroupVersionKind())
	if err != nil {
		return object, err
	}
	return object, kyaml.UnmarshalStrict(document, typed)
}

// validate holds an object against the schema of its kind.
func (s *schemas) validate(object *unstructured.Unstructured) error {
	kind := object.GroupVersionKind()
	file := filepath.Join(s.folder, "apis", kind.Group, kind.Version+".json")
	if kind.Group == "" {
		file = filepath.Join(s.folder, "api", kind.Version+".json")
	}
	names, err := s.load(file)
	if err != nil {
		return err
	}
	name, found := names[kind]
	if !found {
		return fmt.Errorf("no schema of Kubernetes %s is for %s", schemaRelease, kind)
	}
	schema, err := s.compiler.Compile("file://" + file + "#/components/schemas/" + name)
	if err != nil {
		return err
	}
	text, err := object.MarshalJSON()
	if err != nil {
		return err
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(instance)
}

// load hands one OpenAPI document to the compiler, once, and returns which of
// its schemas is for which kind.
func (s *schemas) load(file string) (map[gvk.GroupVersionKind]string, error) {
	if names, loaded := s.loaded[file]; loaded {
		return names, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var openapi struct {
		Components struct {
			Schemas map[string]struct {
				Kinds []gvk.GroupVersionKind `json:"x-kubernetes-group-version-kind"`
			}
		}
	}
	if err := json.Unmarshal(text, &openapi); err != nil {
		return nil, err
	}
	names := map[gvk.GroupVersionKind]string{}
	for name, schema := range openapi.Components.Schemas {
		if len(schema.Kinds) == 1 {
			names[schema.Kinds[0]] = name
		}
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	s.loaded[file] = names
	return names, s.compiler.AddResource("file://"+file, document)
}
