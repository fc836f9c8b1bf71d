package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// withoutServer has a container end while the API server is away: it is started again with what is known of its
// ConfigMap, and all is told and fresh soon after the server is back.
func withoutServer(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: ConfigMap
metadata: {name: map}
data: {a: "1"}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  volumes: [{name: map, configMap: {name: map}}]
  containers:
    - {name: short, image: sh, args: ["echo $A; sleep 2"], env: [{name: A, valueFrom: {configMapKeyRef: {name: map, key: a}}}]}
    - name: long
      image: sh
      args: ["trap 'exit 0' TERM; while :; do now=$(cat /map/a); [ $now = \"$last\" ] || echo $now; last=$now; sleep 0.02; done"]
      volumeMounts: [{name: map, mountPath: /map}]
`)
	pod := c.until(t, namespace, "p", 30*time.Second, isReady)
	c.Ask(t, `{"do":"kill","name":"apiserver"}`)
	eventually(t, 15*time.Second, func() error {
		if got := c.log(pod, "short", 1); got != "1\n" {
			return fmt.Errorf("the second run said %q", got)
		}
		return nil
	})
	time.Sleep(5 * time.Second) // in which watches fail often enough to become rare, were they not kept from that
	c.Ask(t, `{"do":"start","name":"apiserver"}`)
	_, err := c.client.CoreV1().ConfigMaps(namespace).Patch(t.Context(), "map", types.MergePatchType,
		[]byte(`{"data":{"a":"2"}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 4*time.Second, func() error {
		if got := c.log(pod, "long", 0); !strings.HasSuffix(got, "2\n") {
			return fmt.Errorf("the mount had %q", got)
		}
		return nil
	})
	c.until(t, namespace, "p", 4*time.Second, func(pod *v1.Pod) error {
		for _, status := range pod.Status.ContainerStatuses {
			if status.Name == "short" && status.RestartCount > 0 {
				return nil
			}
		}
		return describe(pod)
	})
}
