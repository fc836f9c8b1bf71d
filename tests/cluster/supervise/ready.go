package supervise

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portcullis/tests/cluster/kubeapi"
	"portcullis/tests/cluster/netns"
	"portcullis/tests/cluster/plan"
)

//go:embed dns.yaml
var dnsManifests []byte

// applyDNS creates CoreDNS in the cluster.
func applyDNS() error {
	return kubeapi.Create(context.Background(), path(adminKubeconfig), dnsManifests)
}

// waitReady waits for what a pod needs: nodes, the service account that it gets by default, and names.
func (c *cluster) waitReady() error {
	deadline := time.Now().Add(startLimit)
	for {
		err := missing()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready after %s: %w", startLimit, err)
		}
		for _, process := range c.processes {
			if process.PID() == 0 {
				return fmt.Errorf("%s: does not run any more; the end of its log:\n%s", process.Name, tail(process.Log))
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// missing says what is not there yet.
func missing() error {
	client, err := administrator()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{}); err != nil {
		return fmt.Errorf("service account default/default: %w", err)
	}
	for _, node := range plan.Nodes() {
		found, err := client.CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("node %s: %w", node.Name, err)
		}
		if !nodeReady(found) {
			return fmt.Errorf("node %s is not ready: conditions %v, taints %v", node.Name, found.Status.Conditions, found.Spec.Taints)
		}
	}
	dns, err := client.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("CoreDNS: %w", err)
	}
	if dns.Status.ReadyReplicas == 0 {
		return fmt.Errorf("CoreDNS is not ready: %s", podStates(ctx))
	}
	// kube-proxy knows it a second later.
	for _, node := range plan.Nodes() {
		resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return netns.Dial(filepath.Join(netns.Folder, node.Name))(ctx, network, net.JoinHostPort(plan.DNSAddr, "53"))
		}}
		ctx, cancel := context.WithTimeout(ctx, quick)
		_, err := resolver.LookupHost(ctx, "kubernetes.default.svc."+plan.ClusterDomain+".")
		cancel()
		if err != nil {
			return fmt.Errorf("names on %s: %w", node.Name, err)
		}
	}
	return nil
}

func nodeReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			// The controller takes its taint away a little after the condition; the scheduler goes by the taint.
			return condition.Status == corev1.ConditionTrue && len(node.Spec.Taints) == 0
		}
	}
	return false
}

// podStates tells of the pods of kube-system what an error message needs.
func podStates(ctx context.Context) string {
	client, err := administrator()
	if err != nil {
		return err.Error()
	}
	pods, err := client.CoreV1().Pods("kube-system").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("%d pods", len(pods.Items))
	for _, pod := range pods.Items {
		text += fmt.Sprintf("; %s on %q: %s, %v", pod.Name, pod.Spec.NodeName, pod.Status.Phase, pod.Status.ContainerStatuses)
	}
	return text
}
