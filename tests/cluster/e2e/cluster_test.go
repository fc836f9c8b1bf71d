package e2e

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"portcullis/tests/cluster/kubeapi"
	"portcullis/tests/cluster/netns"
	"portcullis/tests/cluster/plan"
	"portcullis/tests/cluster/running"
)

//go:embed web.yaml
var web []byte

func TestACluster(t *testing.T) {
	needRoot(t)
	before := machine(t)
	cluster := start(t)
	ctx := t.Context()
	client, err := kubeapi.Client(cluster.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := kubeapi.Create(ctx, cluster.Kubeconfig, web); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "three ready endpoints", func() error { return endpoints(ctx, client, 3) })
	service, err := client.CoreV1().Services("web").Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + service.Spec.ClusterIP + "/"
	for _, node := range plan.Nodes() {
		for _, address := range service.Spec.ClusterIPs {
			served(t, cluster.Namespaces[node.Name], "http://"+net.JoinHostPort(address, "80")+"/")
		}
	}

	t.Run("a pod reaches all pods of a service with its own address", func(t *testing.T) { fromPod(t, cluster, client, url) })
	t.Run("a machine outside reaches node ports and load balancers", func(t *testing.T) { fromOutside(t, cluster, client) })
	t.Run("the names of services are known", func(t *testing.T) { names(t, cluster, service.Spec.ClusterIP) })
	t.Run("the API server reaches webhooks", func(t *testing.T) { callWebhook(t, client) })
	t.Run("a rolling update fails no request", func(t *testing.T) { rollingUpdate(t, cluster, client, url) })
	t.Run("services go on without the API server", func(t *testing.T) {
		cluster.Ask(t, `{"do":"kill","name":"apiserver"}`)
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); err == nil {
			t.Error("the API server answers after it was killed")
		}
		if _, err := get(cluster.Namespace, url); err != nil {
			t.Error(err)
		}
		cluster.Ask(t, `{"do":"start","name":"apiserver"}`)
	})
	t.Run("etcd keeps what it has", func(t *testing.T) {
		cluster.Ask(t, `{"do":"kill","name":"etcd"}`)
		cluster.Ask(t, `{"do":"start","name":"etcd"}`)
		eventually(t, 30*time.Second, "the deployment", func() error {
			_, err := client.AppsV1().Deployments("web").Get(ctx, "web", metav1.GetOptions{})
			return err
		})
	})
	t.Run("old resource versions expire", func(t *testing.T) { expire(t, cluster, client, service.ResourceVersion) })

	pids := cluster.Ask(t, `{"do":"pids"}`).PIDs
	for number, process := range cluster.Ask(t, `{"do":"processes"}`).Processes {
		pids[fmt.Sprintf("%d %s", number, process.Command[0])] = process.PID
	}
	cluster.End(t)
	gone(t, pids)
	unchanged(t, before)
	if _, err := os.Stat(filepath.Dir(cluster.Kubeconfig)); err == nil {
		t.Error("the folder of the run is still there")
	}
}

// endpoints says why a service does not have so many ready endpoints.
func endpoints(ctx context.Context, client kubernetes.Interface, want int) error {
	list, err := client.DiscoveryV1().EndpointSlices("web").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	ready, zones := map[discoveryv1.AddressType]int{}, map[string]bool{}
	for _, slice := range list.Items {
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready != nil && *endpoint.Conditions.Ready && endpoint.Zone != nil {
				ready[slice.AddressType]++
				zones[*endpoint.Zone] = true
			}
		}
	}
	if ready[discoveryv1.AddressTypeIPv4] != want || ready[discoveryv1.AddressTypeIPv6] != want || len(zones) != len(plan.Nodes()) {
		return fmt.Errorf("%v are ready, in zones %v", ready, zones)
	}
	return nil
}

func names(t *testing.T, cluster *running.Cluster, address string) {
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return netns.Dial(cluster.Namespace)(ctx, network, net.JoinHostPort(plan.DNSAddr, "53"))
	}}
	found, err := resolver.LookupHost(t.Context(), "web.web.svc.cluster.local.")
	if err != nil || !slices.Contains(found, address) {
		t.Errorf("web.web is %v, %v, not %s", found, err, address)
	}
	if found, err := resolver.LookupHost(t.Context(), "other.web.svc.cluster.local."); err == nil {
		t.Errorf("a service that is not there is at %v", found)
	}
}

func rollingUpdate(t *testing.T, cluster *running.Cluster, client kubernetes.Interface, url string) {
	stop := make(chan struct{})
	result := make(chan string, 1)
	go func() {
		sent, failed, last := 0, 0, error(nil)
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-stop:
				if failed > 0 || sent < 100 {
					result <- fmt.Sprintf("%d of %d requests failed, the last with %v", failed, sent, last)
				}
				close(result)
				return
			case <-tick.C:
				sent++
				if _, err := get(cluster.Namespaces["node-b"], url); err != nil {
					failed, last = failed+1, err
				}
			}
		}
	}()
	const patch = `{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"VERSION","value":"2"}]}]}}}}`
	_, err := client.AppsV1().Deployments("web").Patch(t.Context(), "web", types.StrategicMergePatchType,
		[]byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, "three pods of version 2 and no others", func() error {
		pods, err := client.CoreV1().Pods("web").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		updated := 0
		for _, pod := range pods.Items {
			if pod.Spec.Containers[0].Env[0] == (corev1.EnvVar{Name: "VERSION", Value: "2"}) {
				updated++
			}
		}
		if len(pods.Items) != 3 || updated != 3 {
			return fmt.Errorf("%d pods, %d of version 2", len(pods.Items), updated)
		}
		return endpoints(t.Context(), client, 3)
	})
	close(stop)
	if problem, failed := <-result; failed {
		t.Error(problem)
	}
	if answer, err := get(cluster.Namespace, url); err != nil || answer.Version != "2" {
		t.Errorf("after the update: %+v, %v", answer, err)
	}
}

func expire(t *testing.T, cluster *running.Cluster, client kubernetes.Interface, old string) {
	if revision := cluster.Ask(t, `{"do":"compact"}`).Revision; revision < 100 {
		t.Errorf("etcd was compacted at %d", revision)
	}
	cluster.Ask(t, `{"do":"restart","name":"apiserver"}`)
	var events watch.Interface
	eventually(t, 30*time.Second, "a watch", func() (err error) {
		events, err = client.CoreV1().Services("web").Watch(t.Context(), metav1.ListOptions{ResourceVersion: old})
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			err = nil // told at once
		}
		return err
	})
	if events == nil {
		return
	}
	defer events.Stop()
	select {
	case event := <-events.ResultChan():
		if err := apierrors.FromObject(event.Object); event.Type != watch.Error || !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
			t.Errorf("a watch from %s got %s %v", old, event.Type, event.Object)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("a watch from %s goes on", old)
	}
}
