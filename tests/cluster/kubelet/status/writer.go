package status

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
)

// Writer writes the status of one pod, the latest one only, and tries for as long as the API server does not answer.
type Writer struct {
	client kubernetes.Interface
	pod    *v1.Pod // as last seen from the API server
	wake   chan struct{}
	mutex  sync.Mutex
	next   *v1.PodStatus
	remove bool
}

// NewWriter returns a writer that writes until the context ends.
func NewWriter(ctx context.Context, client kubernetes.Interface, pod *v1.Pod) *Writer {
	writer := &Writer{client: client, pod: pod, wake: make(chan struct{}, 1)}
	go writer.run(ctx)
	return writer
}

// Set has a status written.
func (writer *Writer) Set(status v1.PodStatus) {
	writer.change(func() { writer.next = &status })
}

// Remove removes the pod from the API, after the last status was written.
func (writer *Writer) Remove() {
	writer.change(func() { writer.remove = true })
}

func (writer *Writer) change(change func()) {
	writer.mutex.Lock()
	change()
	writer.mutex.Unlock()
	select {
	case writer.wake <- struct{}{}:
	default:
	}
}

func (writer *Writer) run(ctx context.Context) {
	const first, longest = 200 * time.Millisecond, 2 * time.Second
	pause := first
	for {
		done, err := writer.attempt(ctx)
		if done || ctx.Err() != nil {
			return
		}
		if err == nil {
			pause = first
			select {
			case <-ctx.Done():
				return
			case <-writer.wake:
			}
			continue
		}
		slog.Warn("status not written", "pod", writer.pod.Namespace+"/"+writer.pod.Name, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, longest)
	}
}

// attempt writes what is to be written. Done is true when there is nothing more to write, ever.
func (writer *Writer) attempt(ctx context.Context) (done bool, err error) {
	writer.mutex.Lock()
	status, remove := writer.next, writer.remove
	writer.mutex.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if status != nil {
		err := writer.patch(ctx, status)
		if apierrors.IsNotFound(err) || writer.isAnother(ctx, err) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		writer.mutex.Lock()
		if writer.next == status {
			writer.next = nil
		}
		again := writer.next != nil
		writer.mutex.Unlock()
		if again {
			return writer.attempt(ctx)
		}
	}
	if !remove {
		return false, nil
	}
	now, uid := int64(0), writer.pod.UID
	err = writer.client.CoreV1().Pods(writer.pod.Namespace).Delete(ctx, writer.pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &uid},
	})
	if err == nil || apierrors.IsNotFound(err) || writer.isAnother(ctx, err) {
		return true, nil
	}
	return false, fmt.Errorf("delete: %w", err)
}

// isAnother says whether a conflict is for a new pod that has the name by now.
func (writer *Writer) isAnother(ctx context.Context, err error) bool {
	if !apierrors.IsConflict(err) {
		return false
	}
	pod, err := writer.client.CoreV1().Pods(writer.pod.Namespace).Get(ctx, writer.pod.Name, metav1.GetOptions{})
	return apierrors.IsNotFound(err) || (err == nil && pod.UID != writer.pod.UID)
}

// patch sends what differs from the pod as it was last seen, so that conditions of others stay.
func (writer *Writer) patch(ctx context.Context, status *v1.PodStatus) error {
	before, err := json.Marshal(v1.Pod{Status: writer.pod.Status})
	if err != nil {
		return err
	}
	// The uid makes it a conflict to write to another pod of the same name.
	after, err := json.Marshal(v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: writer.pod.UID}, Status: *status})
	if err != nil {
		return err
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, v1.Pod{})
	if err != nil {
		return err
	}
	pod, err := writer.client.CoreV1().Pods(writer.pod.Namespace).
		Patch(ctx, writer.pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return err
	}
	writer.pod = pod
	return nil
}
