package lifecycle

import (
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"portcullis/tests/cluster/kubelet/status"
)

// state makes a container from a word: what it is, what it is called, and how it is.
//
//	init:a   sidecar:s+  (running)  sidecar:s*  (started)  app:c!3  (ended with 3)
func state(word string) *status.Container {
	kind, name, _ := strings.Cut(word, ":")
	container := &status.Container{
		Kind: map[string]status.Kind{"init": status.Init, "sidecar": status.Sidecar, "app": status.App}[kind],
		Spec: &v1.Container{Name: name[:1]},
	}
	switch how := name[1:]; {
	case how == "+":
		container.Running = true
	case how == "*":
		container.Running, container.Started = true, true
	case strings.HasPrefix(how, "!"):
		container.Exit = &v1.ContainerStateTerminated{ExitCode: int32(how[1] - '0')}
	}
	return container
}

func TestPlansFollowTheRulesOfPods(t *testing.T) {
	const always, onFailure, never = v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever
	for _, test := range []struct {
		policy      v1.RestartPolicy
		states      string
		initialized bool
		start       string
		outcome     string
	}{
		{always, "app:a app:b", false, "ab", "initialized"},
		{always, "init:a init:b app:c", false, "a", ""},
		{always, "init:a+ init:b app:c", false, "", ""},
		{always, "init:a!0 init:b app:c", false, "b", ""},
		{always, "init:a!1 app:c", false, "a", ""},
		{onFailure, "init:a!1 app:c", false, "a", ""},
		{never, "init:a!1 app:c", false, "", "failed"},
		{always, "init:a!0 app:c", false, "c", "initialized"},
		{always, "sidecar:s init:b app:c", false, "s", ""},
		{always, "sidecar:s+ init:b app:c", false, "", ""},
		{always, "sidecar:s* init:b app:c", false, "b", ""},
		{always, "sidecar:s!1 init:b!0 app:c", false, "s", ""},
		{always, "sidecar:s!1 app:c+", true, "s", "initialized"},
		{never, "sidecar:s!0 app:c+", true, "s", "initialized"},
		{always, "init:a!1 app:c+", true, "", "initialized"},
		{always, "app:c!0", true, "c", "initialized"},
		{onFailure, "app:c!0 app:d!1", true, "d", "initialized"},
		{onFailure, "app:c!0 app:d+", true, "", "initialized"},
		{onFailure, "sidecar:s* app:c!0", true, "", "initialized finished"},
		{never, "sidecar:s!1 app:c!1", true, "", "initialized finished"},
	} {
		var containers []*status.Container
		for word := range strings.FieldsSeq(test.states) {
			containers = append(containers, state(word))
		}
		plan := Decide(test.policy, containers, test.initialized, time.Now())
		started := ""
		for _, container := range plan.Start {
			started += container.Spec.Name
		}
		var outcome []string
		for _, part := range []struct {
			word string
			set  bool
		}{{"initialized", plan.Initialized}, {"failed", plan.Failed}, {"finished", plan.Finished}} {
			if part.set {
				outcome = append(outcome, part.word)
			}
		}
		if started != test.start || strings.Join(outcome, " ") != test.outcome {
			t.Errorf("%s with %s: starts %q, %v; not %q, %s", test.policy, test.states, started, outcome, test.start, test.outcome)
		}
	}
}

func TestAPodThatIsResumedIsInitializedAgain(t *testing.T) {
	for _, test := range []struct {
		policy v1.RestartPolicy
		app    string
		over   bool
		start  string
	}{
		{v1.RestartPolicyAlways, "app:c!7", false, "i"},
		{v1.RestartPolicyOnFailure, "app:c!7", false, "c"},
		{v1.RestartPolicyNever, "app:c!7", true, ""},
		{v1.RestartPolicyOnFailure, "app:c!0", true, ""},
	} {
		containers := []*status.Container{state("init:i!0"), state(test.app)}
		over := resume(test.policy, containers)
		plan := Decide(test.policy, containers, over, time.Now())
		start := ""
		for _, container := range plan.Start {
			start += container.Spec.Name
		}
		if over != test.over || start != test.start || plan.Finished != test.over {
			t.Errorf("%s with %s: over %t, starts %q", test.policy, test.app, over, start)
		}
	}
}

func TestAContainerThatEndedTooOftenWaits(t *testing.T) {
	now := time.Now()
	late, soon := state("app:a!1"), state("app:b!1")
	late.NotBefore, soon.NotBefore = now.Add(time.Minute), now.Add(time.Second)
	plan := Decide(v1.RestartPolicyAlways, []*status.Container{late, soon}, true, now)
	if len(plan.Start) != 0 || len(plan.Wait) != 2 || !plan.Again.Equal(soon.NotBefore) {
		t.Errorf("starts %d, waits for %d until %v", len(plan.Start), len(plan.Wait), plan.Again)
	}
}

func TestPausesDoubleAndALongRunEndsThem(t *testing.T) {
	backOff := BackOff{First: time.Second, Longest: 5 * time.Second}
	last := time.Duration(-1)
	for i, want := range []time.Duration{0, 1, 2, 4, 5, 5} {
		if last = backOff.Next(last, 0); last != want*time.Second {
			t.Fatalf("pause %d is %s", i, last)
		}
	}
	if got := backOff.Next(last, 11*time.Second); got != 0 {
		t.Errorf("after a long run it is %s", got)
	}
}

func TestADeadlineOnlyComesCloser(t *testing.T) {
	deadline := NewDeadline(time.Now().Add(time.Hour))
	defer deadline.Release()
	deadline.Shorten(time.Now().Add(20 * time.Millisecond))
	deadline.Shorten(time.Now().Add(time.Hour))
	select {
	case <-deadline.Done():
	case <-time.After(5 * time.Second):
		t.Error("it moved away")
	}
}

func TestWhatIsNotDoneIsNamed(t *testing.T) {
	yes := true
	pod := &v1.Pod{Spec: v1.PodSpec{
		HostPID: true, ShareProcessNamespace: &yes,
		Volumes: []v1.Volume{
			{Name: "claim", VolumeSource: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{}}},
			{Name: "fine", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}},
		},
		Containers: []v1.Container{{Name: "c", Ports: []v1.ContainerPort{{HostPort: 80}}}},
	}}
	got := refusal(pod)
	for _, want := range []string{"spec.hostPID", "spec.shareProcessNamespace", `volume "claim"`, `hostPort 80 of container "c"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%q does not name %s", got, want)
		}
	}
	if strings.Contains(got, "fine") {
		t.Errorf("%q names a volume that is fine", got)
	}
	pod.Spec = v1.PodSpec{HostNetwork: true, Containers: []v1.Container{{Name: "c", Ports: []v1.ContainerPort{{HostPort: 80}}}}}
	if got := refusal(pod); got != "" {
		t.Errorf("a port in the node's own network: %s", got)
	}
}
