package environment

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Field returns a field of a pod by its path in the downward API, in the form of a file: all labels or annotations are
// lines of name="value".
//
// # Errors
//
// A path that the downward API does not have.
func Field(pod *v1.Pod, path string) (string, error) {
	if name, key, found := strings.Cut(path, "['"); found && strings.HasSuffix(key, "']") {
		key = strings.TrimSuffix(key, "']")
		switch name {
		case "metadata.labels":
			return pod.Labels[key], nil
		case "metadata.annotations":
			return pod.Annotations[key], nil
		}
	}
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "metadata.labels":
		return lines(pod.Labels), nil
	case "metadata.annotations":
		return lines(pod.Annotations), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return pod.Status.HostIP, nil
	case "status.podIP":
		return pod.Status.PodIP, nil
	case "status.hostIPs":
		var addresses []string
		for _, address := range pod.Status.HostIPs {
			addresses = append(addresses, address.IP)
		}
		return strings.Join(addresses, ","), nil
	case "status.podIPs":
		var addresses []string
		for _, address := range pod.Status.PodIPs {
			addresses = append(addresses, address.IP)
		}
		return strings.Join(addresses, ","), nil
	}
	return "", fmt.Errorf("fieldRef.fieldPath: %q is not a field of the downward API", path)
}

func lines(values map[string]string) string {
	var out strings.Builder
	for _, key := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&out, "%s=%s\n", key, strconv.Quote(values[key]))
	}
	return out.String()
}

// Resource returns what a container asks for or is limited to, in units of the divisor and rounded up. Without a limit it
// is what the node has.
//
// # Errors
//
// No such container, or a resource that the downward API does not have.
func Resource(pod *v1.Pod, container string, field *v1.ResourceFieldSelector, node v1.ResourceList) (string, error) {
	if field.ContainerName != "" {
		container = field.ContainerName
	}
	all := slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers)
	index := slices.IndexFunc(all, func(candidate v1.Container) bool { return candidate.Name == container })
	if index < 0 {
		return "", fmt.Errorf("resourceFieldRef.containerName: no container %q", container)
	}
	kind, name, _ := strings.Cut(field.Resource, ".")
	var quantity resource.Quantity
	var found bool
	switch kind {
	case "limits":
		if quantity, found = all[index].Resources.Limits[v1.ResourceName(name)]; !found {
			quantity, found = node[v1.ResourceName(name)]
		}
	case "requests":
		quantity, found = all[index].Resources.Requests[v1.ResourceName(name)]
		found = found || name == "cpu" || name == "memory"
	}
	if !found {
		return "", fmt.Errorf("resourceFieldRef.resource: %q is not known", field.Resource)
	}
	divisor := field.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if name == "cpu" {
		return strconv.FormatInt(ceiling(quantity.MilliValue(), divisor.MilliValue()), 10), nil
	}
	return strconv.FormatInt(ceiling(quantity.Value(), divisor.Value()), 10), nil
}

func ceiling(value, divisor int64) int64 { return (value + divisor - 1) / divisor }
