package supervise

import (
	"fmt"
	"os"
	"path/filepath"

	"portcullis/tests/cluster/pki"
	"portcullis/tests/cluster/plan"
)

// adminKubeconfig is the file with which the supervisor itself speaks with the API server.
const adminKubeconfig = "admin.kubeconfig"

// files are what the administrator needs: a kubeconfig for the machine, and one for the cluster's namespaces.
type files struct {
	HostKubeconfig, InsideKubeconfig []byte
}

func path(name string) string { return Folder + "/" + name }

// writeFiles writes everything that the components read.
func writeFiles(settings Settings) (*files, error) {
	if err := makeFolders(settings.logs()); err != nil {
		return nil, err
	}
	authority, err := pki.NewAuthority("portcullis-test")
	if err != nil {
		return nil, err
	}
	own, err := authority.Server("kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc."+plan.ClusterDomain, "localhost",
		plan.Core, plan.Core6, plan.KubernetesAddr, plan.KubernetesAddr6, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	private, public, err := pki.SigningKey()
	if err != nil {
		return nil, err
	}
	if err := writeImages(settings.Images); err != nil {
		return nil, err
	}
	texts := map[string][]byte{
		"ca.crt": authority.Certificate, "apiserver.crt": own.Certificate, "apiserver.key": own.Key,
		"service-account.key": private, "service-account.pub": public,
	}
	users := map[string][]string{
		"controller-manager.kubeconfig": {"system:kube-controller-manager"},
		"scheduler.kubeconfig":          {"system:kube-scheduler"},
		"kube-proxy.kubeconfig":         {"system:kube-proxy"},
	}
	for _, node := range plan.Nodes() {
		// A real kubelet is held to its own node by the Node authorizer; ours is not a subject of any test.
		users["kubelet-"+node.Name+".kubeconfig"] = []string{"system:node:" + node.Name, "system:masters"}
	}
	caller, err := authority.Client(plan.KubeletCaller)
	if err != nil {
		return nil, err
	}
	texts["apiserver-kubelet.crt"], texts["apiserver-kubelet.key"] = caller.Certificate, caller.Key
	for _, node := range plan.Nodes() {
		pair, err := authority.Server(node.Name, node.Address, node.Address6)
		if err != nil {
			return nil, err
		}
		texts["kubelet-"+node.Name+".crt"], texts["kubelet-"+node.Name+".key"] = pair.Certificate, pair.Key
	}
	for file, user := range users {
		if texts[file], err = kubeconfig(authority, plan.APIInside, user[0], user[1:]...); err != nil {
			return nil, err
		}
	}
	for _, node := range plan.Nodes() {
		texts["kube-proxy-"+node.Name+".yaml"] = proxyConfiguration(node)
	}
	made := &files{}
	if made.HostKubeconfig, err = kubeconfig(authority, settings.HostAPI, "admin", "system:masters"); err != nil {
		return nil, err
	}
	if made.InsideKubeconfig, err = kubeconfig(authority, plan.APIInside, "admin", "system:masters"); err != nil {
		return nil, err
	}
	texts[adminKubeconfig] = made.InsideKubeconfig
	for name, text := range texts {
		if err := os.WriteFile(path(name), text, 0o600); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// makeFolders makes the folders of nodes and of logs. Kubelets write what containers say into a folder "pods" of theirs,
// which is made one of the logs, so that it can outlive the cluster with the others.
func makeFolders(logs string) error {
	pods := filepath.Join(logs, "pods")
	if err := os.MkdirAll(pods, 0o755); err != nil {
		return err
	}
	for _, node := range plan.Nodes() {
		if err := os.MkdirAll(nodeFolder(node), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(pods, filepath.Join(nodeFolder(node), "pods")); err != nil {
			return err
		}
	}
	return nil
}

func kubeconfig(authority *pki.Authority, server, user string, groups ...string) ([]byte, error) {
	pair, err := authority.Client(user, groups...)
	if err != nil {
		return nil, err
	}
	return authority.Kubeconfig(server, user, pair)
}

func proxyConfiguration(node plan.Node) []byte {
	return fmt.Appendf(nil, `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: %s
clusterCIDR: %s,%s
clientConnection: {kubeconfig: %s}
# These limits belong to the machine and cannot be written from a network namespace.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, node.Name, plan.ClusterCIDR, plan.ClusterCIDR6, path("kube-proxy.kubeconfig"))
}
