package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestPodsOfARealCluster(t *testing.T) {
	c := start(t)
	// They share the cluster and run at once. A function that ends waits for them.
	t.Run("together", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T, *cluster){
			"what a container is given":              whatAContainerIsGiven,
			"edits are seen in mounts":               editsAreSeen,
			"containers begin in their order":        order,
			"a container that ends is restarted":     crashLoop,
			"what cannot start says why":             cannotStart,
			"readiness decides on endpoints":         readiness,
			"a container that is unwell restarts":    liveness,
			"a startup probe goes before others":     startup,
			"a pod that is deleted ends with grace":  deletion,
			"who ignores SIGTERM is killed":          ignoresTerm,
			"hooks are called":                       hooks,
			"a pod has its time":                     outOfTime,
			"a pod that never started is deleted":    neverStarted,
			"a job completes":                        job,
			"a pod of the node's network":            hostNetwork,
			"memory is bounded":                      memory,
			"kubectl reaches containers":             reached,
			"tokens are replaced before they expire": tokens,
		} {
			t.Run(strings.ReplaceAll(name, "'", ""), func(t *testing.T) {
				t.Parallel()
				test(t, c)
			})
		}
	})
	t.Run("an image may come later", func(t *testing.T) { imageAdded(t, c) })
	t.Run("pods live on without the API server", func(t *testing.T) { withoutServer(t, c) })
	t.Run("a kubelet that is killed starts its pods again", func(t *testing.T) { killedKubelet(t, c) })
}

func whatAContainerIsGiven(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: ConfigMap
metadata: {name: map}
data: {a: text-a, b: text-b}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {key: hidden}
---
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: x}}
spec:
  hostname: own
  securityContext: {runAsUser: 65532, runAsGroup: 65533, fsGroup: 2000, supplementalGroups: [4242], runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  volumes:
    - {name: map, configMap: {name: map, items: [{key: a, path: deep/a}]}}
    - {name: secret, secret: {secretName: secret, defaultMode: 0400}}
    - {name: info, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: "metadata.labels['app']"}}]}}
    - {name: scratch, emptyDir: {medium: Memory}}
    - {name: absent, secret: {secretName: nothing, optional: true}}
  containers:
    - name: c
      image: sh
      args:
        - |
          id; grep -E 'NoNewPrivs|Seccomp:|CapEff|CapBnd' /proc/self/status | tr '\t' ' '
          echo $(FROM_MAP) $FROM_SECRET $HOSTNAME $PREFIX_b
          cat /map/deep/a /secret/key /info/labels; echo
          stat -L -c '%a %u %g' /secret/key
          touch /scratch/x && stat -c '%u %g' /scratch/x
          touch /x || true
          cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; echo
          ls /absent | wc -l
          grep -c $IP /etc/hosts
          /usr/bin/python3 -c 'import socket; socket.create_server(("", 80)); print("port 80")'
          T=/var/run/secrets/kubernetes.io/serviceaccount
          curl -sS --max-time 5 --cacert $T/ca.crt -H "Authorization: Bearer $(cat $T/token)" https://kubernetes.default.svc/version | grep -c gitVersion
          echo end; trap 'exit 0' TERM; while :; do sleep 0.1; done
      env:
        - {name: FROM_MAP, valueFrom: {configMapKeyRef: {name: map, key: a}}}
        - {name: FROM_SECRET, valueFrom: {secretKeyRef: {name: secret, key: key}}}
        - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
      envFrom: [{prefix: PREFIX_, configMapRef: {name: map}}]
      securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}
      volumeMounts:
        - {name: map, mountPath: /map}
        - {name: secret, mountPath: /secret}
        - {name: info, mountPath: /info}
        - {name: scratch, mountPath: /scratch}
        - {name: absent, mountPath: /absent}
`)
	pod := c.until(t, namespace, "p", 30*time.Second, isReady)
	eventually(t, 20*time.Second, func() error {
		if text := c.log(pod, "c", 0); !strings.HasSuffix(text, "end\n") {
			return errors.New(text)
		}
		return nil
	})
	want := []string{
		"uid=65532 gid=65533 groups=65533,2000,4242", "CapEff: 0000000000000000", "CapBnd: 0000000000000400", "NoNewPrivs: 1",
		"Seccomp: 2", "text-a hidden own text-b", "text-ahiddenx", "440 0 2000", "65532 2000",
		"touch: cannot touch '/x': Read-only file system", namespace, "0", "1", "port 80", "1", "end",
	}
	if got := c.log(pod, "c", 0); got != strings.Join(want, "\n")+"\n" {
		t.Errorf("the container said\n%s\nand not\n%s", got, strings.Join(want, "\n"))
	}
}

func editsAreSeen(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: ConfigMap
metadata: {name: map}
data: {a: "1"}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {key: "1"}
---
apiVersion: v1
kind: Pod
metadata: {name: p, annotations: {note: "1"}}
spec:
  volumes:
    - {name: map, configMap: {name: map}}
    - {name: all, projected: {sources: [{secret: {name: secret}}, {downwardAPI: {items: [{path: note, fieldRef: {fieldPath: "metadata.annotations['note']"}}]}}]}}
    - {name: late, configMap: {name: late, optional: true}}
  containers:
    - name: c
      image: sh
      args: ["trap 'exit 0' TERM; while :; do now=\"$(cat /map/a /all/key /all/note /late/x /part 2>/dev/null)\"; [ \"$now\" = \"$last\" ] || echo $now; last=$now; sleep 0.02; done"]
      volumeMounts:
        - {name: map, mountPath: /map}
        - {name: map, mountPath: /part, subPath: a}
        - {name: all, mountPath: /all}
        - {name: late, mountPath: /late}
`)
	pod := c.until(t, namespace, "p", 30*time.Second, isReady)
	seen := func(what string) {
		t.Helper()
		eventually(t, 2*time.Second, func() error {
			if text := c.log(pod, "c", 0); !strings.HasSuffix(text, what+"\n") {
				return fmt.Errorf("%q does not end with %s", text, what)
			}
			return nil
		})
	}
	seen("1111")
	core := c.client.CoreV1()
	patch := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := core.ConfigMaps(namespace).Patch(t.Context(), "map", types.MergePatchType, []byte(`{"data":{"a":"2"}}`), metav1.PatchOptions{})
	patch(err)
	seen("2111")
	_, err = core.Secrets(namespace).Patch(t.Context(), "secret", types.MergePatchType, []byte(`{"stringData":{"key":"2"}}`), metav1.PatchOptions{})
	patch(err)
	seen("2211")
	_, err = core.Pods(namespace).Patch(t.Context(), "p", types.MergePatchType, []byte(`{"metadata":{"annotations":{"note":"2"}}}`), metav1.PatchOptions{})
	patch(err)
	seen("2221")
	_, err = core.ConfigMaps(namespace).Create(t.Context(),
		&v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "late"}, Data: map[string]string{"x": "L"}}, metav1.CreateOptions{})
	patch(err)
	seen("222L1")
}

func order(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  volumes: [{name: v, emptyDir: {}}]
  initContainers:
    - {name: a, image: sh, args: ["sleep 0.3; echo a >>/v/order"], volumeMounts: [{name: v, mountPath: /v}]}
    - name: side
      image: sh
      restartPolicy: Always
      args: ["trap 'echo side-end; exit 0' TERM; sleep 0.3; echo side >>/v/order; touch /ready; while :; do sleep 0.1; done"]
      startupProbe: {exec: {command: [test, -e, /ready]}, periodSeconds: 1}
      volumeMounts: [{name: v, mountPath: /v}]
    - {name: b, image: sh, args: ["echo b >>/v/order"], volumeMounts: [{name: v, mountPath: /v}]}
  containers:
    - {name: c, image: sh, args: ["echo c >>/v/order; cat /v/order"], volumeMounts: [{name: v, mountPath: /v}]}
`)
	pod := c.until(t, namespace, "p", 30*time.Second, func(pod *v1.Pod) error {
		if pod.Status.Phase != v1.PodSucceeded {
			return describe(pod)
		}
		return nil
	})
	if got := c.log(pod, "c", 0); got != "a\nside\nb\nc\n" {
		t.Errorf("the order was %q", got)
	}
	if got := c.log(pod, "side", 0); got != "side-end\n" {
		t.Errorf("the sidecar said %q", got)
	}
}

func job(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: batch/v1
kind: Job
metadata: {name: j}
spec:
  backoffLimit: 3
  template:
    spec: {restartPolicy: OnFailure, volumes: [{name: v, emptyDir: {}}], containers: [{name: c, image: sh, args: ["test -e /v/x || { touch /v/x; exit 1; }"], volumeMounts: [{name: v, mountPath: /v}]}]}
`)
	eventually(t, 30*time.Second, func() error {
		job, err := c.client.BatchV1().Jobs(namespace).Get(t.Context(), "j", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range job.Status.Conditions {
			if condition.Type == batchv1.JobComplete && condition.Status == v1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("job is %+v", job.Status)
	})
}

func hostNetwork(t *testing.T, c *cluster) {
	namespace := c.create(t, `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {hostNetwork: true, containers: [{name: c, image: sh, args: ["hostname; trap 'exit 0' TERM; while :; do sleep 0.1; done"]}]}
`)
	pod := c.until(t, namespace, "p", 30*time.Second, isReady)
	if pod.Status.PodIP != pod.Status.HostIP || !netip.MustParsePrefix("10.90.0.0/24").Contains(netip.MustParseAddr(pod.Status.PodIP)) {
		t.Errorf("the pod has %s and its node %s", pod.Status.PodIP, pod.Status.HostIP)
	}
	eventually(t, 5*time.Second, func() error {
		if got := c.log(pod, "c", 0); got != pod.Spec.NodeName+"\n" {
			return fmt.Errorf("host name is %q", got)
		}
		return nil
	})
}

// isGone wants a pod to be gone, or to be another one of the same name.
func isGone(t *testing.T, c *cluster, pod *v1.Pod) error {
	now, err := c.client.CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || (err == nil && now.UID != pod.UID) {
		return nil
	}
	return fmt.Errorf("%s is still there (%v)", pod.Name, err)
}
