// Package container runs one container as a process of this machine: in namespaces of its own, on an overlay of the
// machine's root, with the user, capabilities and system call filter of its security context.
//
//	Start: kubelet --fork, new pid, mount, ipc and uts namespaces--> "container-init" --exec--> the program, pid 1
//	Exec:  kubelet --setns into those of pid 1, fork--> "container-exec" --exec--> a probe or a hook
//
// The program is pid 1 of its namespace, so all it started ends with it. Nothing here knows of pods or of Kubernetes.
package container

// InitCommand is the first argument with which the kubelet's own binary becomes the first process of a container.
const InitCommand = "container-init"

// ExecCommand is the first argument with which the kubelet's own binary becomes a process in a running container.
const ExecCommand = "container-exec"

// Spec is what a container is made of.
type Spec struct {
	// Layers is a folder for the container alone: what it writes, and where its root is mounted.
	Layers string
	// ReadOnlyRoot refuses writes outside of Mounts.
	ReadOnlyRoot bool
	// NetworkNamespace is the path of a network namespace; empty for that of the kubelet.
	NetworkNamespace string
	Hostname         string
	// Mounts are made in this order.
	Mounts []Mount
	// Reachable are paths to which every user may descend: on this machine programs lie in folders of root's.
	Reachable []string
	Process   Process
}

// Mount shows a file or folder of the kubelet's mount namespace in the container.
type Mount struct {
	Source   string
	Target   string
	ReadOnly bool
}

// Process is a program and what it may do.
type Process struct {
	// Args is the program and its arguments. A name without a slash is looked up in PATH of Env.
	Args []string
	Env  []string
	// Directory is where the program starts; empty for the root.
	Directory    string
	User         uint32
	Group        uint32
	Supplemental []uint32
	// Capabilities are those that root may have, without the prefix CAP_. Users other than root have none, since none is
	// ambient.
	Capabilities []string
	// NoNewPrivileges keeps programs with set-user-ID or file capabilities from gaining any.
	NoNewPrivileges bool
	// FilterSystemCalls applies the filter that Denied describes.
	FilterSystemCalls bool
	// Privileged leaves /sys and the kernel's settings writable.
	Privileged bool
}
