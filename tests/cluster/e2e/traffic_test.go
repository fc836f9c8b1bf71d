package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"portcullis/tests/cluster/netns"
	"portcullis/tests/cluster/plan"
	"portcullis/tests/cluster/running"
)

// told is what a test looks at of a backend's answer.
type told struct{ Pod, Node, Version, Remote string }

// get asks an address from a network namespace, on a connection of its own.
func get(namespace, url string) (told, error) {
	client := http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{DialContext: netns.Dial(namespace), DisableKeepAlives: true},
	}
	var answer told
	response, err := client.Get(url)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return answer, fmt.Errorf("%s: %s", url, response.Status)
	}
	return answer, json.NewDecoder(response.Body).Decode(&answer)
}

// served waits until kube-proxy of a namespace has the three endpoints: it writes its rules once a second at most.
func served(t *testing.T, namespace, url string) {
	t.Helper()
	reached := map[string]bool{}
	eventually(t, 10*time.Second, namespace+" serves all of "+url, func() error {
		answer, err := get(namespace, url)
		if err == nil {
			reached[answer.Pod] = true
		}
		if len(reached) < 3 {
			return fmt.Errorf("reached %v, %v", reached, err)
		}
		return nil
	})
}

func fromPod(t *testing.T, cluster *running.Cluster, client kubernetes.Interface, url string) {
	pods, err := client.CoreV1().Pods("web").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	addresses := map[string]string{}
	for _, pod := range pods.Items {
		addresses[pod.Name] = pod.Status.PodIP
	}
	// Whose network namespace it is is told by the pod itself.
	var namespace, own string
	for _, process := range cluster.Ask(t, `{"do":"processes"}`).Processes {
		if filepath.Base(process.Command[0]) != "backend" {
			continue
		}
		namespace = filepath.Join(cluster.NamedNamespaces, process.Namespace)
		answer, err := get(namespace, "http://127.0.0.1:8080/")
		if err != nil {
			t.Fatalf("%s: %v", process.Namespace, err)
		}
		own = answer.Pod
	}
	if addresses[own] == "" {
		t.Fatalf("pod %q is not one of %v", own, addresses)
	}
	reached := map[string]bool{}
	for range 60 {
		answer, err := get(namespace, url)
		if err != nil {
			t.Fatal(err)
		}
		reached[answer.Pod] = true
		remote, _, _ := net.SplitHostPort(answer.Remote)
		// A pod that reaches itself by a service is seen with an address of its node, or its answer would go past
		// the node's translation.
		if answer.Pod != own && remote != addresses[own] {
			t.Fatalf("%s was asked by %s, not by %s", answer.Pod, remote, addresses[own])
		}
	}
	if len(reached) != 3 {
		t.Errorf("of three pods only %v were reached", reached)
	}
}

func fromOutside(t *testing.T, cluster *running.Cluster, client kubernetes.Interface) {
	var urls []string
	for _, node := range plan.Nodes() {
		for _, address := range []string{node.Address, node.Address6} {
			urls = append(urls, "http://"+net.JoinHostPort(address, "30080")+"/")
		}
	}
	const status = `{"status":{"loadBalancer":{"ingress":[{"ip":"198.18.100.7"}]}}}`
	_, err := client.CoreV1().Services("web").Patch(t.Context(), "web", types.MergePatchType, []byte(status),
		metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range append(urls, "http://198.18.100.7/") {
		served(t, cluster.Namespaces[plan.OutsideName], url)
	}
}
