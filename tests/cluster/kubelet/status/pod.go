package status

import (
	"net/netip"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Facts are what the status of a pod says beside its containers.
type Facts struct {
	NodeAddresses []netip.Addr
	// Addresses are the pod's; none until its network is there.
	Addresses []netip.Addr
	StartTime time.Time
	// HasSandbox is set while the network and the volumes are there.
	HasSandbox bool
	// Initialized is set once all initial containers are done.
	Initialized bool
	// Ended is set when nothing runs any more, and nothing will.
	Ended bool
	// Failed is set where the pod has failed regardless of its containers.
	Failed          bool
	Reason, Message string
}

// Build returns the status of a pod. Conditions of others, and times of conditions that have not changed, are taken from
// the pod as it is.
func Build(pod *v1.Pod, containers []*Container, facts Facts, now time.Time) v1.PodStatus {
	status := v1.PodStatus{
		ObservedGeneration: pod.Generation,
		Phase:              phase(pod.Spec.RestartPolicy, containers, facts),
		Reason:             facts.Reason, Message: facts.Message,
		QOSClass: pod.Status.QOSClass,
	}
	start := metav1.NewTime(facts.StartTime)
	status.StartTime = &start
	facts.SetAddresses(&status)
	for _, container := range containers {
		if container.Kind == App {
			status.ContainerStatuses = append(status.ContainerStatuses, container.status(facts.Ended))
		} else {
			status.InitContainerStatuses = append(status.InitContainerStatuses, container.status(facts.Ended))
		}
	}
	status.Conditions = conditions(pod, containers, facts, now)
	return status
}

// SetAddresses sets the addresses of the pod and of its node.
func (facts *Facts) SetAddresses(status *v1.PodStatus) {
	status.HostIP, status.HostIPs, status.PodIP, status.PodIPs = "", nil, "", nil
	for _, address := range facts.NodeAddresses {
		status.HostIPs = append(status.HostIPs, v1.HostIP{IP: address.String()})
	}
	for _, address := range facts.Addresses {
		status.PodIPs = append(status.PodIPs, v1.PodIP{IP: address.String()})
	}
	if len(status.HostIPs) > 0 {
		status.HostIP = status.HostIPs[0].IP
	}
	if len(status.PodIPs) > 0 {
		status.PodIP = status.PodIPs[0].IP
	}
}

func (container *Container) status(ended bool) v1.ContainerStatus {
	started := container.Started
	status := v1.ContainerStatus{
		Name: container.Spec.Name, Image: container.Spec.Image, ContainerID: container.ID,
		RestartCount: container.Restarts, Started: &started, Ready: container.Ready,
	}
	if container.ID != "" {
		status.ImageID = container.Spec.Image
	}
	last := container.Last
	switch {
	case container.Running:
		status.State.Running = &v1.ContainerStateRunning{StartedAt: metav1.NewTime(container.StartedAt)}
	case container.Reason != "" && !ended:
		status.State.Waiting = &v1.ContainerStateWaiting{Reason: container.Reason, Message: container.Message}
		if container.Exit != nil {
			last = container.Exit
		}
	case container.Exit != nil:
		status.State.Terminated = container.Exit
		// An initial container that has done its work counts as ready.
		if container.Kind == Init && container.Exit.ExitCode == 0 {
			status.Ready = true
		}
	}
	if last != nil {
		status.LastTerminationState.Terminated = last
	}
	return status
}

func phase(policy v1.RestartPolicy, containers []*Container, facts Facts) v1.PodPhase {
	if facts.Failed && facts.Ended {
		return v1.PodFailed
	}
	begun, failed := true, false
	for _, container := range containers {
		exited := container.Exit != nil
		if container.Kind == App && !container.Running && !exited {
			begun = false
		}
		if exited && container.Exit.ExitCode != 0 && container.Kind != Sidecar {
			failed = true
		}
	}
	switch {
	case facts.Ended && (failed || !begun):
		return v1.PodFailed
	case facts.Ended:
		return v1.PodSucceeded
	case !facts.Initialized || !begun:
		return v1.PodPending
	}
	return v1.PodRunning
}

// IsOwn says whether a condition is written by the kubelet.
func IsOwn(kind v1.PodConditionType) bool {
	switch kind {
	case v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled:
		return true
	}
	return false
}

func conditions(pod *v1.Pod, containers []*Container, facts Facts, now time.Time) []v1.PodCondition {
	ready, unready := readiness(pod, containers, facts)
	own := []v1.PodCondition{
		{Type: v1.PodReadyToStartContainers, Status: truth(facts.HasSandbox)},
		{Type: v1.PodInitialized, Status: truth(facts.Initialized)},
		ready,
		{Type: v1.ContainersReady, Status: truth(unready == ""), Reason: reasonFor(unready, facts), Message: unready},
		{Type: v1.PodScheduled, Status: v1.ConditionTrue},
	}
	if !facts.Initialized {
		own[1].Reason = "ContainersNotInitialized"
	} else if facts.Ended {
		own[1].Reason = "PodCompleted"
	}
	for i := range own {
		condition := &own[i]
		condition.ObservedGeneration = pod.Generation
		condition.LastTransitionTime = metav1.NewTime(now)
		for _, before := range pod.Status.Conditions {
			if before.Type == condition.Type && before.Status == condition.Status {
				condition.LastTransitionTime = before.LastTransitionTime
			}
		}
	}
	for _, other := range pod.Status.Conditions {
		if !IsOwn(other.Type) {
			own = append(own, other)
		}
	}
	return own
}

// readiness returns the condition Ready, and which containers are not ready.
func readiness(pod *v1.Pod, containers []*Container, facts Facts) (v1.PodCondition, string) {
	var names []string
	for _, container := range containers {
		if container.Kind != Init && !container.Ready {
			names = append(names, container.Spec.Name)
		}
	}
	unready := ""
	if len(names) > 0 {
		unready = "containers with unready status: [" + strings.Join(names, " ") + "]"
	}
	condition := v1.PodCondition{
		Type: v1.PodReady, Status: truth(unready == ""), Reason: reasonFor(unready, facts), Message: unready,
	}
	for _, gate := range pod.Spec.ReadinessGates {
		if unready == "" && !hasTrue(pod.Status.Conditions, gate.ConditionType) {
			condition.Status, condition.Reason = v1.ConditionFalse, "ReadinessGatesNotReady"
			condition.Message = "corresponding condition of pod readiness gate \"" + string(gate.ConditionType) + "\" is not true"
		}
	}
	return condition, unready
}

func reasonFor(unready string, facts Facts) string {
	switch {
	case unready == "":
		return ""
	case facts.Ended && !facts.Failed:
		return "PodCompleted"
	}
	return "ContainersNotReady"
}

func hasTrue(conditions []v1.PodCondition, kind v1.PodConditionType) bool {
	for _, condition := range conditions {
		if condition.Type == kind {
			return condition.Status == v1.ConditionTrue
		}
	}
	return false
}

func truth(value bool) v1.ConditionStatus {
	if value {
		return v1.ConditionTrue
	}
	return v1.ConditionFalse
}
