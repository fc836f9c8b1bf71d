package lifecycle

import (
	"encoding/json"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"portcullis/tests/cluster/kubelet/status"
)

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
