package environment

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// Services returns the variables that tell a container of services, in the order of their names: of the API server
// always, and with links of the pod's own namespace.
func Services(services []*v1.Service, namespace string, links bool) []v1.EnvVar {
	sorted := slices.SortedFunc(slices.Values(services), func(a, b *v1.Service) int { return cmp.Compare(a.Name, b.Name) })
	var variables []v1.EnvVar
	for _, service := range sorted {
		isServer := service.Namespace == v1.NamespaceDefault && service.Name == "kubernetes"
		isLinked := links && service.Namespace == namespace
		hasAddress := service.Spec.ClusterIP != "" && service.Spec.ClusterIP != v1.ClusterIPNone
		if (isServer || isLinked) && hasAddress && len(service.Spec.Ports) > 0 {
			variables = append(variables, ofService(service)...)
		}
	}
	return variables
}

func ofService(service *v1.Service) []v1.EnvVar {
	address := service.Spec.ClusterIP
	prefix := variableName(service.Name)
	first := service.Spec.Ports[0]
	variables := []v1.EnvVar{
		{Name: prefix + "_SERVICE_HOST", Value: address},
		{Name: prefix + "_SERVICE_PORT", Value: fmt.Sprint(first.Port)},
		{Name: prefix + "_PORT", Value: fmt.Sprintf("%s://%s:%d", protocol(first), address, first.Port)},
	}
	for _, port := range service.Spec.Ports {
		if port.Name != "" {
			name := prefix + "_SERVICE_PORT_" + variableName(port.Name)
			variables = append(variables, v1.EnvVar{Name: name, Value: fmt.Sprint(port.Port)})
		}
		kind := protocol(port)
		link := fmt.Sprintf("%s_PORT_%d_%s", prefix, port.Port, strings.ToUpper(kind))
		variables = append(variables,
			v1.EnvVar{Name: link, Value: fmt.Sprintf("%s://%s:%d", kind, address, port.Port)},
			v1.EnvVar{Name: link + "_PROTO", Value: kind},
			v1.EnvVar{Name: link + "_PORT", Value: fmt.Sprint(port.Port)},
			v1.EnvVar{Name: link + "_ADDR", Value: address},
		)
	}
	return variables
}

func variableName(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

func protocol(port v1.ServicePort) string {
	return strings.ToLower(string(cmp.Or(port.Protocol, v1.ProtocolTCP)))
}
