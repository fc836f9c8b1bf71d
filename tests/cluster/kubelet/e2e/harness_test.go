// Package e2e runs pods on the kubelets of a real cluster.
package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"portcullis/tests/cluster/kubeapi"
	"portcullis/tests/cluster/running"
)

// images are the programs that pods of these tests run. A shell is the first process of its container, so that it takes
// no SIGTERM that it has not asked for.
const images = `
sh: {command: [/bin/sh, -c]}
web: {command: [/usr/bin/python3, -m, http.server, "80"]}
`

// cluster is a cluster that runs for a test.
type cluster struct {
	*running.Cluster
	client *kubernetes.Clientset
}

func start(t *testing.T) *cluster {
	t.Helper()
	folder := t.TempDir()
	table := filepath.Join(folder, "images.yaml")
	if err := os.WriteFile(table, []byte(images), 0o600); err != nil {
		t.Fatal(err)
	}
	started := running.Start(t, "../../cluster", "--images", table, "--logs", filepath.Join(folder, "logs"))
	client, err := kubeapi.Client(started.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{Cluster: started, client: client}
}

// create makes objects in a namespace of the test's own, and returns its name.
func (c *cluster) create(t *testing.T, manifests string) string {
	t.Helper()
	namespace := strings.ToLower(strings.ReplaceAll(filepath.Base(t.Name()), "_", "-"))
	made, err := c.client.CoreV1().Namespaces().Create(t.Context(),
		&v1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: namespace[:min(len(namespace), 40)] + "-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	manifests = strings.ReplaceAll(manifests, "metadata: {", "metadata: {namespace: "+made.Name+", ")
	// The service account of a namespace is there a moment after it, and no pod is taken before.
	eventually(t, 20*time.Second, func() error {
		_, err := c.client.CoreV1().ServiceAccounts(made.Name).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	if err := kubeapi.Create(t.Context(), c.Kubeconfig, []byte(manifests)); err != nil {
		t.Fatal(err)
	}
	return made.Name
}

func (c *cluster) pod(t *testing.T, namespace, name string) *v1.Pod {
	t.Helper()
	pod, err := c.client.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// until waits for a pod to be as a condition wants it, which says what it is instead.
func (c *cluster) until(t *testing.T, namespace, name string, limit time.Duration, condition func(*v1.Pod) error) *v1.Pod {
	t.Helper()
	var pod *v1.Pod
	eventually(t, limit, func() error {
		pod = c.pod(t, namespace, name)
		return condition(pod)
	})
	return pod
}

// log is what a run of a container has said so far.
func (c *cluster) log(pod *v1.Pod, container string, run int) string {
	folder := fmt.Sprintf("%s_%s_%s", pod.Namespace, pod.Name, pod.UID)
	text, _ := os.ReadFile(filepath.Join(c.Logs, "pods", folder, container, fmt.Sprintf("%d.log", run)))
	return string(text)
}

func eventually(t *testing.T, limit time.Duration, condition func() error) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(25 * time.Millisecond) {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not after %s: %v", limit, err)
		}
	}
}

// isReady wants a pod to be ready.
func isReady(pod *v1.Pod) error {
	if conditionOf(pod, v1.PodReady) != v1.ConditionTrue {
		return describe(pod)
	}
	return nil
}

func conditionOf(pod *v1.Pod, kind v1.PodConditionType) v1.ConditionStatus {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == kind {
			return condition.Status
		}
	}
	return v1.ConditionUnknown
}

func describe(pod *v1.Pod) error {
	text, _ := json.Marshal(pod.Status)
	return fmt.Errorf("%s/%s is %s", pod.Namespace, pod.Name, text)
}
