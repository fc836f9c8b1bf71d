package status

import (
	"net/netip"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func podOf(containers int) *v1.Pod {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Generation: 3}, Spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyAlways}}
	for i := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Name: string(rune('a' + i)), Image: "image"})
	}
	return pod
}

func TestPhasesFollowTheContainers(t *testing.T) {
	now := time.Now()
	run := func(container *Container) { container.Begin("id", now) }
	end := func(code int32) func(*Container) {
		return func(container *Container) {
			container.Begin("id", now)
			container.End(v1.ContainerStateTerminated{ExitCode: code})
		}
	}
	none := func(*Container) {}
	for _, test := range []struct {
		name  string
		a, b  func(*Container)
		facts Facts
		want  v1.PodPhase
	}{
		{"nothing has begun", none, none, Facts{}, v1.PodPending},
		{"one has not begun", run, none, Facts{Initialized: true}, v1.PodPending},
		{"all run", run, run, Facts{Initialized: true}, v1.PodRunning},
		{"one waits to be restarted", run, end(1), Facts{Initialized: true}, v1.PodRunning},
		{"all ended well", end(0), end(0), Facts{Initialized: true, Ended: true}, v1.PodSucceeded},
		{"one ended badly", end(0), end(1), Facts{Initialized: true, Ended: true}, v1.PodFailed},
		{"deleted before it began", none, none, Facts{Ended: true}, v1.PodFailed},
		{"out of time", end(0), end(0), Facts{Initialized: true, Ended: true, Failed: true}, v1.PodFailed},
	} {
		pod := podOf(2)
		containers := Containers(pod)
		test.a(containers[0])
		test.b(containers[1])
		if got := Build(pod, containers, test.facts, now).Phase; got != test.want {
			t.Errorf("%s: %s, not %s", test.name, got, test.want)
		}
	}
}

func TestAPodIsReadyWhenItsContainersAndGatesAre(t *testing.T) {
	now, before := time.Now(), metav1.NewTime(time.Now().Add(-time.Hour))
	pod := podOf(1)
	pod.Spec.ReadinessGates = []v1.PodReadinessGate{{ConditionType: "example.test/gate"}}
	pod.Status.Conditions = []v1.PodCondition{
		{Type: "example.test/gate", Status: v1.ConditionFalse, LastTransitionTime: before},
		{Type: v1.PodInitialized, Status: v1.ConditionTrue, LastTransitionTime: before},
	}
	containers := Containers(pod)
	find := func(kind v1.PodConditionType) v1.PodCondition {
		facts := Facts{Initialized: true, HasSandbox: true, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
		for _, condition := range Build(pod, containers, facts, now).Conditions {
			if condition.Type == kind {
				return condition
			}
		}
		return v1.PodCondition{}
	}
	if got := find(v1.PodReady); got.Status != v1.ConditionFalse || got.Message != "containers with unready status: [a]" {
		t.Errorf("without a ready container: %+v", got)
	}
	containers[0].Begin("id", now)
	containers[0].Started, containers[0].Ready = true, true
	if got := find(v1.PodReady); got.Status != v1.ConditionFalse || got.Reason != "ReadinessGatesNotReady" {
		t.Errorf("with a closed gate: %+v", got)
	}
	if got := find(v1.ContainersReady); got.Status != v1.ConditionTrue {
		t.Errorf("containers: %+v", got)
	}
	pod.Status.Conditions[0].Status = v1.ConditionTrue
	if got := find(v1.PodReady); got.Status != v1.ConditionTrue || !got.LastTransitionTime.Equal(&metav1.Time{Time: now}) {
		t.Errorf("with an open gate: %+v", got)
	}
	if got := find(v1.PodInitialized); !got.LastTransitionTime.Equal(&before) || got.ObservedGeneration != 3 {
		t.Errorf("a condition that has not changed: %+v", got)
	}
	if got := find("example.test/gate"); !got.LastTransitionTime.Equal(&before) {
		t.Errorf("a condition of others: %+v", got)
	}
}

func TestAContainerThatWaitsTellsOfItsLastRun(t *testing.T) {
	pod := podOf(1)
	containers := Containers(pod)
	container := containers[0]
	for range 2 {
		container.Begin("id", time.Now())
		container.End(v1.ContainerStateTerminated{ExitCode: 4})
	}
	container.Wait("CrashLoopBackOff", "back-off")
	status := Build(pod, containers, Facts{Initialized: true}, time.Now()).ContainerStatuses[0]
	if status.RestartCount != 1 || status.State.Waiting == nil || status.LastTerminationState.Terminated.ExitCode != 4 {
		t.Errorf("it waits: %+v", status)
	}
	status = Build(pod, containers, Facts{Ended: true}, time.Now()).ContainerStatuses[0]
	if status.State.Terminated == nil || status.State.Terminated.ExitCode != 4 {
		t.Errorf("its pod has ended: %+v", status)
	}
}

func TestAnotherKubeletTakesOverWhatWasTold(t *testing.T) {
	pod := podOf(2)
	earlier := []v1.ContainerStatus{
		{Name: "a", ContainerID: "x", RestartCount: 2, State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}},
		{Name: "b"},
	}
	containers := Containers(pod)
	for _, container := range containers {
		container.Seed(earlier)
	}
	if exit := containers[0].Exit; exit == nil || exit.ExitCode != 137 || exit.Reason != "ContainerStatusUnknown" {
		t.Errorf("what ran: %+v", containers[0])
	}
	containers[0].Begin("y", time.Now())
	if containers[0].Restarts != 3 || containers[1].ID != "" {
		t.Errorf("%+v, %+v", containers[0], containers[1])
	}
}
