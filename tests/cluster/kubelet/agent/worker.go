package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"portcullis/tests/cluster/kubeapi"
	"portcullis/tests/cluster/kubelet/container"
	"portcullis/tests/cluster/kubelet/environment"
	"portcullis/tests/cluster/kubelet/images"
	"portcullis/tests/cluster/kubelet/lifecycle"
	"portcullis/tests/cluster/kubelet/network"
	"portcullis/tests/cluster/kubelet/node"
	"portcullis/tests/cluster/kubelet/observe"
	"portcullis/tests/cluster/kubelet/server"
	"portcullis/tests/cluster/kubelet/volumes"
)

// Work runs the pods of the node until the context ends, and then ends them.
//
// # Errors
//
// What keeps the node from beginning. An API server that does not answer is waited for.
func Work(ctx context.Context, options *Options) error {
	if os.Getpid() != 1 {
		return errors.New("the worker is the first process of a namespace, which the guard makes")
	}
	unix.CloseOnExec(lockDescriptor) // containers do not hold it
	if err := separateMounts(); err != nil {
		return err
	}
	for _, address := range options.Addresses {
		if err := network.PrepareNode(address); err != nil {
			return err
		}
	}
	for _, folder := range []string{"pods", "run"} {
		if err := os.MkdirAll(filepath.Join(options.Root, folder), 0o755); err != nil {
			return err
		}
	}
	client, err := kubeapi.Client(options.Kubeconfig)
	if err != nil {
		return err
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typedv1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	source := v1.EventSource{Component: "kubelet", Host: options.Node}
	shared := options.node(client, broadcaster.NewRecorder(scheme.Scheme, source))
	rest := client.CoreV1().RESTClient()
	all := cache.NewListWatchFromClient(rest, "services", v1.NamespaceAll, fields.Everything())
	services := observe.Watch(ctx, all, &v1.Service{}, observe.Handler[*v1.Service]{})
	shared.Services = services.All
	if shared.Runtime.Unbounded != nil {
		slog.Warn("memory limits are not applied", "reason", shared.Runtime.Unbounded)
	}
	// Containers are told of services when they start, and the API server's is always there.
	if !services.WaitForSync(ctx) {
		return nil
	}
	told := &node.Node{
		Name: options.Node, Zone: options.Zone, Addresses: options.Addresses, PodRanges: options.PodRanges,
		Capacity: options.Capacity,
	}
	pods := &pods{node: shared, byUID: map[types.UID]*lifecycle.Pod{}}
	if options.Server.Authority != "" {
		told.Port = port
		listener, err := net.Listen("tcp", net.JoinHostPort(options.Addresses[0].String(), strconv.Itoa(port)))
		if err != nil {
			return fmt.Errorf("API of the kubelet: %w", err)
		}
		served := &server.Server{Find: pods.find}
		go func() {
			if err := served.Serve(ctx, listener, options.Server); err != nil {
				slog.Error("no logs, exec and port-forward", "error", err)
			}
		}()
	}
	go told.Keep(ctx, client)
	own := cache.NewListWatchFromClient(rest, "pods", v1.NamespaceAll, fields.OneTermEqualSelector("spec.nodeName", options.Node))
	observe.Watch(ctx, own, &v1.Pod{}, observe.Handler[*v1.Pod]{Changed: pods.changed, Removed: pods.removed})
	slog.Info("node runs", "node", options.Node)
	<-ctx.Done()
	pods.kill()
	return nil
}

func (options *Options) node(client kubernetes.Interface, events record.EventRecorder) *lifecycle.Node {
	shared := &lifecycle.Node{
		Name: options.Node, Root: options.Root, Client: client, Events: events,
		Runtime:   container.NewRuntime(options.prefix()),
		Images:    images.Table{Path: options.Images},
		Addresses: options.Addresses,
		Volumes: volumes.Settings{
			Client: client, Objects: volumes.NewObjects(client), Node: options.Capacity, TokenLifetime: options.TokenLifetime,
		},
		Resolver: environment.Resolver{ClusterDNS: options.ClusterDNS, ClusterDomain: options.ClusterDomain},
		BackOff:  options.BackOff,
	}
	for _, prefix := range options.PodRanges {
		shared.Pools = append(shared.Pools, network.NewPool(prefix, options.AddressPause, time.Now))
	}
	return shared
}

// port is that of the API of kubelets.
const port = 10250

// pods are those of the node that run, or are being ended.
type pods struct {
	node  *lifecycle.Node
	mutex sync.Mutex
	byUID map[types.UID]*lifecycle.Pod
	ended bool
}

func (pods *pods) changed(pod *v1.Pod) {
	pods.mutex.Lock()
	defer pods.mutex.Unlock()
	if pods.ended {
		return
	}
	if known := pods.byUID[pod.UID]; known != nil {
		known.Update(pod)
		return
	}
	over := pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed
	if over && pod.DeletionTimestamp == nil {
		return
	}
	started := lifecycle.Run(pods.node, pod)
	pods.byUID[pod.UID] = started
	go func() {
		<-started.Done()
		pods.mutex.Lock()
		defer pods.mutex.Unlock()
		delete(pods.byUID, pod.UID)
	}()
}

// find returns the pod of a name that runs, or is being ended; nil where there is none.
func (pods *pods) find(namespace, name string) *lifecycle.Pod {
	pods.mutex.Lock()
	defer pods.mutex.Unlock()
	for _, pod := range pods.byUID {
		if pod.Is(namespace, name) {
			return pod
		}
	}
	return nil
}

func (pods *pods) removed(pod *v1.Pod) {
	pods.mutex.Lock()
	defer pods.mutex.Unlock()
	if known := pods.byUID[pod.UID]; known != nil {
		known.Removed()
	}
}

// kill ends all pods at once and waits until nothing of them is left.
func (pods *pods) kill() {
	pods.mutex.Lock()
	pods.ended = true
	var all []*lifecycle.Pod
	for _, pod := range pods.byUID {
		all = append(all, pod)
	}
	pods.mutex.Unlock()
	for _, pod := range all {
		pod.Kill()
	}
	for _, pod := range all {
		<-pod.Done()
	}
}
