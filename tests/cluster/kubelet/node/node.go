// Package node tells the API server of a node: its Node object, and the Lease by which the controllers know that it lives.
package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Node is what is told of a node.
type Node struct {
	Name      string
	Zone      string
	Addresses []netip.Addr
	PodRanges []netip.Prefix
	// Capacity is what the scheduler may give away. It is declared, and not measured: many small pods share a machine.
	Capacity v1.ResourceList
	// Port is that of the kubelet's API; 0 where it has none.
	Port int32
}

const (
	leaseInterval  = 5 * time.Second
	statusInterval = 10 * time.Second
)

// Keep registers the node and keeps it registered and ready until the context ends.
func (node *Node) Keep(ctx context.Context, client kubernetes.Interface) {
	go every(ctx, leaseInterval, func() error { return node.renewLease(ctx, client) })
	every(ctx, statusInterval, func() error { return node.keepReady(ctx, client) })
}

// every calls a function at once and then again and again, sooner where it fails.
func every(ctx context.Context, interval time.Duration, function func() error) {
	for {
		pause := interval
		if err := function(); err != nil && ctx.Err() == nil {
			slog.Warn("node not told", "error", err)
			pause = 500 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (node *Node) keepReady(ctx context.Context, client kubernetes.Interface) error {
	ctx, cancel := context.WithTimeout(ctx, statusInterval)
	defer cancel()
	found, err := client.CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = client.CoreV1().Nodes().Create(ctx, node.object(time.Now()), metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("node %s: %w", node.Name, err)
	}
	if found.Name == "" {
		return nil // made just now
	}
	return node.update(ctx, client, found)
}

// update brings a Node of before up to date.
func (node *Node) update(ctx context.Context, client kubernetes.Interface, found *v1.Node) error {
	wanted := node.object(time.Now())
	labelled := true
	for key, value := range wanted.Labels {
		labelled = labelled && found.Labels[key] == value
	}
	if !labelled || len(found.Spec.PodCIDRs) == 0 {
		changed := found.DeepCopy()
		for key, value := range wanted.Labels {
			metav1.SetMetaDataLabel(&changed.ObjectMeta, key, value)
		}
		if len(found.Spec.PodCIDRs) == 0 {
			changed.Spec.PodCIDR, changed.Spec.PodCIDRs = wanted.Spec.PodCIDR, wanted.Spec.PodCIDRs
		}
		var err error
		if found, err = client.CoreV1().Nodes().Update(ctx, changed, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("labels of node %s: %w", node.Name, err)
		}
	}
	changed := found.DeepCopy()
	changed.Status.Capacity, changed.Status.Allocatable = wanted.Status.Capacity, wanted.Status.Allocatable
	changed.Status.Addresses, changed.Status.NodeInfo = wanted.Status.Addresses, wanted.Status.NodeInfo
	changed.Status.DaemonEndpoints = wanted.Status.DaemonEndpoints
	for _, condition := range wanted.Status.Conditions {
		setCondition(&changed.Status, condition)
	}
	if _, err := client.CoreV1().Nodes().UpdateStatus(ctx, changed, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("status of node %s: %w", node.Name, err)
	}
	return nil
}

// setCondition replaces a condition, and keeps the time of its last change where it has not changed.
func setCondition(status *v1.NodeStatus, condition v1.NodeCondition) {
	for i := range status.Conditions {
		before := &status.Conditions[i]
		if before.Type == condition.Type {
			if before.Status == condition.Status {
				condition.LastTransitionTime = before.LastTransitionTime
			}
			*before = condition
			return
		}
	}
	status.Conditions = append(status.Conditions, condition)
}

func (node *Node) object(now time.Time) *v1.Node {
	object := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: node.Name, Labels: map[string]string{
		v1.LabelHostname:   node.Name,
		v1.LabelOSStable:   "linux",
		v1.LabelArchStable: runtime.GOARCH,
	}}}
	if node.Zone != "" {
		object.Labels[v1.LabelTopologyZone] = node.Zone
	}
	for _, prefix := range node.PodRanges {
		object.Spec.PodCIDRs = append(object.Spec.PodCIDRs, prefix.String())
	}
	if len(object.Spec.PodCIDRs) > 0 {
		object.Spec.PodCIDR = object.Spec.PodCIDRs[0]
	}
	object.Status.Capacity, object.Status.Allocatable = node.Capacity, node.Capacity
	for _, address := range node.Addresses {
		object.Status.Addresses = append(object.Status.Addresses,
			v1.NodeAddress{Type: v1.NodeInternalIP, Address: address.String()})
	}
	object.Status.Addresses = append(object.Status.Addresses, v1.NodeAddress{Type: v1.NodeHostName, Address: node.Name})
	object.Status.DaemonEndpoints.KubeletEndpoint.Port = node.Port
	object.Status.NodeInfo = v1.NodeSystemInfo{
		KernelVersion: kernel(), OperatingSystem: "linux", Architecture: runtime.GOARCH, OSImage: "test bed",
		ContainerRuntimeVersion: "process://1", KubeletVersion: "v1.37.0-process",
	}
	for _, kind := range []struct {
		kind            v1.NodeConditionType
		status          v1.ConditionStatus
		reason, message string
	}{
		{v1.NodeMemoryPressure, v1.ConditionFalse, "KubeletHasSufficientMemory", "not measured"},
		{v1.NodeDiskPressure, v1.ConditionFalse, "KubeletHasNoDiskPressure", "not measured"},
		{v1.NodePIDPressure, v1.ConditionFalse, "KubeletHasSufficientPID", "not measured"},
		{v1.NodeReady, v1.ConditionTrue, "KubeletReady", "kubelet is posting ready status"},
	} {
		object.Status.Conditions = append(object.Status.Conditions, v1.NodeCondition{
			Type: kind.kind, Status: kind.status, Reason: kind.reason, Message: kind.message,
			LastHeartbeatTime: metav1.NewTime(now), LastTransitionTime: metav1.NewTime(now),
		})
	}
	return object
}

func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}
