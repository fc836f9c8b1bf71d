package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	kyaml "sigs.k8s.io/yaml"
)

type manifestChecker struct {
	schemas     *schemas
	podSecurity policy.Evaluator
	configs     string
}

func newManifestChecker(configs string) (*manifestChecker, error) {
	schemas, err := loadSchemas()
	if err != nil {
		return nil, err
	}
	podSecurity, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		return nil, err
	}
	return &manifestChecker{schemas, podSecurity, configs}, nil
}

// check reports each object of one file.
func (c *manifestChecker) check(path string, text []byte, report func(string, []string)) error {
	split := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := split.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if isBlank(document) {
			continue
		}
		place, problems := c.checkObject(document)
		report(path+" "+place, problems)
	}
}

func (c *manifestChecker) checkObject(document []byte) (string, []string) {
	object, err := decode(document)
	kind := object.GroupVersionKind()
	place := kind.Kind + "/" + object.GetName()
	if err != nil {
		return place, []string{err.Error()}
	}
	if err := c.schemas.validate(object); err != nil {
		return place, []string{err.Error()}
	}
	var problems []string
	switch kind.Kind {
	case "Namespace":
		problems = checkNamespace(object)
	case "Pod", "Deployment":
		problems = c.checkWorkload(object)
	case "ConfigMap":
		if err := c.writeConfig(object); err != nil {
			problems = append(problems, err.Error())
		}
	}
	return place, problems
}

// checkNamespace asks for the label by which the cluster enforces "restricted".
func checkNamespace(object *unstructured.Unstructured) []string {
	if object.GetLabels()[api.EnforceLevelLabel] != string(api.LevelRestricted) {
		return []string{"the label " + api.EnforceLevelLabel + " is not " + string(api.LevelRestricted)}
	}
	return nil
}

// checkWorkload holds a pod template against "restricted", and against our own
// rules, which go further.
func (c *manifestChecker) checkWorkload(object *unstructured.Unstructured) []string {
	var problems []string
	metadata, spec := metav1.ObjectMeta{}, corev1.PodSpec{}
	if object.GetKind() == "Pod" {
		var pod corev1.Pod
		if err := convert(object, &pod); err != nil {
			return []string{err.Error()}
		}
		metadata, spec = pod.ObjectMeta, pod.Spec
	} else {
		var deployment appsv1.Deployment
		if err := convert(object, &deployment); err != nil {
			return []string{err.Error()}
		}
		metadata, spec = deployment.Spec.Template.ObjectMeta, deployment.Spec.Template.Spec
		if selector, err := metav1.LabelSelectorAsSelector(deployment.Spec.Selector); err != nil {
			problems = append(problems, err.Error())
		} else if !selector.Matches(labels.Set(metadata.Labels)) {
			problems = append(problems, "the selector does not match the labels of the pod template")
		}
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	result := policy.AggregateCheckResults(c.podSecurity.EvaluatePod(restricted, &metadata, &spec))
	if !result.Allowed {
		problems = append(problems, "pod security restricted: "+result.ForbiddenDetail())
	}
	if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
		problems = append(problems, "automountServiceAccountToken is not false")
	}
	for _, container := range spec.Containers {
		security := container.SecurityContext
		if security == nil || security.ReadOnlyRootFilesystem == nil || !*security.ReadOnlyRootFilesystem {
			problems = append(problems, container.Name+": readOnlyRootFilesystem is not true")
		}
		if container.Resources.Requests.Cpu().IsZero() || container.Resources.Limits.Memory().IsZero() {
			problems = append(problems, container.Name+": no CPU request or no memory limit")
		}
		for _, mount := range container.VolumeMounts {
			if mount.SubPath != "" || mount.SubPathExpr != "" {
				problems = append(problems, container.Name+": "+mount.MountPath+
					": subPath hides every later change of a ConfigMap or Secret")
			}
		}
	}
	return problems
}

// writeConfig writes the files of a ConfigMap, as its mount would show them.
func (c *manifestChecker) writeConfig(object *unstructured.Unstructured) error {
	if c.configs == "" {
		return nil
	}
	var config corev1.ConfigMap
	if err := convert(object, &config); err != nil {
		return err
	}
	folder := filepath.Join(c.configs, config.Namespace+"."+config.Name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, text := range config.Data {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// checkKustomization looks that a kustomization names exactly its neighbours.
func checkKustomization(path string, text []byte) []string {
	var kustomization struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Namespace  string   `json:"namespace"`
		Resources  []string `json:"resources"`
	}
	if err := kyaml.UnmarshalStrict(text, &kustomization); err != nil {
		return []string{err.Error()}
	}
	var problems []string
	if kustomization.APIVersion != "kustomize.config.k8s.io/v1beta1" || kustomization.Kind != "Kustomization" {
		problems = append(problems, "not a Kustomization of kustomize.config.k8s.io/v1beta1")
	}
	named := map[string]bool{filepath.Base(path): true}
	for _, resource := range kustomization.Resources {
		named[resource] = true
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), resource)); err != nil {
			problems = append(problems, err.Error())
		}
	}
	neighbours, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.yaml"))
	if err != nil {
		return append(problems, err.Error())
	}
	for _, neighbour := range neighbours {
		if !named[filepath.Base(neighbour)] {
			problems = append(problems, filepath.Base(neighbour)+" is not among the resources")
		}
	}
	return problems
}

func convert(object *unstructured.Unstructured, into any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, into, true)
}

// isBlank tells whether a document has only comments.
func isBlank(document []byte) bool {
	for line := range strings.Lines(string(document)) {
		line = strings.TrimSpace(line)
		if line != "" && line != "---" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}
