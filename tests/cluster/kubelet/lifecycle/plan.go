package lifecycle

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"portcullis/tests/cluster/kubelet/status"
)

// Plan is what is to be done with the containers of a pod.
type Plan struct {
	// Start are to be started now.
	Start []*status.Container
	// Wait are to be started later, for they ended too often.
	Wait []*status.Container
	// Again is when to plan again; zero when something changes.
	Again time.Time
	// Initialized is set once all initial containers are done.
	Initialized bool
	// Finished is set when the pod has done its work; sidecars are to be stopped then.
	Finished bool
	// Failed is set when an initial container failed for good.
	Failed bool
}

// Decide plans. Containers are in their order, initial ones first; initialized is what an earlier plan said.
//
// Initial containers run one after the other, each to its end; a sidecar among them only has to be started before the next
// begins, and is restarted for as long as the pod lives (Kubernetes, "Pod Lifecycle" and "Sidecar Containers").
func Decide(policy v1.RestartPolicy, containers []*status.Container, initialized bool, now time.Time) Plan {
	plan := Plan{Initialized: initialized}
	if !initialized && !plan.initialize(policy, containers, now) {
		return plan
	}
	plan.Initialized = true
	plan.Finished = true
	for _, container := range containers {
		if container.Kind != status.App {
			continue
		}
		if container.Running || restarts(policy, container) {
			plan.Finished = false
		}
		if !container.Running && restarts(policy, container) {
			plan.start(container, now)
		}
	}
	for _, container := range containers {
		if container.Kind == status.Sidecar && !container.Running && !plan.Finished {
			plan.start(container, now)
		}
	}
	return plan
}

// initialize plans for initial containers, and returns whether all are done.
func (plan *Plan) initialize(policy v1.RestartPolicy, containers []*status.Container, now time.Time) bool {
	for _, container := range containers {
		switch {
		case container.Kind == status.App:
			return true
		case container.Kind == status.Sidecar && container.Started:
			continue
		case container.Kind == status.Init && container.Exit != nil && container.Exit.ExitCode == 0:
			continue
		case container.Running:
			return false
		case container.Kind == status.Init && container.Exit != nil && policy == v1.RestartPolicyNever:
			plan.Failed = true
			return false
		}
		plan.start(container, now)
		return false
	}
	return true
}

// restarts says whether a container that does not run is to run.
func restarts(policy v1.RestartPolicy, container *status.Container) bool {
	switch {
	case container.Exit == nil:
		return true
	case policy == v1.RestartPolicyNever:
		return false
	case policy == v1.RestartPolicyOnFailure:
		return container.Exit.ExitCode != 0
	}
	return true
}

func (plan *Plan) start(container *status.Container, now time.Time) {
	if !container.NotBefore.After(now) {
		plan.Start = append(plan.Start, container)
		return
	}
	plan.Wait = append(plan.Wait, container)
	if plan.Again.IsZero() || container.NotBefore.Before(plan.Again) {
		plan.Again = container.NotBefore
	}
}

// resume prepares the containers of a pod whose kubelet has ended with all that it ran, and returns whether the pod counts
// as initialized. Its volumes are empty again, so initial containers run once more, where the pod is to go on at all. Under
// OnFailure the API takes no success back.
func resume(policy v1.RestartPolicy, containers []*status.Container) bool {
	over := true
	for _, container := range containers {
		if container.Kind == status.App && restarts(policy, container) {
			over = false
		}
	}
	for _, container := range containers {
		if container.Kind == status.Init && !over && policy == v1.RestartPolicyAlways && container.Exit != nil {
			container.Last, container.Exit = container.Exit, nil
			container.Wait("PodInitializing", "")
		}
	}
	return over
}

// BackOff are pauses before a container is started again.
type BackOff struct {
	First, Longest time.Duration
}

// Next returns the pause after the last one, which is negative where there was none: nothing, then First, then twice as
// long each time. A run that was long enough starts anew.
func (backOff BackOff) Next(last, ran time.Duration) time.Duration {
	switch {
	case last < 0 || ran > 2*backOff.Longest:
		return 0
	case last == 0:
		return backOff.First
	}
	return min(2*last, backOff.Longest)
}
