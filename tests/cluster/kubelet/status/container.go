// Package status says how a pod is: from the states of its containers to the status that the API shows, and how that is
// written there.
package status

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// Kind is the part that a container has in its pod.
type Kind int

// Containers of a pod are initial, then beside the others, or what the pod is for.
const (
	Init Kind = iota
	Sidecar
	App
)

// Container is the state of a container.
type Container struct {
	Spec *v1.Container
	Kind Kind
	// ID names the last run.
	ID      string
	Running bool
	// StartedAt is when the run began that is running.
	StartedAt time.Time
	// Exit is how the last run ended; nil while it runs, and where there was none.
	Exit *v1.ContainerStateTerminated
	// Last is how the run before the last one ended.
	Last     *v1.ContainerStateTerminated
	Restarts int32
	// Reason and Message say why a container that should run does not.
	Reason, Message string
	// NotBefore is when it may be started again.
	NotBefore time.Time
	// Started is set once the startup probe succeeded, or at once where there is none.
	Started bool
	// Ready is what the readiness probe says, or that the container is started where there is none.
	Ready bool
}

// Containers returns the containers of a pod that has not begun, initial ones first.
func Containers(pod *v1.Pod) []*Container {
	var containers []*Container
	reason := "ContainerCreating"
	if len(pod.Spec.InitContainers) > 0 {
		reason = "PodInitializing"
	}
	for i := range pod.Spec.InitContainers {
		spec := &pod.Spec.InitContainers[i]
		kind := Init
		if spec.RestartPolicy != nil && *spec.RestartPolicy == v1.ContainerRestartPolicyAlways {
			kind = Sidecar
		}
		containers = append(containers, &Container{Spec: spec, Kind: kind, Reason: reason})
	}
	for i := range pod.Spec.Containers {
		containers = append(containers, &Container{Spec: &pod.Spec.Containers[i], Kind: App, Reason: reason})
	}
	return containers
}

// Begin notes that a run began.
func (container *Container) Begin(id string, now time.Time) {
	if container.Exit != nil {
		container.Last = container.Exit
		container.Exit = nil
	}
	if container.ID != "" {
		container.Restarts++
	}
	container.ID, container.StartedAt, container.Running = id, now, true
	container.Reason, container.Message = "", ""
}

// End notes how a run ended.
func (container *Container) End(exit v1.ContainerStateTerminated) {
	exit.ContainerID = container.ID
	container.Exit = &exit
	container.Running, container.Started, container.Ready = false, false, false
}

// Wait notes why the container does not run.
func (container *Container) Wait(reason, message string) {
	container.Reason, container.Message = reason, message
}

// Seed takes over what an earlier kubelet told of a container that has ended with it.
func (container *Container) Seed(earlier []v1.ContainerStatus) {
	for i := range earlier {
		status := &earlier[i]
		if status.Name != container.Spec.Name || status.ContainerID == "" {
			continue
		}
		container.ID, container.Restarts = status.ContainerID, status.RestartCount
		container.Last = status.LastTerminationState.Terminated
		if ended := status.State.Terminated; ended != nil {
			container.Exit = ended
			if container.Kind == Init {
				container.Reason = ""
			}
		} else if status.State.Running != nil {
			container.Exit = &v1.ContainerStateTerminated{
				ExitCode: 137, Reason: "ContainerStatusUnknown", ContainerID: status.ContainerID,
				Message:   "The container could not be located when the node came back",
				StartedAt: status.State.Running.StartedAt,
			}
		} else {
			container.Exit = status.LastTerminationState.Terminated
		}
	}
}
