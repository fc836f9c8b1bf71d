package lifecycle

import (
	"context"
	"net/netip"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"portcullis/tests/cluster/kubelet/network"
	"portcullis/tests/cluster/kubelet/status"
	"portcullis/tests/cluster/kubelet/volumes"
)

// stage is how far a pod is in its life.
type stage int

const (
	preparing stage = iota // network and volumes are being made
	running                // containers start and end
	stopping               // containers are stopped, and none starts
	stopped                // nothing runs and nothing is left but logs
)

// Pod is a pod on this node. Its fields belong to the goroutine of run, but for those that say otherwise.
type Pod struct {
	node   *Node
	folder string
	// mailbox has what happened, for run to take in.
	mailbox chan func()
	// about is the pod that events are about. It does not change.
	about *v1.Pod
	// done is closed when the pod is gone from this node.
	done   chan struct{}
	life   context.Context // ends with the pod
	end    context.CancelFunc
	writer *status.Writer

	pod      *v1.Pod // as the API has it
	stage    stage
	prepared bool // whether network and volumes are no longer being made
	// cancelPrepare ends the making of network and volumes.
	cancelPrepare context.CancelFunc
	containers    []*status.Container
	runs          map[string]*run // of containers that run
	attachment    network.Attachment
	volumes       *volumes.Set
	facts         status.Facts
	published     v1.PodStatus
	sent          []byte
	deadline      time.Time // until when a pod that is stopping may take
	removed       bool      // whether the API has it no more
	killed        bool      // whether the node goes, and the API is told nothing
	backOff       map[string]time.Duration
	wake          time.Time
}

// Run starts to run a pod.
func Run(node *Node, pod *v1.Pod) *Pod {
	life, end := context.WithCancel(context.Background())
	p := &Pod{
		node: node, folder: node.runFolder(pod), mailbox: make(chan func(), 64), done: make(chan struct{}),
		life: life, end: end, writer: status.NewWriter(life, node.Client, pod),
		about: pod, pod: pod, containers: status.Containers(pod), runs: map[string]*run{}, backOff: map[string]time.Duration{},
		cancelPrepare: func() {},
		facts:         status.Facts{NodeAddresses: node.Addresses, StartTime: time.Now()},
	}
	if pod.Status.StartTime != nil {
		p.facts.StartTime = pod.Status.StartTime.Time
	}
	for _, container := range p.containers {
		container.Seed(slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses))
	}
	p.facts.Initialized = resume(pod.Spec.RestartPolicy, p.containers)
	p.published = pod.Status
	p.volumes = volumes.NewSet(node.Volumes, p.folder+"/volumes")
	go p.run()
	return p
}

// Update tells of a change in the API.
func (p *Pod) Update(pod *v1.Pod) {
	p.post(func() {
		p.pod = pod
		p.volumes.Touch()
	})
}

// Removed tells that the API has the pod no more: it ends with the least grace.
func (p *Pod) Removed() {
	p.post(func() { p.removed = true })
}

// Kill ends the pod at once and tells the API nothing, for a node that goes.
func (p *Pod) Kill() {
	p.post(func() {
		p.killed = true
		for _, run := range p.runs {
			run.kill()
		}
	})
}

// Done is closed when nothing of the pod is left but its logs.
func (p *Pod) Done() <-chan struct{} { return p.done }

// post has something done by run.
func (p *Pod) post(event func()) {
	select {
	case p.mailbox <- event:
	case <-p.done:
	}
}

func (p *Pod) run() {
	defer close(p.done)
	defer p.end()
	if problem := refusal(p.pod); problem != "" {
		p.refuse(problem)
	} else {
		p.prepareSoon()
	}
	for {
		p.step()
		p.publish()
		if p.stage == stopped && (p.removed || p.killed) {
			return
		}
		var timer <-chan time.Time
		if !p.wake.IsZero() {
			timer = time.After(time.Until(p.wake))
		}
		select {
		case event := <-p.mailbox:
			event()
		case <-timer:
		}
	}
}

func (p *Pod) tell(err error, reason string) {
	if err != nil {
		p.node.Events.Event(p.about, v1.EventTypeWarning, reason, err.Error())
	}
}

// first returns the address that probes and hooks use.
func first(addresses []netip.Addr) string {
	if len(addresses) == 0 {
		return ""
	}
	return addresses[0].String()
}
