// Command policies enforces NetworkPolicies on one node of the test cluster, in whose network namespace it runs.
//
// What it decides and how packets come to it is sigs.k8s.io/kube-network-policies: its controller watches pods,
// namespaces and policies, and answers each first packet of a connection from an NFQUEUE. Ours is one thing: the rule
// that sends packets there. The controller writes it with the `queue` expression of nftables (CONFIG_NFT_QUEUE), which
// kernels may lack that have the older target of xtables, and that target can be named from nftables (NFT_COMPAT).
// Where the controller's own rule is taken this one is skipped.
//
// Without a program behind the queue packets are dropped: it fails closed. It takes its rules along when it ends.
package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
)

const (
	queue = 100
	// The table of the controller, and ours.
	theirs, ours = "kube-network-policies", "portcullis-policies"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "where the cluster is, and who we are")
	node := flag.String("node", "", "the node in whose network namespace this runs")
	flag.Parse()
	if err := run(*kubeconfig, *node); err != nil {
		fmt.Fprintln(os.Stderr, "policies:", err)
		os.Exit(1)
	}
}

func run(kubeconfig, node string) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	controller, err := networkpolicy.NewController(client,
		factory.Networking().V1().NetworkPolicies(), factory.Core().V1().Namespaces(), factory.Core().V1().Pods(),
		nil, nil, nil, nil,
		// Its NRI, which no runtime of ours serves, ends at once and says so. v0.8.0 fails without it, at the first
		// address that is no pod's (controller.go, getPodAssignedToIP).
		networkpolicy.Config{QueueID: queue, NodeName: node, NFTableName: theirs},
	)
	if err != nil {
		return fmt.Errorf("controller: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- controller.Run(ctx) }()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	taken, err := ruleIsTaken(ctx)
	if err != nil {
		return err
	}
	if !taken {
		if err := addRules(); err != nil {
			return fmt.Errorf("nftables: %w", err)
		}
		defer removeRules()
	}
	// Whoever waits for this reads it.
	fmt.Printf("enforcing, own rule taken: %v\n", taken)
	return <-ended
}

// ruleIsTaken tells whether the kernel has taken the rules of the controller, which says nothing of it and goes on.
func ruleIsTaken(ctx context.Context) (bool, error) {
	for range 20 {
		connection, err := nftables.New()
		if err != nil {
			return false, fmt.Errorf("nftables: %w", err)
		}
		tables, err := connection.ListTables()
		if err != nil {
			return false, fmt.Errorf("nftables: %w", err)
		}
		for _, table := range tables {
			if table.Name == theirs {
				return true, nil
			}
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return false, nil
}

// addRules sends each first packet of a connection to the queue, in the order of the controller's own rules: behind
// the translation of addresses of Services, and without packets of the node's own root, as probes of the kubelet.
func addRules() error {
	connection, err := nftables.New()
	if err != nil {
		return err
	}
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		table := connection.AddTable(&nftables.Table{Name: ours, Family: family})
		chain := connection.AddChain(&nftables.Chain{
			Name: "postrouting", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum:  nftables.ChainHookPostrouting,
			Priority: nftables.ChainPriorityRef(*nftables.ChainPriorityNATSource - 5),
		})
		rule := func(expressions ...expr.Any) {
			connection.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: expressions})
		}
		accept := &expr.Verdict{Kind: expr.VerdictAccept}
		// Neighbours of IPv6 are found by it.
		rule(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_ICMPV6}}, accept)
		rule(&expr.Meta{Key: expr.MetaKeySKUID, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: make([]byte, 4)}, accept)
		known := binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
		rule(&expr.Ct{Register: 1, Key: expr.CtKeySTATE},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: known, Xor: make([]byte, 4)},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)}, accept)
		rule(target())
	}
	return connection.Flush()
}

// removeRules takes them away; with them nothing would pass any more.
func removeRules() {
	connection, err := nftables.New()
	if err != nil {
		return
	}
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		connection.DelTable(&nftables.Table{Name: ours, Family: family})
	}
	if err := connection.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "policies: nftables:", err)
	}
}

// target is NFQUEUE of xtables in its first version: struct xt_NFQ_info of linux/netfilter/xt_NFQUEUE.h.
func target() *expr.Target {
	// As long as the kernel aligns it.
	info := make(xt.Unknown, 8)
	binary.NativeEndian.PutUint16(info, queue)
	return &expr.Target{Name: "NFQUEUE", Rev: 0, Info: &info}
}
