package lifecycle

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"portcullis/tests/cluster/kubelet/container"
	"portcullis/tests/cluster/kubelet/environment"
	"portcullis/tests/cluster/kubelet/images"
)

// spec says how a container of the pod is run. Folder is for this run alone.
//
// # Errors
//
// What is missing or contradicts itself, as a kubelet tells it with CreateContainerConfigError.
func (p *Pod) spec(
	ctx context.Context, spec *v1.Container, image images.Image, folder string,
) (*container.Spec, error) {
	process, err := p.process(ctx, spec, image)
	if err != nil {
		return nil, err
	}
	lookup := func(name string) (string, bool) {
		for _, variable := range process.Env {
			if value, found := strings.CutPrefix(variable, name+"="); found {
				return value, true
			}
		}
		return "", false
	}
	mounts, err := p.mounts(spec, lookup)
	if err != nil {
		return nil, err
	}
	message := filepath.Join(folder, "termination-log")
	if err := writeFile(message, nil, 0o666); err != nil {
		return nil, err
	}
	target := cmp.Or(spec.TerminationMessagePath, v1.TerminationMessagePathDefault)
	mounts = append(mounts, container.Mount{Source: message, Target: target})
	needed, err := machineMounts(process.Args[0], image.Mounts)
	if err != nil {
		return nil, err
	}
	mounts = append(mounts, needed...)
	// One mount may lie in another.
	slices.SortStableFunc(mounts, func(a, b container.Mount) int { return depth(a.Target) - depth(b.Target) })
	made := &container.Spec{
		Layers: folder, Hostname: environment.Hostname(p.pod), Mounts: mounts, Process: *process,
		Reachable: image.Mounts,
	}
	if filepath.IsAbs(process.Args[0]) {
		made.Reachable = append([]string{process.Args[0]}, image.Mounts...)
	}
	if security := spec.SecurityContext; security != nil && security.ReadOnlyRootFilesystem != nil {
		made.ReadOnlyRoot = *security.ReadOnlyRootFilesystem
	}
	if !p.pod.Spec.HostNetwork {
		made.NetworkNamespace = p.attachment.NamespacePath()
	}
	return made, nil
}

// process is the program of a container, its environment and its rights.
func (p *Pod) process(ctx context.Context, spec *v1.Container, image images.Image) (*container.Process, error) {
	process, err := rights(p.pod, spec, image)
	if err != nil {
		return nil, err
	}
	source := &environment.Source{
		Pod: p.view(), Image: image.Env, Node: p.node.Volumes.Node,
		ConfigMap: func(name string) (*v1.ConfigMap, error) { return p.volumes.ConfigMap(ctx, p.pod.Namespace, name) },
		Secret:    func(name string) (*v1.Secret, error) { return p.volumes.Secret(ctx, p.pod.Namespace, name) },
	}
	links := p.pod.Spec.EnableServiceLinks == nil || *p.pod.Spec.EnableServiceLinks
	source.Services = environment.Services(p.node.Services(), p.pod.Namespace, links)
	variables, err := source.Variables(spec)
	if err != nil {
		return nil, err
	}
	variables.Default("HOSTNAME", environment.Hostname(p.pod))
	home := "/"
	if process.User == 0 {
		home = "/root"
	}
	variables.Default("HOME", home)
	expand := func(words []string) []string {
		expanded := make([]string, len(words))
		for i, word := range words {
			expanded[i] = environment.Expand(word, variables.Lookup)
		}
		return expanded
	}
	process.Args = image.Invocation(expand(spec.Command), expand(spec.Args))
	process.Env = variables.List()
	process.Directory = cmp.Or(spec.WorkingDir, image.Directory)
	return process, nil
}

// rights are what the security contexts of a container and its pod allow.
func rights(pod *v1.Pod, spec *v1.Container, image images.Image) (*container.Process, error) {
	shared, own := pod.Spec.SecurityContext, spec.SecurityContext
	if shared == nil {
		shared = &v1.PodSecurityContext{}
	}
	if own == nil {
		own = &v1.SecurityContext{}
	}
	user := cmp.Or(own.RunAsUser, shared.RunAsUser, &image.User)
	nonRoot := cmp.Or(own.RunAsNonRoot, shared.RunAsNonRoot)
	if nonRoot != nil && *nonRoot && *user == 0 {
		return nil, fmt.Errorf("container has runAsNonRoot and would run as root (container: %s)", spec.Name)
	}
	process := &container.Process{User: uint32(*user)}
	if group := cmp.Or(own.RunAsGroup, shared.RunAsGroup); group != nil {
		process.Group = uint32(*group)
	}
	for _, group := range shared.SupplementalGroups {
		process.Supplemental = append(process.Supplemental, uint32(group))
	}
	if shared.FSGroup != nil {
		process.Supplemental = append(process.Supplemental, uint32(*shared.FSGroup))
	}
	process.Privileged = own.Privileged != nil && *own.Privileged
	var add, drop []string
	if own.Capabilities != nil {
		for _, capability := range own.Capabilities.Add {
			add = append(add, string(capability))
		}
		for _, capability := range own.Capabilities.Drop {
			drop = append(drop, string(capability))
		}
	}
	var err error
	if process.Capabilities, err = container.Capabilities(add, drop, process.Privileged); err != nil {
		return nil, err
	}
	process.NoNewPrivileges = own.AllowPrivilegeEscalation != nil && !*own.AllowPrivilegeEscalation
	profile := cmp.Or(own.SeccompProfile, shared.SeccompProfile)
	process.FilterSystemCalls = profile != nil && profile.Type == v1.SeccompProfileTypeRuntimeDefault && !process.Privileged
	return process, nil
}

// mounts are those of volumes, and of the files that tell a container of its pod.
func (p *Pod) mounts(spec *v1.Container, lookup func(string) (string, bool)) ([]container.Mount, error) {
	var mounts []container.Mount
	taken := map[string]bool{}
	for _, mount := range spec.VolumeMounts {
		source, err := p.volumeSource(&mount, lookup)
		if err != nil {
			return nil, fmt.Errorf("volumeMounts %q: %w", mount.Name, err)
		}
		target := filepath.Join("/", mount.MountPath)
		taken[target] = true
		mounts = append(mounts, container.Mount{Source: source, Target: target, ReadOnly: mount.ReadOnly})
	}
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		if target := "/etc/" + name; !taken[target] {
			mounts = append(mounts, container.Mount{Source: filepath.Join(p.folder, "etc", name), Target: target})
		}
	}
	return mounts, nil
}

// machineMounts are folders of the machine that an image asks for, and that of its program, where it lies on another file
// system than the machine's root: the root of a container has none of those.
func machineMounts(program string, asked []string) ([]container.Mount, error) {
	var mounts []container.Mount
	for _, path := range asked {
		mounts = append(mounts, container.Mount{Source: path, Target: path, ReadOnly: true})
	}
	if !filepath.IsAbs(program) {
		return mounts, nil
	}
	folder := filepath.Dir(program)
	var root, own unix.Stat_t
	if err := unix.Stat("/", &root); err != nil {
		return nil, fmt.Errorf("/: %w", err)
	}
	// A program that is in the container alone, as in a volume, is not the machine's.
	if err := unix.Stat(folder, &own); err == nil && own.Dev != root.Dev {
		mounts = append(mounts, container.Mount{Source: folder, Target: folder, ReadOnly: true})
	}
	return mounts, nil
}

func (p *Pod) volumeSource(mount *v1.VolumeMount, lookup func(string) (string, bool)) (string, error) {
	index := slices.IndexFunc(p.pod.Spec.Volumes, func(volume v1.Volume) bool { return volume.Name == mount.Name })
	if index < 0 {
		return "", fmt.Errorf("no such volume")
	}
	volume := &p.pod.Spec.Volumes[index]
	source := p.volumes.Source(volume)
	part := mount.SubPath
	if mount.SubPathExpr != "" {
		part = environment.Expand(mount.SubPathExpr, lookup)
	}
	if part == "" {
		return source, nil
	}
	if !filepath.IsLocal(part) {
		return "", fmt.Errorf("subPath %q leads out of the volume", part)
	}
	path := filepath.Join(source, part)
	if _, err := os.Stat(path); os.IsNotExist(err) {
		if volume.EmptyDir == nil && volume.HostPath == nil {
			return "", fmt.Errorf("subPath %q is not in the volume", part)
		}
		if err := os.MkdirAll(path, 0o777); err != nil {
			return "", err
		}
		// As the volume, regardless of the mask of the process.
		if err := os.Chmod(path, 0o777); err != nil {
			return "", err
		}
	}
	// Links are followed now, and within the volume only: a container may have made them.
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	if relative, err := filepath.Rel(source, resolved); err != nil || !filepath.IsLocal(relative) {
		return "", fmt.Errorf("subPath %q leads out of the volume", part)
	}
	return resolved, nil
}

func depth(path string) int { return strings.Count(path, "/") }

func writeFile(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, data, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}
