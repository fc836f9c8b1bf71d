package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// hooks has one container whose hooks are called, and one whose first hook fails for as long as a file is not there.
func hooks(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 5
  volumes: [{name: v, emptyDir: {}}]
  containers:
    - name: web
      image: web
      ports: [{name: http, containerPort: 80}]
      readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
      lifecycle:
        postStart: {exec: {command: [sh, -c, "echo started by $(id -u) >/proc/1/fd/1"]}}
        preStop: {httpGet: {path: /bye, port: http}}
    - name: late
      image: sh
      args: ["trap 'exit 0' TERM; while :; do sleep 0.1; done"]
      lifecycle: {postStart: {exec: {command: [sh, -c, "test -e /v/x || { touch /v/x; exit 1; }"]}}}
      volumeMounts: [{name: v, mountPath: /v}]
`)
	pod := c.until(t, namespace, "p", 30*time.Second, func(pod *v1.Pod) error {
		for _, status := range pod.Status.ContainerStatuses {
			if status.Name == "late" && status.RestartCount != 1 {
				return describe(pod)
			}
		}
		return isReady(pod)
	})
	if got := c.log(pod, "web", 0); !strings.Contains(got, "started by 0\n") {
		t.Errorf("the container said %q", got)
	}
	if err := c.client.CoreV1().Pods(namespace).Delete(t.Context(), "p", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// 404 is an answer of the hook's, and changes nothing.
	eventually(t, 10*time.Second, func() error {
		if got := c.log(pod, "web", 0); !strings.Contains(got, `"GET /bye HTTP/1.1" 404`) {
			return fmt.Errorf("the container said %q", got)
		}
		return nil
	})
	eventually(t, 10*time.Second, func() error { return isGone(t, c, pod) })
}

func outOfTime(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {activeDeadlineSeconds: 2, containers: [{name: c, image: sh, args: ["trap 'exit 0' TERM; while :; do sleep 0.1; done"]}]}
`)
	pod := c.until(t, namespace, "p", 30*time.Second, func(pod *v1.Pod) error {
		if pod.Status.Phase != v1.PodFailed || pod.Status.Reason != "DeadlineExceeded" {
			return describe(pod)
		}
		return nil
	})
	if pod.Status.ContainerStatuses[0].State.Terminated == nil {
		t.Error(describe(pod))
	}
}

// neverStarted deletes a pod that waits for what never comes.
func neverStarted(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {volumes: [{name: v, secret: {secretName: nothing}}], containers: [{name: c, image: sh, args: ["exit 0"]}]}
`)
	pod := c.until(t, namespace, "p", 30*time.Second, func(pod *v1.Pod) error {
		if pod.Status.PodIP == "" {
			return describe(pod)
		}
		return nil
	})
	if err := c.client.CoreV1().Pods(namespace).Delete(t.Context(), "p", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, func() error { return isGone(t, c, pod) })
}

// imageAdded has a container wait for an image until the table has it.
func imageAdded(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {restartPolicy: Never, containers: [{name: c, image: "later:1"}]}
`)
	c.until(t, namespace, "p", 30*time.Second, func(pod *v1.Pod) error {
		if len(pod.Status.ContainerStatuses) == 0 || pod.Status.ContainerStatuses[0].State.Waiting.Reason != "ImagePullBackOff" {
			return describe(pod)
		}
		return nil
	})
	c.Ask(t, `{"do":"images","images":{"later:1":{"command":["/bin/sh","-c"],"args":["echo here $(id -u) $X"],"env":{"X":"y"},"user":12}}}`)
	pod := c.until(t, namespace, "p", 30*time.Second, func(pod *v1.Pod) error {
		if pod.Status.Phase != v1.PodSucceeded {
			return describe(pod)
		}
		return nil
	})
	eventually(t, 5*time.Second, func() error {
		if got := c.log(pod, "c", 0); got != "here 12 y\n" {
			return errors.New(got)
		}
		return nil
	})
}
