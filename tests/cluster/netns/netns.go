// Package netns makes network namespaces and the links between them.
package netns

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Folder is where named namespaces are. iproute2 uses the same one, so `ip netns` and `ip -n NAME` know them.
const Folder = "/run/netns"

// Add makes a namespace with a name, with its loopback up and forwarding on.
func Add(name string) error {
	if err := ip("netns", "add", name); err != nil {
		return err
	}
	return Do(filepath.Join(Folder, name), Prepare)
}

// Prepare turns on loopback and forwarding in the namespace of the calling thread.
func Prepare() error {
	for key, value := range map[string]string{
		"net/ipv4/ip_forward":                 "1",
		"net/ipv6/conf/all/forwarding":        "1",
		"net/ipv6/conf/default/accept_dad":    "0", // an address can be used at once, not after a second
		"net/ipv6/conf/default/dad_transmits": "0",
		"net/ipv6/conf/all/accept_dad":        "0",
		"net/ipv4/conf/all/rp_filter":         "0",
		"net/ipv4/conf/default/rp_filter":     "0",
	} {
		file := filepath.Join("/proc/sys", key)
		if err := os.WriteFile(file, []byte(value), 0o644); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return ip("link", "set", "lo", "up")
}

// Do calls a function on a thread that is in the namespace at path. Sockets and processes that the function makes stay
// in the namespace; goroutines that it starts do not.
func Do(path string, function func() error) error {
	target, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	defer target.Close()
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("network namespace: %w", err)
	}
	defer own.Close()
	if err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("network namespace %s: %w", path, err)
	}
	result := function()
	// A thread that cannot go back must not serve other goroutines: it stays locked and ends with this one.
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("back from network namespace %s: %w", path, err)
	}
	runtime.UnlockOSThread()
	return result
}

// End is one end of a link: a device in a named namespace, "" being the caller's, with addresses of a single host.
type End struct {
	Namespace string
	Device    string
	Addresses []string
}

// Connect makes a veth pair. Each end knows how to reach exactly the addresses of the other.
func Connect(left, right End) error {
	create := []string{"link", "add", left.Device}
	if left.Namespace != "" {
		create = append(create, "netns", left.Namespace)
	}
	create = append(create, "type", "veth", "peer", "name", right.Device)
	if right.Namespace != "" {
		create = append(create, "netns", right.Namespace)
	}
	if err := ip(create...); err != nil {
		return err
	}
	for _, here := range []End{left, right} {
		if err := in(here.Namespace, "link", "set", here.Device, "up"); err != nil {
			return err
		}
		for _, address := range here.Addresses {
			if err := in(here.Namespace, "addr", "replace", address, "dev", here.Device, nodad(address)); err != nil {
				return err
			}
		}
	}
	for _, pair := range [][2]End{{left, right}, {right, left}} {
		for _, address := range pair[1].Addresses {
			if err := in(pair[0].Namespace, "route", "add", address, "dev", pair[0].Device); err != nil {
				return err
			}
		}
	}
	return nil
}

// Route sends a destination ("default" or a CIDR) of a namespace through a neighbour on a device.
func Route(namespace, destination, via, device string) error {
	family := "-4"
	if strings.Contains(via, ":") {
		family = "-6"
	}
	return in(namespace, family, "route", "add", destination, "via", via, "dev", device, "onlink")
}

// nodad is a flag that `ip addr` takes for both families and that only IPv6 needs.
func nodad(address string) string {
	if strings.Contains(address, ":") {
		return "nodad"
	}
	return "noprefixroute"
}

func in(namespace string, arguments ...string) error {
	if namespace != "" {
		arguments = append([]string{"-n", namespace}, arguments...)
	}
	return ip(arguments...)
}

func ip(arguments ...string) error {
	output, err := exec.Command("ip", arguments...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}
