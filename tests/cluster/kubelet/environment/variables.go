package environment

import (
	"fmt"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Source is where variables come from.
type Source struct {
	// Pod has its addresses in its status.
	Pod *v1.Pod
	// Image are the variables of the image.
	Image map[string]string
	// Services are those of Services.
	Services []v1.EnvVar
	// Node is what the node has, for limits that are not set.
	Node      v1.ResourceList
	ConfigMap func(name string) (*v1.ConfigMap, error)
	Secret    func(name string) (*v1.Secret, error)
}

// Variables returns the environment of a container: of the image, of services, of envFrom and of env, in this order. A
// later one replaces an earlier one, and may use it as $(NAME).
//
// # Errors
//
// A ConfigMap, Secret or key that is not there and not optional.
func (source *Source) Variables(container *v1.Container) (*Variables, error) {
	variables := &Variables{values: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(source.Image)) {
		variables.set(name, source.Image[name])
	}
	if _, hasPath := variables.Lookup("PATH"); !hasPath {
		variables.set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	for _, service := range source.Services {
		variables.set(service.Name, service.Value)
	}
	for _, from := range container.EnvFrom {
		if err := source.all(from, variables); err != nil {
			return nil, fmt.Errorf("envFrom: %w", err)
		}
	}
	for _, variable := range container.Env {
		value, present, err := source.value(variable, container, variables)
		if err != nil {
			return nil, fmt.Errorf("env %s: %w", variable.Name, err)
		}
		if present {
			variables.set(variable.Name, value)
		}
	}
	return variables, nil
}

// all adds every key of a ConfigMap or a Secret.
func (source *Source) all(from v1.EnvFromSource, variables *Variables) error {
	values := map[string]string{}
	switch {
	case from.ConfigMapRef != nil:
		object, err := source.ConfigMap(from.ConfigMapRef.Name)
		if absent(err, from.ConfigMapRef.Optional) {
			return nil
		}
		if err != nil {
			return err
		}
		values = object.Data
	case from.SecretRef != nil:
		object, err := source.Secret(from.SecretRef.Name)
		if absent(err, from.SecretRef.Optional) {
			return nil
		}
		if err != nil {
			return err
		}
		for key, value := range object.Data {
			values[key] = string(value)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		variables.set(from.Prefix+key, values[key])
	}
	return nil
}

func (source *Source) value(
	variable v1.EnvVar, container *v1.Container, known *Variables,
) (value string, present bool, err error) {
	from := variable.ValueFrom
	switch {
	case from == nil:
		return Expand(variable.Value, known.Lookup), true, nil
	case from.FieldRef != nil:
		value, err = Field(source.Pod, from.FieldRef.FieldPath)
		return value, true, err
	case from.ResourceFieldRef != nil:
		value, err = Resource(source.Pod, container.Name, from.ResourceFieldRef, source.Node)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		reference := from.ConfigMapKeyRef
		object, err := source.ConfigMap(reference.Name)
		if absent(err, reference.Optional) {
			return "", false, nil
		}
		if err != nil {
			return "", false, err
		}
		value, present = object.Data[reference.Key]
		return value, present, missingKey("ConfigMap", reference.Name, reference.Key, present, reference.Optional)
	case from.SecretKeyRef != nil:
		reference := from.SecretKeyRef
		object, err := source.Secret(reference.Name)
		if absent(err, reference.Optional) {
			return "", false, nil
		}
		if err != nil {
			return "", false, err
		}
		bytes, present := object.Data[reference.Key]
		return string(bytes), present, missingKey("Secret", reference.Name, reference.Key, present, reference.Optional)
	}
	return "", false, fmt.Errorf("valueFrom has a source that is not known here")
}

func absent(err error, optional *bool) bool {
	return optional != nil && *optional && apierrors.IsNotFound(err)
}

func missingKey(kind, name, key string, present bool, optional *bool) error {
	if present || (optional != nil && *optional) {
		return nil
	}
	return fmt.Errorf("couldn't find key %s in %s %s", key, kind, name)
}

// Variables are variables in the order in which they were first set.
type Variables struct {
	names  []string
	values map[string]string
}

func (variables *Variables) set(name, value string) {
	if _, known := variables.values[name]; !known {
		variables.names = append(variables.names, name)
	}
	variables.values[name] = value
}

// Lookup returns the value of a variable.
func (variables *Variables) Lookup(name string) (string, bool) {
	value, known := variables.values[name]
	return value, known
}

// Default sets a variable where it is not set.
func (variables *Variables) Default(name, value string) {
	if _, known := variables.values[name]; !known {
		variables.set(name, value)
	}
}

// List returns them as execve takes them.
func (variables *Variables) List() []string {
	list := make([]string, len(variables.names))
	for i, name := range variables.names {
		list[i] = name + "=" + variables.values[name]
	}
	return list
}
