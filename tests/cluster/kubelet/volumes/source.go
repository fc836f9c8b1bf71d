package volumes

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"strconv"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"portcullis/tests/cluster/kubelet/environment"
)

// defaultMode is that of the API for volumes that do not say one.
const defaultMode int32 = 0o644

// tree returns the files of a volume that is made from objects of the API; ok is false for other volumes.
func (set *Set) tree(ctx context.Context, pod *v1.Pod, volume *v1.Volume) (tree Tree, ok bool, err error) {
	tree = Tree{}
	switch {
	case volume.ConfigMap != nil:
		source := volume.ConfigMap
		projection := &v1.ConfigMapProjection{
			LocalObjectReference: source.LocalObjectReference, Items: source.Items, Optional: source.Optional,
		}
		return tree, true, set.addConfigMap(ctx, tree, pod, projection, source.DefaultMode)
	case volume.Secret != nil:
		source := volume.Secret
		projection := &v1.SecretProjection{
			LocalObjectReference: v1.LocalObjectReference{Name: source.SecretName},
			Items:                source.Items, Optional: source.Optional,
		}
		return tree, true, set.addSecret(ctx, tree, pod, projection, source.DefaultMode)
	case volume.DownwardAPI != nil:
		return tree, true, set.addDownward(tree, pod, volume.DownwardAPI.Items, volume.DownwardAPI.DefaultMode)
	case volume.Projected != nil:
		for i, source := range volume.Projected.Sources {
			if err := set.addProjection(ctx, tree, pod, volume, i, &source); err != nil {
				return nil, true, err
			}
		}
		return tree, true, nil
	}
	return nil, false, nil
}

func (set *Set) addProjection(
	ctx context.Context, tree Tree, pod *v1.Pod, volume *v1.Volume, index int, source *v1.VolumeProjection,
) error {
	mode := volume.Projected.DefaultMode
	switch {
	case source.ConfigMap != nil:
		return set.addConfigMap(ctx, tree, pod, source.ConfigMap, mode)
	case source.Secret != nil:
		return set.addSecret(ctx, tree, pod, source.Secret, mode)
	case source.DownwardAPI != nil:
		return set.addDownward(tree, pod, source.DownwardAPI.Items, mode)
	case source.ServiceAccountToken != nil:
		key := volume.Name + "/" + strconv.Itoa(index)
		token, err := set.tokens.token(ctx, pod, key, source.ServiceAccountToken)
		if err != nil {
			return err
		}
		file := File{Data: []byte(token), Mode: fileMode(nil, mode)}
		file.Mode, file.User = tokenOwner(pod, file.Mode)
		tree[path.Clean(source.ServiceAccountToken.Path)] = file
		return nil
	}
	return fmt.Errorf("projected.sources[%d]: a kind that is not known here", index)
}

func (set *Set) addConfigMap(
	ctx context.Context, tree Tree, pod *v1.Pod, source *v1.ConfigMapProjection, mode *int32,
) error {
	data := map[string][]byte{}
	object, err := set.objects.ConfigMap(ctx, pod.Namespace, source.Name)
	if err == nil {
		for key, value := range object.Data {
			data[key] = []byte(value)
		}
		maps.Copy(data, object.BinaryData)
	} else if !isOptional(source.Optional) || !apierrors.IsNotFound(err) {
		return err
	}
	return addItems(tree, "ConfigMap "+source.Name, data, source.Items, mode, isOptional(source.Optional))
}

func (set *Set) addSecret(
	ctx context.Context, tree Tree, pod *v1.Pod, source *v1.SecretProjection, mode *int32,
) error {
	var data map[string][]byte
	object, err := set.objects.Secret(ctx, pod.Namespace, source.Name)
	if err == nil {
		data = object.Data
	} else if !isOptional(source.Optional) || !apierrors.IsNotFound(err) {
		return err
	}
	return addItems(tree, "Secret "+source.Name, data, source.Items, mode, isOptional(source.Optional))
}

// addItems adds all of an object, or the keys that are asked for.
func addItems(
	tree Tree, object string, data map[string][]byte, items []v1.KeyToPath, mode *int32, optional bool,
) error {
	if len(items) == 0 {
		for key, value := range data {
			tree[key] = File{Data: value, Mode: fileMode(nil, mode)}
		}
		return nil
	}
	for _, item := range items {
		value, present := data[item.Key]
		if !present {
			if optional {
				continue
			}
			return fmt.Errorf("%s has no key %q", object, item.Key)
		}
		tree[path.Clean(item.Path)] = File{Data: value, Mode: fileMode(item.Mode, mode)}
	}
	return nil
}

func (set *Set) addDownward(tree Tree, pod *v1.Pod, items []v1.DownwardAPIVolumeFile, mode *int32) error {
	for _, item := range items {
		var text string
		var err error
		if item.FieldRef != nil {
			text, err = environment.Field(pod, item.FieldRef.FieldPath)
		} else {
			text, err = environment.Resource(pod, "", item.ResourceFieldRef, set.node)
		}
		if err != nil {
			return err
		}
		tree[path.Clean(item.Path)] = File{Data: []byte(text), Mode: fileMode(item.Mode, mode)}
	}
	return nil
}

// tokenOwner keeps a token to the one user of the pod's containers, where they are one. With a group for volumes that
// group may read it, and otherwise everybody may.
func tokenOwner(pod *v1.Pod, mode fs.FileMode) (fs.FileMode, int) {
	context := pod.Spec.SecurityContext
	if context != nil && context.FSGroup != nil {
		return 0o600, 0
	}
	var user *int64
	for _, container := range append(append([]v1.Container{}, pod.Spec.InitContainers...), pod.Spec.Containers...) {
		own := runAsUser(pod, &container)
		if own == nil || (user != nil && *user != *own) {
			return mode, 0
		}
		user = own
	}
	return 0o600, int(*user)
}

func runAsUser(pod *v1.Pod, container *v1.Container) *int64 {
	if context := container.SecurityContext; context != nil && context.RunAsUser != nil {
		return context.RunAsUser
	}
	if context := pod.Spec.SecurityContext; context != nil {
		return context.RunAsUser
	}
	return nil
}

func fileMode(own, common *int32) fs.FileMode {
	mode := defaultMode
	if common != nil {
		mode = *common
	}
	if own != nil {
		mode = *own
	}
	return fs.FileMode(mode) & fs.ModePerm
}

func isOptional(optional *bool) bool { return optional != nil && *optional }
