package node

import (
	"net/netip"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestANodeTellsItsPlaceAndItsAddresses(t *testing.T) {
	node := &Node{
		Name: "n", Zone: "z",
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")},
		PodRanges: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("fd00:1::/64")},
	}
	object := node.object(time.Now())
	if object.Labels["topology.kubernetes.io/zone"] != "z" || object.Labels["kubernetes.io/hostname"] != "n" {
		t.Errorf("labels %v", object.Labels)
	}
	if object.Spec.PodCIDR != "10.1.0.0/24" || len(object.Spec.PodCIDRs) != 2 {
		t.Errorf("ranges %+v", object.Spec)
	}
	var internal []string
	for _, address := range object.Status.Addresses {
		if address.Type == v1.NodeInternalIP {
			internal = append(internal, address.Address)
		}
	}
	if len(internal) != 2 || internal[0] != "10.0.0.1" {
		t.Errorf("addresses %v", object.Status.Addresses)
	}
	node.Zone = ""
	if _, labelled := node.object(time.Now()).Labels["topology.kubernetes.io/zone"]; labelled {
		t.Error("a node without a zone has its label")
	}
}

func TestAConditionThatChangesHasANewTime(t *testing.T) {
	old, now := metav1.NewTime(time.Now().Add(-time.Hour)), metav1.Now()
	status := &v1.NodeStatus{Conditions: []v1.NodeCondition{
		{Type: v1.NodeReady, Status: v1.ConditionUnknown, LastTransitionTime: old},
		{Type: v1.NodeDiskPressure, Status: v1.ConditionFalse, LastTransitionTime: old},
	}}
	for _, condition := range []v1.NodeCondition{
		{Type: v1.NodeReady, Status: v1.ConditionTrue}, {Type: v1.NodeDiskPressure, Status: v1.ConditionFalse},
		{Type: v1.NodePIDPressure, Status: v1.ConditionFalse},
	} {
		condition.LastTransitionTime = now
		setCondition(status, condition)
	}
	for i, want := range []metav1.Time{now, old, now} {
		if got := status.Conditions[i]; !got.LastTransitionTime.Equal(&want) {
			t.Errorf("%s changed at %v, not %v", got.Type, got.LastTransitionTime, want)
		}
	}
	if status.Conditions[0].Status != v1.ConditionTrue || len(status.Conditions) != 3 {
		t.Errorf("%+v", status.Conditions)
	}
}
