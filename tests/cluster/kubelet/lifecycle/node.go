// Package lifecycle runs pods: it makes their networks and volumes, starts and restarts their containers, asks them how
// they are, and ends them.
//
//	Pod --prepare--> network, volumes --Decide--> containers start, end, start again --stop--> hooks, SIGTERM, SIGKILL
//	 \-> status.Build -> status.Writer
//
// Each pod has one goroutine that changes its state. What takes time runs beside it and reports to it.
package lifecycle

import (
	"net/netip"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"

	"portcullis/tests/cluster/kubelet/container"
	"portcullis/tests/cluster/kubelet/environment"
	"portcullis/tests/cluster/kubelet/images"
	"portcullis/tests/cluster/kubelet/network"
	"portcullis/tests/cluster/kubelet/volumes"
)

// Node is what the pods of a node share.
type Node struct {
	Name string
	// Root is the folder of the node.
	Root      string
	Client    kubernetes.Interface
	Events    record.EventRecorder
	Runtime   *container.Runtime
	Images    images.Table
	Addresses []netip.Addr
	// Pools give pods their addresses, one for each family.
	Pools    []*network.Pool
	Volumes  volumes.Settings
	Resolver environment.Resolver
	// Services are those of all namespaces.
	Services func() []*v1.Service
	BackOff  BackOff
}

// LogFolder is where the logs of a pod are. They stay when it is gone.
func (node *Node) LogFolder(pod *v1.Pod) string {
	return filepath.Join(node.Root, "pods", pod.Namespace+"_"+pod.Name+"_"+string(pod.UID))
}

// runFolder is where everything else of a pod is, for as long as it is there.
func (node *Node) runFolder(pod *v1.Pod) string {
	return filepath.Join(node.Root, "run", string(pod.UID))
}
