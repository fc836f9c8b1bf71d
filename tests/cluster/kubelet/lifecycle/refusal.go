package lifecycle

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// refusal names what a pod asks for that this kubelet does not do; empty where there is nothing. Such a pod fails: a
// test that passes because a field was ignored would be worse.
func refusal(pod *v1.Pod) string {
	var problems []string
	refuse := func(present bool, format string, values ...any) {
		if present {
			problems = append(problems, fmt.Sprintf(format, values...)+" is not supported by the kubelet of the test bed")
		}
	}
	spec := &pod.Spec
	refuse(spec.HostPID, "spec.hostPID")
	refuse(spec.HostIPC, "spec.hostIPC")
	refuse(spec.ShareProcessNamespace != nil && *spec.ShareProcessNamespace, "spec.shareProcessNamespace")
	refuse(spec.HostUsers != nil && !*spec.HostUsers, "spec.hostUsers: false")
	for i := range spec.Volumes {
		volume := &spec.Volumes[i]
		source := &volume.VolumeSource
		known := source.EmptyDir != nil || source.HostPath != nil || source.ConfigMap != nil || source.Secret != nil ||
			source.DownwardAPI != nil || source.Projected != nil
		refuse(!known, "the kind of volume %q", volume.Name)
	}
	if context := spec.SecurityContext; context != nil {
		refuse(len(context.Sysctls) > 0, "spec.securityContext.sysctls")
		refuse(isLocalhost(context.SeccompProfile), "seccompProfile.type: Localhost")
	}
	for _, container := range slices.Concat(spec.InitContainers, spec.Containers) {
		refuse(len(container.VolumeDevices) > 0, "volumeDevices of container %q", container.Name)
		refuse(len(container.RestartPolicyRules) > 0, "restartPolicyRules of container %q", container.Name)
		if context := container.SecurityContext; context != nil {
			refuse(isLocalhost(context.SeccompProfile), "seccompProfile.type: Localhost of container %q", container.Name)
		}
		for _, port := range container.Ports {
			// In the node's own network the port of the container is that of the node.
			refuse(port.HostPort != 0 && !spec.HostNetwork, "hostPort %d of container %q", port.HostPort, container.Name)
		}
		for _, mount := range container.VolumeMounts {
			propagates := mount.MountPropagation != nil && *mount.MountPropagation != v1.MountPropagationNone
			refuse(propagates, "mountPropagation of %q in container %q", mount.Name, container.Name)
		}
	}
	return strings.Join(problems, "; ")
}

func isLocalhost(profile *v1.SeccompProfile) bool {
	return profile != nil && profile.Type == v1.SeccompProfileTypeLocalhost
}
