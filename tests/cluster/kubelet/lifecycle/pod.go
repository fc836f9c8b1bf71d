package lifecycle

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
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

// step does what is to be done next.
func (p *Pod) step() {
	p.wake = time.Time{}
	if p.stage < stopping {
		p.checkEnd()
	}
	switch p.stage {
	case preparing:
		return
	case running:
		p.stepRunning()
	}
	if p.stage == stopping {
		p.stepStopping()
	}
	if p.stage == stopped && p.pod.DeletionTimestamp != nil {
		p.publish()
		p.writer.Remove()
	}
}

// checkEnd begins to stop a pod that is to go.
func (p *Pod) checkEnd() {
	switch limit := p.pod.Spec.ActiveDeadlineSeconds; {
	case p.removed || p.killed:
		p.stop(0)
	case p.pod.DeletionTimestamp != nil:
		p.stop(deletionGrace(p.pod))
	case limit != nil:
		end := p.facts.StartTime.Add(time.Duration(*limit) * time.Second)
		if time.Now().Before(end) {
			p.wakeAt(end)
			return
		}
		p.facts.Failed = true
		p.facts.Reason, p.facts.Message = "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
		p.stop(grace(p.pod))
	}
}

func (p *Pod) stepRunning() {
	now := time.Now()
	plan := Decide(p.pod.Spec.RestartPolicy, p.containers, p.facts.Initialized, now)
	p.facts.Initialized = plan.Initialized
	if plan.Finished || plan.Failed {
		p.facts.Failed = p.facts.Failed || plan.Failed
		p.stop(grace(p.pod))
		return
	}
	for _, container := range plan.Wait {
		if container.Reason == "" {
			p.tellBackOff(container)
		}
	}
	if !plan.Again.IsZero() {
		p.wakeAt(plan.Again)
	}
	for _, container := range plan.Start {
		p.start(container)
	}
	if len(plan.Start) > 0 {
		// A container without a startup probe is started already, and another may wait for it.
		p.wakeAt(now)
	}
}

// stop begins to stop the pod.
func (p *Pod) stop(grace time.Duration) {
	p.stage = stopping
	p.deadline = time.Now().Add(grace)
	p.cancelPrepare()
}

// stepStopping stops containers: first those that the pod is for, and then sidecars, the last one first.
func (p *Pod) stepStopping() {
	if p.pod.DeletionTimestamp != nil {
		// Deleted again, with less grace.
		p.deadline = earlier(p.deadline, time.Now().Add(deletionGrace(p.pod)))
	}
	if p.removed || p.killed {
		p.deadline = earlier(p.deadline, time.Now())
	}
	waiting := false
	for _, container := range p.containers {
		if run := p.runs[container.Spec.Name]; run != nil && container.Kind != status.Sidecar {
			p.stopRun(run, p.deadline)
			waiting = true
		}
	}
	for _, container := range slices.Backward(p.containers) {
		if run := p.runs[container.Spec.Name]; run != nil && !waiting {
			p.stopRun(run, p.deadline)
			waiting = true
		}
	}
	if waiting || !p.prepared {
		return
	}
	p.dismantle()
	p.facts.Ended = true
	p.stage = stopped
}

// publish has the status written, where it has changed.
func (p *Pod) publish() {
	if p.killed {
		return
	}
	view := *p.pod
	// Times of conditions are those that were told last: what the API has told may be older.
	isOwn := func(condition v1.PodCondition) bool { return status.IsOwn(condition.Type) }
	others := slices.DeleteFunc(slices.Clone(p.pod.Status.Conditions), isOwn)
	for _, condition := range p.published.Conditions {
		if isOwn(condition) {
			others = append(others, condition)
		}
	}
	view.Status.Conditions = others
	next := status.Build(&view, p.containers, p.facts, time.Now())
	text, err := json.Marshal(next)
	if err != nil {
		panic("a status is always valid JSON: " + err.Error())
	}
	if string(text) == string(p.sent) {
		return
	}
	p.published, p.sent = next, text
	p.writer.Set(next)
}

// view is the pod with what this node knows of it before the API does.
func (p *Pod) view() *v1.Pod {
	view := *p.pod
	p.facts.SetAddresses(&view.Status)
	return &view
}

// refuse fails a pod that asks for what this node does not have.
func (p *Pod) refuse(problem string) {
	p.node.Events.Event(p.about, v1.EventTypeWarning, "Unsupported", problem)
	p.facts.Failed, p.facts.Reason, p.facts.Message = true, "Unsupported", problem
	p.prepared = true
	p.stop(0)
}

// dismantle takes away all that is left of the pod but its logs.
func (p *Pod) dismantle() {
	p.facts.HasSandbox = false
	p.tell(p.volumes.Close(), "FailedKillPod")
	if p.attachment.Namespace != "" {
		p.tell(p.attachment.Detach(), "FailedKillPod")
		p.node.release(p.attachment.Addresses)
	}
	p.tell(os.RemoveAll(p.folder), "FailedKillPod")
}

func (p *Pod) tell(err error, reason string) {
	if err != nil {
		p.node.Events.Event(p.about, v1.EventTypeWarning, reason, err.Error())
	}
}

func (p *Pod) wakeAt(at time.Time) {
	if p.wake.IsZero() || at.Before(p.wake) {
		p.wake = at
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func deletionGrace(pod *v1.Pod) time.Duration {
	if pod.DeletionGracePeriodSeconds == nil {
		return grace(pod)
	}
	return time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
}

func grace(pod *v1.Pod) time.Duration {
	if seconds := pod.Spec.TerminationGracePeriodSeconds; seconds != nil {
		return time.Duration(*seconds) * time.Second
	}
	return 30 * time.Second
}

// first returns the address that probes and hooks use.
func first(addresses []netip.Addr) string {
	if len(addresses) == 0 {
		return ""
	}
	return addresses[0].String()
}
