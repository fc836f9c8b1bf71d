// Package agent is the kubelet as a program: what it is told, how it is kept from leaving anything behind, and how pods
// of the API get to lifecycle.
package agent

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"portcullis/tests/cluster/kubelet/lifecycle"
	"portcullis/tests/cluster/kubelet/server"
)

// Options are what the command line says.
type Options struct {
	Kubeconfig    string
	Node          string
	Addresses     []netip.Addr
	PodRanges     []netip.Prefix
	Zone          string
	Images        string
	Root          string
	ClusterDNS    string
	ClusterDomain string
	Server        server.Files
	AddressPause  time.Duration
	TokenLifetime float64
	BackOff       lifecycle.BackOff
	Capacity      v1.ResourceList
}

// Parse reads the command line.
//
// # Errors
//
// Every flag that is missing or cannot be read.
func Parse(args []string) (*Options, error) {
	options := &Options{}
	var addresses, ranges, cpu, memory string
	flags := flag.NewFlagSet("kubelet", flag.ContinueOnError)
	flags.StringVar(&options.Kubeconfig, "kubeconfig", "", "kubeconfig of the node")
	flags.StringVar(&options.Node, "node", "", "name of the node")
	flags.StringVar(&addresses, "node-ip", "", "address of the node; two of different families are separated by a comma")
	flags.StringVar(&ranges, "pod-cidr", "", "where pods have their addresses; as many as of the node, in the same order")
	flags.StringVar(&options.Zone, "zone", "", "zone of the node; none where it is empty")
	flags.StringVar(&options.Images, "images", "", "file that says which program stands for an image")
	flags.StringVar(&options.Root, "root", "", "folder of the node")
	flags.StringVar(&options.ClusterDNS, "cluster-dns", "", "name server of pods")
	flags.StringVar(&options.ClusterDomain, "cluster-domain", "cluster.local", "domain of services")
	flags.StringVar(&options.Server.Authority, "client-ca", "", "authority of the API server's certificate; where it is "+
		"empty the kubelet has no API")
	flags.StringVar(&options.Server.Certificate, "tls-cert", "", "certificate of the kubelet's API")
	flags.StringVar(&options.Server.Key, "tls-key", "", "its key")
	flags.DurationVar(&options.AddressPause, "address-pause", 30*time.Second, "how long an address of a pod rests")
	flags.Float64Var(&options.TokenLifetime, "token-lifetime", 0.8, "part of a token's life after which it is replaced")
	flags.DurationVar(&options.BackOff.First, "back-off", time.Second, "pause before a container starts a third time; "+
		"it doubles")
	flags.DurationVar(&options.BackOff.Longest, "back-off-max", 30*time.Second, "longest pause before a container starts")
	flags.StringVar(&cpu, "cpu", "16", "processors that the scheduler may give away")
	flags.StringVar(&memory, "memory", "16Gi", "memory that the scheduler may give away")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return options, options.complete(addresses, ranges, cpu, memory)
}

func (options *Options) complete(addresses, ranges, cpu, memory string) error {
	var problems []error
	for name, value := range map[string]string{
		"kubeconfig": options.Kubeconfig, "node": options.Node, "node-ip": addresses, "pod-cidr": ranges,
		"images": options.Images, "root": options.Root,
	} {
		if value == "" {
			problems = append(problems, fmt.Errorf("--%s is missing", name))
		}
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	if served := options.Server; served.Authority != "" && (served.Certificate == "" || served.Key == "") {
		problems = append(problems, errors.New("--client-ca needs --tls-cert and --tls-key"))
	}
	for text := range strings.SplitSeq(addresses, ",") {
		address, err := netip.ParseAddr(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("--node-ip: %w", err))
		}
		options.Addresses = append(options.Addresses, address)
	}
	for text := range strings.SplitSeq(ranges, ",") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("--pod-cidr: %w", err))
		}
		options.PodRanges = append(options.PodRanges, prefix)
	}
	if len(options.Addresses) != len(options.PodRanges) {
		problems = append(problems, fmt.Errorf("--node-ip has %d addresses and --pod-cidr %d ranges",
			len(options.Addresses), len(options.PodRanges)))
	}
	options.Capacity = v1.ResourceList{v1.ResourcePods: resource.MustParse("250")}
	for name, value := range map[v1.ResourceName]string{v1.ResourceCPU: cpu, v1.ResourceMemory: memory} {
		quantity, err := resource.ParseQuantity(value)
		if err != nil {
			problems = append(problems, fmt.Errorf("--%s: %w", name, err))
		}
		options.Capacity[name] = quantity
	}
	if options.TokenLifetime <= 0 || options.TokenLifetime > 1 {
		problems = append(problems, fmt.Errorf("--token-lifetime: %v is not above 0 and up to 1", options.TokenLifetime))
	}
	var err error
	if options.Root, err = filepath.Abs(options.Root); err != nil {
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}
