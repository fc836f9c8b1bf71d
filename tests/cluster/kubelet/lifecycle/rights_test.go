package lifecycle

import (
	"reflect"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"portcullis/tests/cluster/kubelet/container"
	"portcullis/tests/cluster/kubelet/images"
)

func TestTheContextOfAContainerGoesBeforeThatOfItsPod(t *testing.T) {
	number := func(value int64) *int64 { return &value }
	yes, no := true, false
	profile := func(kind v1.SeccompProfileType) *v1.SeccompProfile { return &v1.SeccompProfile{Type: kind} }
	pod := &v1.Pod{Spec: v1.PodSpec{SecurityContext: &v1.PodSecurityContext{
		RunAsUser: number(1000), RunAsGroup: number(1001), FSGroup: number(2000), SupplementalGroups: []int64{7},
		SeccompProfile: profile(v1.SeccompProfileTypeRuntimeDefault),
	}}}
	all := &v1.Capabilities{Drop: []v1.Capability{"ALL"}}
	got, err := rights(pod, &v1.Container{SecurityContext: &v1.SecurityContext{
		Capabilities: all, AllowPrivilegeEscalation: &no,
	}}, images.Image{User: 5})
	want := &container.Process{
		User: 1000, Group: 1001, Supplemental: []uint32{7, 2000}, NoNewPrivileges: true, FilterSystemCalls: true,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v (%v), not %+v", got, err, want)
	}
	got, err = rights(pod, &v1.Container{SecurityContext: &v1.SecurityContext{
		Capabilities: all, RunAsUser: number(3), SeccompProfile: profile(v1.SeccompProfileTypeUnconfined),
	}}, images.Image{})
	want = &container.Process{User: 3, Group: 1001, Supplemental: []uint32{7, 2000}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v (%v), not %+v", got, err, want)
	}
	pod = &v1.Pod{Spec: v1.PodSpec{SecurityContext: &v1.PodSecurityContext{RunAsNonRoot: &yes}}}
	if got, err = rights(pod, &v1.Container{}, images.Image{User: 5}); err != nil || got.User != 5 {
		t.Errorf("the user of the image: %+v (%v)", got, err)
	}
	if _, err = rights(pod, &v1.Container{Name: "c"}, images.Image{}); err == nil || !strings.Contains(err.Error(), "container: c") {
		t.Errorf("root where it is refused: %v", err)
	}
}

func TestAProgramOnAnotherFileSystemBringsItsFolder(t *testing.T) {
	got, err := machineMounts("/proc/self/exe", []string{"/mnt/x"})
	want := []container.Mount{
		{Source: "/mnt/x", Target: "/mnt/x", ReadOnly: true}, {Source: "/proc/self", Target: "/proc/self", ReadOnly: true},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v (%v)", got, err)
	}
	for _, program := range []string{"/etc/hosts", "sh", "/no/such/program"} {
		if got, err := machineMounts(program, nil); err != nil || len(got) != 0 {
			t.Errorf("%s: %+v (%v)", program, got, err)
		}
	}
}
