// Package network connects pods to their node. Each has a named network namespace and a pair of interfaces with its
// address alone; there is no bridge. Neighbours are permanent, so nothing waits for ARP, and what a pod sends is routed by
// its node:
//
//	pod:  eth0 10.244.1.7/32, default via 169.254.1.1       node:  10.244.1.7/32 dev pod5d41402abc
//	      eth0 fd00::7/128,   default via fe80::1                  fd00::7/128   dev pod5d41402abc
//
// `ip netns exec NAME` works where the kubelet was started in the mount namespace of the machine.
package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// NamespaceFolder is where the names of network namespaces are, as iproute2 has it.
const NamespaceFolder = "/run/netns"

// The gateways are the same in all pods and belong to no interface.
var (
	gateway4 = netip.MustParseAddr("169.254.1.1")
	gateway6 = netip.MustParseAddr("fe80::1")
)

// Attachment is the connection of one pod.
type Attachment struct {
	// Namespace is the name of the pod's network namespace.
	Namespace string
	// Link is the node's end of the pair of interfaces.
	Link string
	// Addresses are the pod's, at most one of each family.
	Addresses []netip.Addr
}

// NamespacePath is the path by which a process enters the namespace.
func (attachment Attachment) NamespacePath() string {
	return NamespaceFolder + "/" + attachment.Namespace
}

// PrepareNode lets the node pass packets of a family on, which the address is of.
func PrepareNode(node netip.Addr) error {
	if node.Is4() {
		return setKernel("net/ipv4/ip_forward", "1")
	}
	return setKernel("net/ipv6/conf/all/forwarding", "1")
}

// Attach makes the namespace and connects it to the node with these addresses. What was made is taken away where it
// fails.
func (attachment Attachment) Attach(node []netip.Addr) error {
	if err := attachment.attach(node); err != nil {
		return errors.Join(fmt.Errorf("network of %s: %w", attachment.Namespace, err), attachment.Detach())
	}
	return nil
}

// Detach takes the namespace and the interfaces away. It does nothing where there are none.
func (attachment Attachment) Detach() error {
	var problems []error
	if link, err := netlink.LinkByName(attachment.Link); err == nil {
		problems = append(problems, netlink.LinkDel(link))
	} else if _, missing := errors.AsType[netlink.LinkNotFoundError](err); !missing {
		problems = append(problems, err)
	}
	return errors.Join(append(problems, RemoveName(attachment.Namespace))...)
}

// RemoveName takes the name of a network namespace away, which ends it when no process is in it.
func RemoveName(name string) error {
	path := NamespaceFolder + "/" + name
	err := unix.Unmount(path, unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (attachment Attachment) attach(node []netip.Addr) error {
	namespace, err := makeNamespace(attachment.Namespace)
	if err != nil {
		return err
	}
	defer namespace.Close()
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: attachment.Link}, PeerName: "eth0", PeerNamespace: netlink.NsFd(namespace),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("make interfaces %s and eth0: %w", attachment.Link, err)
	}
	inside, err := netlink.NewHandleAt(namespace, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer inside.Close()
	outer, err := netlink.LinkByName(attachment.Link)
	if err != nil {
		return err
	}
	inner, err := inside.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := attachment.configurePod(inside, inner, outer.Attrs().HardwareAddr); err != nil {
		return fmt.Errorf("pod's side: %w", err)
	}
	if err := attachment.configureNode(outer, inner.Attrs().HardwareAddr, node); err != nil {
		return fmt.Errorf("node's side: %w", err)
	}
	return nil
}

func (attachment Attachment) configurePod(inside *netlink.Handle, eth0 netlink.Link, peer net.HardwareAddr) error {
	loopback, err := inside.LinkByName("lo")
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { return inside.LinkSetUp(loopback) },
		func() error { return inside.LinkSetUp(eth0) },
	}
	index := eth0.Attrs().Index
	for _, address := range attachment.Addresses {
		gateway := gateway4
		own := &netlink.Addr{IPNet: single(address)}
		if address.Is6() {
			gateway = gateway6
			own.Flags = unix.IFA_F_NODAD // nobody else can have it, and it is used at once
		}
		steps = append(steps,
			func() error { return inside.AddrAdd(eth0, own) },
			func() error { return inside.NeighSet(permanent(index, gateway, peer)) },
			func() error {
				return inside.RouteAdd(&netlink.Route{LinkIndex: index, Dst: single(gateway), Scope: netlink.SCOPE_LINK})
			},
			func() error { return inside.RouteAdd(&netlink.Route{LinkIndex: index, Gw: gateway.AsSlice()}) },
		)
	}
	return inOrder(steps...)
}

func (attachment Attachment) configureNode(link netlink.Link, peer net.HardwareAddr, node []netip.Addr) error {
	steps := []func() error{
		func() error { return netlink.LinkSetUp(link) },
		// Strict filtering by reverse path would drop what services send around.
		func() error { return setKernel("net/ipv4/conf/"+attachment.Link+"/rp_filter", "0") },
	}
	index := link.Attrs().Index
	for _, address := range attachment.Addresses {
		route := &netlink.Route{LinkIndex: index, Dst: single(address), Scope: netlink.SCOPE_LINK}
		for _, own := range node {
			if own.Is4() == address.Is4() {
				route.Src = own.AsSlice()
			}
		}
		steps = append(steps,
			func() error { return netlink.NeighSet(permanent(index, address, peer)) },
			func() error { return netlink.RouteAdd(route) },
		)
	}
	return inOrder(steps...)
}

// makeNamespace makes a network namespace and gives it a name. The calling thread is in it afterwards and is not used
// again.
func makeNamespace(name string) (netns.NsHandle, error) {
	type result struct {
		namespace netns.NsHandle
		err       error
	}
	results := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		namespace, err := netns.NewNamed(name)
		if err == nil {
			// As containerd has it: any user binds any port, and may ping.
			err = inOrder(
				func() error { return setKernel("net/ipv4/ip_unprivileged_port_start", "0") },
				func() error { return setKernel("net/ipv4/ping_group_range", "0 2147483647") },
			)
		}
		results <- result{namespace, err}
	}()
	got := <-results
	return got.namespace, got.err
}

func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func single(address netip.Addr) *net.IPNet {
	bits := address.BitLen()
	return &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(bits, bits)}
}

func permanent(link int, address netip.Addr, hardware net.HardwareAddr) *netlink.Neigh {
	family := netlink.FAMILY_V4
	if address.Is6() {
		family = netlink.FAMILY_V6
	}
	return &netlink.Neigh{
		LinkIndex: link, Family: family, State: netlink.NUD_PERMANENT, IP: address.AsSlice(), HardwareAddr: hardware,
	}
}

// setKernel sets a kernel parameter of the thread's network namespace.
func setKernel(name, value string) error {
	if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
		return fmt.Errorf("set %s to %s: %w", name, value, err)
	}
	return nil
}
