package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portcullis/tests/cluster/kubelet/volumes"
)

func readiness(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {selector: {app: x}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: x}}
spec:
  terminationGracePeriodSeconds: 2
  volumes: [{name: v, emptyDir: {}}]
  containers:
    - name: web
      image: web
      args: ["--directory", /v]
      command: [/usr/bin/python3, -m, http.server, "80"]
      ports: [{name: http, containerPort: 80}]
      readinessProbe: {httpGet: {path: /ready, port: http}, periodSeconds: 1, failureThreshold: 1}
      volumeMounts: [{name: v, mountPath: /v}]
    - {name: toggle, image: sh, args: ["sleep 1; touch /v/ready; sleep 3; rm /v/ready; sleep 3; touch /v/ready; sleep 60"], volumeMounts: [{name: v, mountPath: /v}]}
`)
	for _, want := range []bool{true, false, true} {
		eventually(t, 20*time.Second, func() error {
			endpoint, err := c.endpoint(t, namespace)
			if err != nil || endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready != want {
				return fmt.Errorf("endpoint is %+v (%v), where ready is to be %t", endpoint.Conditions, err, want)
			}
			return nil
		})
	}
	if restarts := c.pod(t, namespace, "p").Status.ContainerStatuses[1].RestartCount; restarts != 0 {
		t.Errorf("a container that is not ready was restarted %d times", restarts)
	}
}

func (c *cluster) endpoint(t *testing.T, namespace string) (discoveryv1.Endpoint, error) {
	slices, err := c.client.DiscoveryV1().EndpointSlices(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		return discoveryv1.Endpoint{}, err
	}
	for _, slice := range slices.Items {
		for _, endpoint := range slice.Endpoints {
			return endpoint, nil
		}
	}
	return discoveryv1.Endpoint{}, errors.New("no endpoint")
}

func liveness(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
    - name: c
      image: sh
      args: ["trap 'echo asked; exit 5' TERM; touch /well; sleep 1.5; rm /well; while :; do sleep 0.1; done"]
      livenessProbe: {exec: {command: [cat, /well]}, periodSeconds: 1, failureThreshold: 2}
`)
	pod := c.until(t, namespace, "p", 30*time.Second, func(pod *v1.Pod) error {
		if len(pod.Status.ContainerStatuses) != 1 || pod.Status.ContainerStatuses[0].RestartCount < 1 {
			return describe(pod)
		}
		last := pod.Status.ContainerStatuses[0].LastTerminationState.Terminated
		if last == nil || last.ExitCode != 5 {
			return describe(pod)
		}
		return nil
	})
	if got := c.log(pod, "c", 0); got != "asked\n" {
		t.Errorf("the first run said %q", got)
	}
}

func startup(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
    - name: c
      image: sh
      args: ["trap 'exit 0' TERM; sleep 2.5; touch /up; while :; do sleep 0.1; done"]
      startupProbe: {exec: {command: [cat, /up]}, periodSeconds: 1, failureThreshold: 10}
      livenessProbe: {exec: {command: [cat, /up]}, periodSeconds: 1, failureThreshold: 1}
`)
	pod := c.until(t, namespace, "p", 30*time.Second, isReady)
	status := pod.Status.ContainerStatuses[0]
	if status.RestartCount != 0 || !*status.Started || time.Since(status.State.Running.StartedAt.Time) < 2*time.Second {
		t.Errorf("%v", describe(pod))
	}
}

func deletion(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {selector: {app: x}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: x}}
spec:
  terminationGracePeriodSeconds: 20
  containers:
    - name: c
      image: sh
      args: ["trap 'echo term; sleep 1; echo end; exit 0' TERM; echo begin; while :; do sleep 0.1; done"]
      readinessProbe: {exec: {command: ["true"]}, periodSeconds: 1}
      lifecycle:
        preStop: {exec: {command: [sh, -c, "echo hook >/proc/1/fd/1; sleep 2; echo hooked >/proc/1/fd/1"]}}
`)
	pod := c.until(t, namespace, "p", 30*time.Second, isReady)
	begin := time.Now()
	if err := c.client.CoreV1().Pods(namespace).Delete(t.Context(), "p", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, func() error {
		endpoint, err := c.endpoint(t, namespace)
		conditions := endpoint.Conditions
		if err != nil || *conditions.Ready || !*conditions.Serving || !*conditions.Terminating {
			return fmt.Errorf("endpoint is %+v (%v)", conditions, err)
		}
		return nil
	})
	eventually(t, 10*time.Second, func() error { return isGone(t, c, pod) })
	if took := time.Since(begin); took < 3*time.Second {
		t.Errorf("it took %s", took)
	}
	if got := c.log(pod, "c", 0); got != "begin\nhook\nhooked\nterm\nend\n" {
		t.Errorf("the container said %q", got)
	}
	names, err := os.ReadDir(c.NamedNamespaces)
	if err != nil || strings.Contains(fmt.Sprint(names), "."+namespace+".") {
		t.Errorf("network namespaces are %v (%v)", names, err)
	}
}

func ignoresTerm(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {terminationGracePeriodSeconds: 600, containers: [{name: c, image: sh, args: ["trap '' TERM; while :; do sleep 0.1; done"]}]}
`)
	pod := c.until(t, namespace, "p", 30*time.Second, isReady)
	remove := func(seconds int64) {
		t.Helper()
		err := c.client.CoreV1().Pods(namespace).Delete(t.Context(), "p", metav1.DeleteOptions{GracePeriodSeconds: &seconds})
		if err != nil {
			t.Fatal(err)
		}
	}
	remove(300)
	time.Sleep(time.Second)
	if isGone(t, c, pod) == nil {
		t.Fatal("it was killed before its time")
	}
	remove(3) // less grace than before counts
	eventually(t, 8*time.Second, func() error { return isGone(t, c, pod) })
}

// tokens asks the real API server for tokens of a real pod, and replaces them after a three-hundredth of their life:
// it gives none for less than ten minutes.
func tokens(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: token, audience: vault, expirationSeconds: 600}}]}}]
  containers: [{name: c, image: sh, args: ["trap 'exit 0' TERM; while :; do sleep 0.1; done"], volumeMounts: [{name: v, mountPath: /v}]}]
`)
	pod := c.until(t, namespace, "p", 30*time.Second, isReady)
	folder := t.TempDir()
	set := volumes.NewSet(volumes.Settings{
		Client: c.client, Objects: volumes.NewObjects(c.client), TokenLifetime: 1.0 / 300,
	}, folder)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := set.Make(ctx, pod); err != nil {
		t.Fatal(err)
	}
	read := func() string {
		text, _ := os.ReadFile(filepath.Join(folder, "v", "token"))
		return string(text)
	}
	first := read()
	go set.Keep(ctx, func() *v1.Pod { return pod }, func(err error) { t.Error(err) })
	eventually(t, 5*time.Second, func() error {
		if read() == first {
			return errors.New("the token is still the first one")
		}
		return nil
	})
	parts := strings.Split(read(), ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Audiences  []string `json:"aud"`
		Expires    int64    `json:"exp"`
		Issued     int64    `json:"iat"`
		Kubernetes struct {
			Pod struct{ UID types.UID } `json:"pod"`
		} `json:"kubernetes.io"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(claims.Audiences) != "[vault]" || claims.Expires-claims.Issued != 600 || claims.Kubernetes.Pod.UID != pod.UID {
		t.Errorf("the token says %s", payload)
	}
	cancel()
	if err := set.Close(); err != nil {
		t.Error(err)
	}
}

func killedKubelet(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  nodeName: node-a
  volumes: [{name: v, emptyDir: {medium: Memory}}]
  initContainers: [{name: i, image: sh, args: ["echo made >/v/x"], volumeMounts: [{name: v, mountPath: /v}]}]
  containers:
    - {name: c, image: sh, args: ["trap 'exit 0' TERM; cat /v/x; while :; do sleep 0.1; done"], volumeMounts: [{name: v, mountPath: /v}]}
    - {name: long, image: sh, args: ["exec sleep 98765"]}
`)
	pod := c.until(t, namespace, "p", 30*time.Second, isReady)
	sleeper := 0
	eventually(t, 5*time.Second, func() error {
		for _, process := range c.Ask(t, `{"do":"processes"}`).Processes {
			if strings.Join(process.Command, " ") == "sleep 98765" {
				sleeper = process.PID
				return nil
			}
		}
		return errors.New("the process of the pod was not found")
	})
	c.Ask(t, `{"do":"kill","name":"kubelet-node-a"}`)
	eventually(t, 10*time.Second, func() error {
		if syscall.Kill(sleeper, 0) == nil {
			return errors.New("the process of the pod is still there")
		}
		return nil
	})
	c.Ask(t, `{"do":"start","name":"kubelet-node-a"}`)
	after := c.until(t, namespace, "p", 30*time.Second, func(pod *v1.Pod) error {
		if pod.Status.ContainerStatuses[0].RestartCount != 1 {
			return describe(pod)
		}
		return isReady(pod)
	})
	last := after.Status.ContainerStatuses[0].LastTerminationState.Terminated
	// Its memory is gone, so it was initialized again.
	if after.Status.InitContainerStatuses[0].RestartCount != 1 {
		t.Error(describe(after))
	}
	// It is ready as soon as it runs, and may have said nothing yet.
	eventually(t, 5*time.Second, func() error {
		if got := c.log(after, "c", 1); got != "made\n" {
			return fmt.Errorf("it said %q", got)
		}
		return nil
	})
	if after.UID != pod.UID || last == nil || last.Reason != "ContainerStatusUnknown" {
		t.Error(describe(after))
	}
	c.Ask(t, `{"do":"stop","name":"kubelet-node-a"}`)
	eventually(t, 10*time.Second, func() error {
		names, err := os.ReadDir(c.NamedNamespaces)
		for _, name := range names {
			if strings.HasPrefix(name.Name(), "node-a.") {
				return fmt.Errorf("network namespace %s is still there", name.Name())
			}
		}
		return err
	})
	links, err := exec.Command("nsenter", "--net="+c.Namespaces["node-a"], "ip", "-o", "link").CombinedOutput()
	if err != nil || strings.Contains(string(links), "pod") || !strings.Contains(string(links), "uplink") {
		t.Errorf("interfaces of the node are %s (%v)", links, err)
	}
	// The names of namespaces are in the mounts of the cluster, and so is the folder of the node.
	root := strings.TrimSuffix(c.NamedNamespaces, "/run/netns")
	if _, err := os.Stat(root + "/run/cluster/kubelet/node-a/run"); !os.IsNotExist(err) {
		t.Errorf("the folder of pods is still there (%v)", err)
	}
	c.Ask(t, `{"do":"start","name":"kubelet-node-a"}`)
}
