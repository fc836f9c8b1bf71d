package supervise

import (
	"path/filepath"

	"portcullis/tests/cluster/binaries"
	"portcullis/tests/cluster/plan"
)

// Names of components, as they are told to the control socket. Those of a node are followed by "-" and its name.
const (
	Etcd              = "etcd"
	APIServer         = "apiserver"
	ControllerManager = "controller-manager"
	Scheduler         = "scheduler"
	Proxy             = "kube-proxy"
	Kubelet           = "kubelet"
)

// components returns every component in the order of their start.
func components(settings Settings) []*Process {
	all := []*Process{
		{Name: Etcd, Command: etcdCommand(settings.Binaries), Healthy: etcdHealthy},
		{Name: APIServer, Command: apiserverCommand(settings.Binaries), Healthy: apiserverHealthy},
		{Name: ControllerManager, Command: []string{
			filepath.Join(settings.Binaries, binaries.ControllerManager),
			"--kubeconfig=" + path("controller-manager.kubeconfig"),
			"--use-service-account-credentials",
			"--service-account-private-key-file=" + path("service-account.key"),
			"--root-ca-file=" + path("ca.crt"),
			"--cluster-cidr=" + plan.ClusterCIDR + "," + plan.ClusterCIDR6,
			"--service-cluster-ip-range=" + plan.ServiceCIDR + "," + plan.ServiceCIDR6,
			// There is one of each, so that an election would only cost seconds.
			"--leader-elect=false",
			// The usual 20 requests a second are for a shared API server, and would be most of a rollout's time.
			"--kube-api-qps=500", "--kube-api-burst=1000",
			"--secure-port=0",
		}},
		{Name: Scheduler, Command: []string{
			filepath.Join(settings.Binaries, binaries.Scheduler),
			"--kubeconfig=" + path("scheduler.kubeconfig"),
			"--leader-elect=false", "--secure-port=0",
		}},
	}
	for _, node := range plan.Nodes() {
		all = append(all,
			&Process{Name: Proxy + "-" + node.Name, Namespace: node.Name, Command: []string{
				filepath.Join(settings.Binaries, binaries.Proxy),
				"--config=" + path("kube-proxy-"+node.Name+".yaml"),
			}},
			&Process{Name: Kubelet + "-" + node.Name, Namespace: node.Name, Command: []string{
				filepath.Join(settings.Harness, "kubelet"),
				"--kubeconfig", path("kubelet-" + node.Name + ".kubeconfig"),
				"--node", node.Name, "--zone", node.Zone,
				"--node-ip", node.Address + "," + node.Address6, "--pod-cidr", node.PodCIDR + "," + node.PodCIDR6,
				"--client-ca", path("ca.crt"),
				"--tls-cert", path("kubelet-" + node.Name + ".crt"), "--tls-key", path("kubelet-" + node.Name + ".key"),
				"--cluster-dns", plan.DNSAddr, "--cluster-domain", plan.ClusterDomain,
				"--images", path(imagesFile), "--root", nodeFolder(node),
			}},
		)
	}
	for _, process := range all {
		process.Log = filepath.Join(settings.logs(), process.Name+".log")
	}
	return all
}

// nodeFolder is where the kubelet of a node keeps what it has.
func nodeFolder(node plan.Node) string { return path("kubelet/" + node.Name) }

func etcdCommand(folder string) []string {
	return []string{
		filepath.Join(folder, binaries.Etcd),
		"--name=etcd", "--data-dir=" + path("etcd"),
		"--listen-client-urls=" + plan.EtcdURL, "--advertise-client-urls=" + plan.EtcdURL,
		"--listen-peer-urls=" + plan.EtcdPeerURL, "--initial-advertise-peer-urls=" + plan.EtcdPeerURL,
		"--initial-cluster=etcd=" + plan.EtcdPeerURL,
		// Its data is on a tmpfs and outlives no crash of the machine anyhow.
		"--unsafe-no-fsync",
		// The only member has nobody to wait for at an election.
		"--heartbeat-interval=10", "--election-timeout=100",
		"--log-level=warn",
	}
}

func apiserverCommand(folder string) []string {
	return []string{
		filepath.Join(folder, binaries.APIServer),
		"--etcd-servers=" + plan.EtcdURL,
		"--advertise-address=" + plan.Core, "--bind-address=0.0.0.0", "--secure-port=" + plan.APIPort,
		"--tls-cert-file=" + path("apiserver.crt"), "--tls-private-key-file=" + path("apiserver.key"),
		"--client-ca-file=" + path("ca.crt"),
		"--kubelet-client-certificate=" + path("apiserver-kubelet.crt"),
		"--kubelet-client-key=" + path("apiserver-kubelet.key"),
		"--kubelet-certificate-authority=" + path("ca.crt"),
		// Names of nodes are in no DNS.
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc." + plan.ClusterDomain,
		"--service-account-signing-key-file=" + path("service-account.key"),
		"--service-account-key-file=" + path("service-account.pub"),
		"--service-cluster-ip-range=" + plan.ServiceCIDR + "," + plan.ServiceCIDR6,
		"--authorization-mode=Node,RBAC",
		"--allow-privileged",
		// Admission webhooks are called at their pods: no kube-proxy serves the namespace of the API server.
		"--enable-aggregator-routing",
		// Or an orderly end waits for watches, which have none.
		"--shutdown-watch-termination-grace-period=1s",
		"--profiling=false",
	}
}
