package agent

import (
	"strings"
	"testing"
)

func TestTheCommandLineIsReadWhole(t *testing.T) {
	options, err := Parse(strings.Fields("--kubeconfig k --node n --node-ip 10.0.0.1,fd00::1 --pod-cidr 10.1.0.0/24,fd00:1::/64 " +
		"--zone z --images i --root r --cpu 4"))
	if err != nil {
		t.Fatal(err)
	}
	if options.Addresses[1].String() != "fd00::1" || options.PodRanges[0].String() != "10.1.0.0/24" ||
		options.Capacity.Cpu().Value() != 4 || !strings.HasPrefix(options.Root, "/") || options.ClusterDomain != "cluster.local" {
		t.Errorf("%+v", options)
	}
}

func TestEveryMistakeOfTheCommandLineIsNamed(t *testing.T) {
	const right = "--kubeconfig k --node n --images i --root r "
	for line, wants := range map[string][]string{
		"--node n": {"--kubeconfig is missing", "--node-ip is missing", "--root is missing"},
		right + "--node-ip 10.0.0 --pod-cidr 10.1.0.0 --cpu x":        {"--node-ip: ", "--pod-cidr: ", "--cpu: "},
		right + "--node-ip 10.0.0.1 --pod-cidr 10.1.0.0/24,fd00::/64": {"1 addresses and --pod-cidr 2 ranges"},
		right + "--node-ip 10.0.0.1 --pod-cidr 10.1.0.0/24 more":      {`unexpected argument "more"`},
		right + "--node-ip 10.0.0.1 --pod-cidr 10.1.0.0/24 --client-ca c --tls-cert t": {
			"--client-ca needs --tls-cert and --tls-key",
		},
	} {
		_, err := Parse(strings.Fields(line))
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %s", line, err, want)
			}
		}
	}
}

func TestPathsOfMountsAreUnescaped(t *testing.T) {
	if got := unescape(`/a\040b\134c`); got != `/a b\c` {
		t.Errorf("%q", got)
	}
}
