package environment

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// Hostname returns the name that a pod has for itself. Those in the node's network have the node's name.
func Hostname(pod *v1.Pod) string {
	name := pod.Name
	if pod.Spec.HostNetwork {
		name = pod.Spec.NodeName
	}
	if pod.Spec.Hostname != "" {
		name = pod.Spec.Hostname
	}
	// The kernel takes 64 bytes; a name does not end with a hyphen.
	if len(name) > 63 {
		name = strings.TrimRight(name[:63], "-.")
	}
	return name
}

// Hosts returns /etc/hosts of a pod. Its addresses are in its status.
func Hosts(pod *v1.Pod, clusterDomain string) string {
	var out strings.Builder
	out.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	name := Hostname(pod)
	if pod.Spec.Subdomain != "" {
		name = fmt.Sprintf("%s.%s.%s.svc.%s\t%s", name, pod.Spec.Subdomain, pod.Namespace, clusterDomain, name)
	}
	for _, address := range pod.Status.PodIPs {
		fmt.Fprintf(&out, "%s\t%s\n", address.IP, name)
	}
	for _, alias := range pod.Spec.HostAliases {
		fmt.Fprintf(&out, "%s\t%s\n", alias.IP, strings.Join(alias.Hostnames, "\t"))
	}
	return out.String()
}

// Resolver is what a node knows of name servers.
type Resolver struct {
	// ClusterDNS is the address of the cluster's; empty where there is none.
	ClusterDNS    string
	ClusterDomain string
	// Machine is the text of the machine's own resolv.conf.
	Machine string
}

// ResolvConf returns /etc/resolv.conf of a pod by its dnsPolicy and dnsConfig.
func (resolver Resolver) ResolvConf(pod *v1.Pod) string {
	servers, searches, options := resolver.byPolicy(pod)
	if config := pod.Spec.DNSConfig; config != nil {
		servers = append(servers, config.Nameservers...)
		searches = append(searches, config.Searches...)
		for _, option := range config.Options {
			text := option.Name
			if option.Value != nil {
				text += ":" + *option.Value
			}
			options = append(options, text)
		}
	}
	var out strings.Builder
	for _, server := range servers {
		fmt.Fprintf(&out, "nameserver %s\n", server)
	}
	if len(searches) > 0 {
		fmt.Fprintf(&out, "search %s\n", strings.Join(searches, " "))
	}
	if len(options) > 0 {
		fmt.Fprintf(&out, "options %s\n", strings.Join(options, " "))
	}
	return out.String()
}

func (resolver Resolver) byPolicy(pod *v1.Pod) (servers, searches, options []string) {
	policy := pod.Spec.DNSPolicy
	if policy == v1.DNSClusterFirst && pod.Spec.HostNetwork {
		policy = v1.DNSDefault
	}
	switch {
	case policy == v1.DNSNone:
		return nil, nil, nil
	case policy == v1.DNSDefault || resolver.ClusterDNS == "":
		return parse(resolver.Machine)
	}
	domain := resolver.ClusterDomain
	searches = []string{pod.Namespace + ".svc." + domain, "svc." + domain, domain}
	return []string{resolver.ClusterDNS}, searches, []string{"ndots:5"}
}

func parse(text string) (servers, searches, options []string) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			servers = append(servers, fields[1])
		case "search":
			searches = fields[1:]
		case "options":
			options = append(options, fields[1:]...)
		}
	}
	return servers, searches, options
}
