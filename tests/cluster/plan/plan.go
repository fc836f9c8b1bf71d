// Package plan says where everything of the test cluster is: addresses, names and ports.
//
// Nothing here is visible outside of the cluster's own network namespaces, so two clusters may run at once with the
// same addresses.
//
//	outside 198.18.0.2 ---- core ---- node-a  pods 10.244.1.0/24  zone-a
//	                        etcd  \
//	                   API server  -- node-b  pods 10.244.2.0/24  zone-b
//
// Every link is a veth pair with routes from point to point. There is no bridge, so that all traffic is routed and
// conntrack sees both directions of it.
package plan

// Addresses of the control plane. Nodes have addresses of 10.90.0.0/24 (and fd00:90::/64).
const (
	Core             = "10.90.0.1"
	Core6            = "fd00:90::1"
	APIPort          = "6443"
	ServiceCIDR      = "10.96.0.0/16"
	ServiceCIDR6     = "fd00:10:96::/112"
	KubernetesAddr   = "10.96.0.1"
	KubernetesAddr6  = "fd00:10:96::1"
	DNSAddr          = "10.96.0.10"
	ClusterDomain    = "cluster.local"
	ClusterCIDR      = "10.244.0.0/16"
	ClusterCIDR6     = "fd00:10:244::/56"
	EtcdURL          = "http://127.0.0.1:2379"
	EtcdPeerURL      = "http://127.0.0.1:2380"
	APIInside        = "https://" + Core + ":" + APIPort
	LoadBalancerCIDR = "198.18.100.0/24"
	// KubeletCaller is the common name of the certificate that the API server shows to kubelets.
	KubeletCaller = "kube-apiserver-kubelet-client"
)

// Outside is a machine beside the cluster: a client whose address is neither a node's nor a pod's.
// 198.18.0.0/15 is set aside for benchmarks (RFC 2544), so that it is nobody's address in any test.
const (
	OutsideName = "outside"
	Outside     = "198.18.0.2"
	Outside6    = "2001:db8:18::2"
)

// Node is one node of the cluster, with a network namespace of its own.
type Node struct {
	Name     string
	Zone     string
	Address  string
	Address6 string
	PodCIDR  string
	PodCIDR6 string
}

// Nodes returns the nodes. There are two, in two zones, so that spreading and topology hints have something to choose.
// Each has a namespace and a kube-proxy of its own: what a node port, a host port or `internalTrafficPolicy: Local`
// reaches depends on the node, and one namespace for both would hide it.
func Nodes() []Node {
	return []Node{
		{
			Name: "node-a", Zone: "zone-a",
			Address: "10.90.0.11", Address6: "fd00:90::11",
			PodCIDR: "10.244.1.0/24", PodCIDR6: "fd00:10:244:1::/64",
		},
		{
			Name: "node-b", Zone: "zone-b",
			Address: "10.90.0.12", Address6: "fd00:90::12",
			PodCIDR: "10.244.2.0/24", PodCIDR6: "fd00:10:244:2::/64",
		},
	}
}
