package supervise

import (
	"portcullis/tests/cluster/netns"
	"portcullis/tests/cluster/plan"
)

// uplink is the device of a node and of the machine outside that leads to the core.
const uplink = "uplink"

// makeNetwork makes the namespaces of nodes and of the machine outside, and links them to the core, which is the
// namespace that this process is in.
func makeNetwork() error {
	if err := netns.Prepare(); err != nil {
		return err
	}
	for _, node := range plan.Nodes() {
		if err := join(node.Name, node.Address+"/32", node.Address6+"/128"); err != nil {
			return err
		}
		if err := netns.Route("", node.PodCIDR, node.Address, node.Name); err != nil {
			return err
		}
		if err := netns.Route("", node.PodCIDR6, node.Address6, node.Name); err != nil {
			return err
		}
	}
	// Addresses of load balancers come in at the first node, whose kube-proxy knows them.
	first := plan.Nodes()[0]
	if err := netns.Route("", plan.LoadBalancerCIDR, first.Address, first.Name); err != nil {
		return err
	}
	return join(plan.OutsideName, plan.Outside+"/32", plan.Outside6+"/128")
}

// join makes a namespace and links it to the core, which is its way to everything.
func join(name string, addresses ...string) error {
	if err := netns.Add(name); err != nil {
		return err
	}
	err := netns.Connect(
		netns.End{Device: name, Addresses: []string{plan.Core + "/32", plan.Core6 + "/128"}},
		netns.End{Namespace: name, Device: uplink, Addresses: addresses},
	)
	if err != nil {
		return err
	}
	if err := netns.Route(name, "default", plan.Core, uplink); err != nil {
		return err
	}
	return netns.Route(name, "default", plan.Core6, uplink)
}
