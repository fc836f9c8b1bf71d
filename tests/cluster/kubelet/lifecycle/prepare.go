package lifecycle

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"portcullis/tests/cluster/kubelet/environment"
	"portcullis/tests/cluster/kubelet/network"
)

// prepareSoon makes network and volumes beside run, since both may wait for others.
func (p *Pod) prepareSoon() {
	ctx, cancel := context.WithCancel(p.life)
	pod := p.pod
	go func() {
		defer cancel()
		p.prepareNetwork(ctx, pod)
		p.prepareVolumes(ctx)
		p.post(func() {
			p.prepared = true
			if p.stage == preparing {
				p.facts.HasSandbox = true
				p.stage = running
				go p.volumes.Keep(p.life, p.current, func(err error) { p.tell(err, "FailedMount") })
			}
		})
	}()
	p.cancelPrepare = cancel
}

// prepareNetwork tries until it succeeds or the context ends.
func (p *Pod) prepareNetwork(ctx context.Context, pod *v1.Pod) {
	if pod.Spec.HostNetwork {
		p.post(func() { p.facts.Addresses = p.node.Addresses })
		return
	}
	p.retry(ctx, "FailedCreatePodSandBox", func() error {
		attachment, err := p.node.attach(pod)
		if err != nil {
			return err
		}
		p.post(func() {
			p.attachment = attachment
			p.facts.Addresses = attachment.Addresses
		})
		return nil
	})
}

// prepareVolumes tries until it succeeds or the context ends.
func (p *Pod) prepareVolumes(ctx context.Context) {
	p.retry(ctx, "FailedMount", func() error {
		// The view has the addresses, which the downward API tells.
		pod := p.current()
		if pod == nil {
			return ctx.Err()
		}
		if err := p.writeFiles(pod); err != nil {
			return err
		}
		attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return p.volumes.Make(attempt, pod)
	})
}

// retry calls a function until it succeeds or the context ends, and tells once of each problem.
func (p *Pod) retry(ctx context.Context, reason string, function func() error) {
	told := ""
	for ctx.Err() == nil {
		err := function()
		if err == nil || ctx.Err() != nil {
			return
		}
		if err.Error() != told {
			told = err.Error()
			p.tell(err, reason)
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// current returns the pod as it is now, for what runs beside run; nil where it is gone.
func (p *Pod) current() *v1.Pod {
	answer := make(chan *v1.Pod, 1)
	p.post(func() { answer <- p.view() })
	select {
	case pod := <-answer:
		return pod
	case <-p.done:
		return nil
	}
}

// attach connects a pod to the node.
func (node *Node) attach(pod *v1.Pod) (network.Attachment, error) {
	uid := string(pod.UID)
	attachment := network.Attachment{
		Namespace: strings.Join([]string{node.Name, pod.Namespace, pod.Name, uid[:min(8, len(uid))]}, "."),
		Link:      LinkName(uid),
	}
	for i, pool := range node.Pools {
		address, err := take(pool, i == 0, pod.Annotations[AddressNote])
		if err != nil {
			node.release(attachment.Addresses)
			return network.Attachment{}, err
		}
		attachment.Addresses = append(attachment.Addresses, address)
	}
	// A kubelet that starts again finds by it what a killed one has left.
	err := writeFile(filepath.Join(node.runFolder(pod), NamespaceFile), []byte(attachment.Namespace), 0o644)
	if err == nil {
		err = attachment.Attach(node.Addresses)
	}
	if err != nil {
		node.release(attachment.Addresses)
		return network.Attachment{}, err
	}
	return attachment, nil
}

// AddressNote is the annotation of a pod that asks for an address of the first family, as network plugins have such: one
// that had another pod until a moment ago, so that a test need not wait for its turn.
const AddressNote = "cluster.test/address"

// take takes an address for a pod, the one that it asks for where it does and the pool is of the first family.
func take(pool *network.Pool, isFirst bool, wanted string) (netip.Addr, error) {
	if !isFirst || wanted == "" {
		return pool.Take()
	}
	address, err := netip.ParseAddr(wanted)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("annotation %s: %w", AddressNote, err)
	}
	return address, pool.TakeThis(address)
}

// LinkName is the name of the node's interface to a pod. A name of Linux has up to 15 bytes.
func LinkName(uid string) string {
	id := strings.ReplaceAll(uid, "-", "")
	return "pod" + id[:min(12, len(id))]
}

// NamespaceFile is the file in the run folder of a pod that has the name of its network namespace.
const NamespaceFile = "network-namespace"

func (node *Node) release(addresses []netip.Addr) {
	for i, address := range addresses {
		node.Pools[i].Release(address)
	}
}

// writeFiles writes the files that tell containers of their pod.
func (p *Pod) writeFiles(pod *v1.Pod) error {
	machine, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	resolver := p.node.Resolver
	resolver.Machine = string(machine)
	for name, text := range map[string]string{
		"hosts":       environment.Hosts(pod, resolver.ClusterDomain),
		"hostname":    environment.Hostname(pod) + "\n",
		"resolv.conf": resolver.ResolvConf(pod),
	} {
		if err := writeFile(filepath.Join(p.folder, "etc", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
