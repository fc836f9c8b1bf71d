package lifecycle

import (
	"os"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"portcullis/tests/cluster/kubelet/status"
)

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
