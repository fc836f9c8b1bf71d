// Package volumes makes the volumes of pods and keeps them fresh.
//
// Those that are made from objects of the API (ConfigMap, Secret, downward API, projected) are written again when such an
// object changes, when the pod does, and when a token is due. What a container has mounted by subPath stays as it was, as
// with any kubelet.
package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
)

// Set are the volumes of one pod.
type Set struct {
	folder  string
	node    v1.ResourceList
	objects *Subscription
	tokens  *tokens
	stale   chan struct{}
	mutex   sync.Mutex // one writes at a time
	mounted []string
	closed  bool
}

// Settings are the same for all pods of a node.
type Settings struct {
	Client  kubernetes.Interface
	Objects *Objects
	// Node is what the node has, for limits that are not set.
	Node v1.ResourceList
	// TokenLifetime is the part of a token's life after which it is replaced.
	TokenLifetime float64
}

// NewSet makes the set of a pod, which keeps its volumes in a folder of its own.
func NewSet(settings Settings, folder string) *Set {
	set := &Set{
		folder: folder, node: settings.Node, stale: make(chan struct{}, 1),
		tokens: &tokens{client: settings.Client, lifetime: settings.TokenLifetime, issued: map[string]issuedToken{}},
	}
	set.objects = settings.Objects.Subscribe(set.Touch)
	return set
}

// Touch has the volumes written again soon.
func (set *Set) Touch() {
	select {
	case set.stale <- struct{}{}:
	default:
	}
}

// Make makes the volumes of a pod. It may be called again where it failed.
//
// # Errors
//
// What is missing, with the name of the volume.
func (set *Set) Make(ctx context.Context, pod *v1.Pod) error {
	set.mutex.Lock()
	defer set.mutex.Unlock()
	for i := range pod.Spec.Volumes {
		volume := &pod.Spec.Volumes[i]
		if err := set.makeVolume(ctx, pod, volume); err != nil {
			return fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", volume.Name, err)
		}
	}
	return nil
}

// Keep writes volumes again until the context ends. What goes wrong is told, and tried again. The function pod returns the
// pod as it is, or nil when it is gone.
func (set *Set) Keep(ctx context.Context, pod func() *v1.Pod, tell func(error)) {
	// Tokens fall due by time alone; and what failed is tried again.
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-set.stale:
		case <-tick.C:
			if !failed && !set.tokens.due() {
				continue
			}
		}
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := set.refresh(attempt, pod())
		cancel()
		if err != nil && !failed && ctx.Err() == nil {
			tell(err)
		}
		failed = err != nil
	}
}

// Source returns where a volume is, for a container to mount.
func (set *Set) Source(volume *v1.Volume) string {
	if volume.HostPath != nil {
		return volume.HostPath.Path
	}
	return set.path(volume)
}

// Close removes the volumes.
func (set *Set) Close() error {
	set.mutex.Lock()
	defer set.mutex.Unlock()
	set.closed = true
	set.objects.Close()
	var problems []error
	for _, path := range set.mounted {
		problems = append(problems, unix.Unmount(path, unix.MNT_DETACH))
	}
	set.mounted = nil
	return errors.Join(append(problems, os.RemoveAll(set.folder))...)
}

// ConfigMap returns a ConfigMap as it is now.
func (set *Set) ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error) {
	return set.objects.ConfigMap(ctx, namespace, name)
}

// Secret returns a Secret as it is now.
func (set *Set) Secret(ctx context.Context, namespace, name string) (*v1.Secret, error) {
	return set.objects.Secret(ctx, namespace, name)
}

func (set *Set) path(volume *v1.Volume) string { return filepath.Join(set.folder, volume.Name) }

func (set *Set) makeVolume(ctx context.Context, pod *v1.Pod, volume *v1.Volume) error {
	switch {
	case volume.HostPath != nil:
		return makeHostPath(volume.HostPath)
	case volume.EmptyDir != nil:
		return set.makeEmptyDir(pod, volume)
	}
	return set.write(ctx, pod, volume)
}

// refresh writes the volumes that are made from objects. One that cannot be written does not hinder the others, and
// keeps its last state.
func (set *Set) refresh(ctx context.Context, pod *v1.Pod) error {
	set.mutex.Lock()
	defer set.mutex.Unlock()
	if set.closed || pod == nil {
		return nil
	}
	var problems []error
	for i := range pod.Spec.Volumes {
		volume := &pod.Spec.Volumes[i]
		if volume.HostPath != nil || volume.EmptyDir != nil {
			continue
		}
		if err := set.write(ctx, pod, volume); err != nil {
			problems = append(problems, fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", volume.Name, err))
		}
	}
	return errors.Join(problems...)
}

func (set *Set) write(ctx context.Context, pod *v1.Pod, volume *v1.Volume) error {
	tree, known, err := set.tree(ctx, pod, volume)
	if err != nil {
		return err
	}
	if !known {
		return errors.New("volumes of this kind are not known here")
	}
	folder := set.path(volume)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	group := volumeGroup(pod)
	if err := makeFolder(folder, group); err != nil {
		return err
	}
	_, err = tree.Write(folder, group)
	return err
}

func (set *Set) makeEmptyDir(pod *v1.Pod, volume *v1.Volume) error {
	folder := set.path(volume)
	if _, err := os.Stat(folder); err == nil {
		return nil // made by an earlier attempt
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if volume.EmptyDir.Medium == v1.StorageMediumMemory {
		options := ""
		if limit := volume.EmptyDir.SizeLimit; limit != nil && !limit.IsZero() {
			options = fmt.Sprintf("size=%d", limit.Value())
		}
		if err := unix.Mount("tmpfs", folder, "tmpfs", 0, options); err != nil {
			return fmt.Errorf("mount tmpfs: %w", err)
		}
		set.mounted = append(set.mounted, folder)
	}
	mode := fs.FileMode(0o777)
	if group := volumeGroup(pod); group != 0 {
		if err := os.Chown(folder, 0, group); err != nil {
			return err
		}
		mode |= fs.ModeSetgid
	}
	return os.Chmod(folder, mode)
}

func makeHostPath(source *v1.HostPathVolumeSource) error {
	kind := v1.HostPathUnset
	if source.Type != nil {
		kind = *source.Type
	}
	switch kind {
	case v1.HostPathDirectoryOrCreate:
		return os.MkdirAll(source.Path, 0o755)
	case v1.HostPathFileOrCreate:
		file, err := os.OpenFile(source.Path, os.O_CREATE|os.O_RDONLY, 0o644)
		if err != nil {
			return err
		}
		return file.Close()
	}
	info, err := os.Stat(source.Path)
	if err != nil {
		return err
	}
	if kind == v1.HostPathDirectory && !info.IsDir() {
		return fmt.Errorf("hostPath type check failed: %s is not a directory", source.Path)
	}
	if kind == v1.HostPathFile && !info.Mode().IsRegular() {
		return fmt.Errorf("hostPath type check failed: %s is not a file", source.Path)
	}
	return nil
}

func volumeGroup(pod *v1.Pod) int {
	if context := pod.Spec.SecurityContext; context != nil && context.FSGroup != nil {
		return int(*context.FSGroup)
	}
	return 0
}
