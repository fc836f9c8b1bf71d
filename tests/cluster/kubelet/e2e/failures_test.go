package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func crashLoop(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {containers: [{name: c, image: sh, args: ["echo words >/dev/termination-log; exit 3"]}]}
`)
	c.until(t, namespace, "p", 30*time.Second, func(pod *v1.Pod) error {
		if len(pod.Status.ContainerStatuses) != 1 {
			return describe(pod)
		}
		status := pod.Status.ContainerStatuses[0]
		last := status.LastTerminationState.Terminated
		if status.RestartCount < 2 || status.State.Waiting == nil || status.State.Waiting.Reason != "CrashLoopBackOff" ||
			last == nil || last.ExitCode != 3 || last.Message != "words\n" || last.Reason != "Error" || pod.Status.Phase != v1.PodRunning {
			return describe(pod)
		}
		return nil
	})
}

func cannotStart(t *testing.T, c *cluster) {
	pod := func(name, rest, container string) string {
		return fmt.Sprintf("---\napiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {%s containers: [{name: c, image: sh, args: [\"exit 0\"], %s}]}\n",
			name, rest, container)
	}
	namespace := c.create(t, strings.Replace(pod("image", "", ""), "image: sh", "image: nothing", 1)+
		pod("map", "volumes: [{name: v, configMap: {name: nothing}}],", "")+
		pod("key", "", "env: [{name: A, valueFrom: {secretKeyRef: {name: nothing, key: k}}}]")+
		pod("root", "", "securityContext: {runAsNonRoot: true}")+
		pod("program", "restartPolicy: Never,", "command: [/nothing]")+
		pod("unknown", "hostPID: true,", ""))
	for name, words := range map[string][]string{
		"image": {"ImagePullBackOff", `"nothing"`}, "map": {"ContainerCreating", ""},
		"key":  {"CreateContainerConfigError", `env A: secrets "nothing" not found`},
		"root": {"CreateContainerConfigError", "runAsNonRoot"},
	} {
		c.until(t, namespace, name, 30*time.Second, func(pod *v1.Pod) error {
			if len(pod.Status.ContainerStatuses) != 1 {
				return describe(pod)
			}
			waiting := pod.Status.ContainerStatuses[0].State.Waiting
			if waiting == nil || waiting.Reason != words[0] || !strings.Contains(waiting.Message, words[1]) {
				return describe(pod)
			}
			return nil
		})
	}
	c.until(t, namespace, "program", 30*time.Second, func(pod *v1.Pod) error {
		if pod.Status.Phase != v1.PodFailed || pod.Status.ContainerStatuses[0].State.Terminated.Reason != "StartError" {
			return describe(pod)
		}
		return nil
	})
	c.until(t, namespace, "unknown", 30*time.Second, func(pod *v1.Pod) error {
		if pod.Status.Phase != v1.PodFailed || !strings.Contains(pod.Status.Message, "spec.hostPID is not supported") {
			return describe(pod)
		}
		return nil
	})
	eventually(t, 10*time.Second, func() error {
		events, err := c.client.CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=FailedMount"})
		if err != nil || len(events.Items) == 0 || !strings.Contains(events.Items[0].Message, `volume "v" : configmaps "nothing" not found`) {
			return fmt.Errorf("events %v (%v)", events.Items, err)
		}
		return nil
	})
}

func memory(t *testing.T, c *cluster) {
	told, err := os.ReadFile(filepath.Join(c.Logs, "kubelet-node-a.log"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(told), "memory limits are not applied") {
		t.Skip("this machine does not bound memory")
	}
	namespace := c.create(t, `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  containers: [{name: c, image: sh, args: ["head -c 200000000 /dev/zero | tail -c 150000000 >/dev/null; exit $?"], resources: {limits: {memory: 40Mi}}}]
`)
	c.until(t, namespace, "p", 30*time.Second, func(pod *v1.Pod) error {
		if pod.Status.Phase != v1.PodFailed || pod.Status.ContainerStatuses[0].State.Terminated.Reason != "OOMKilled" {
			return describe(pod)
		}
		return nil
	})
}
