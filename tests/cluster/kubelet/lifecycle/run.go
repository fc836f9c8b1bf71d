package lifecycle

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portcullis/tests/cluster/kubelet/container"
	"portcullis/tests/cluster/kubelet/probes"
	"portcullis/tests/cluster/kubelet/status"
)

// run is one run of a container.
type run struct {
	state   *status.Container
	running *container.Running
	process container.Process
	target  *probes.Target
	folder  string
	log     string
	// watched ends with the run; vital ends when the run is to end, for a container that is stopped is not restarted.
	watched, vital       context.Context
	endWatched, endVital context.CancelFunc
	stopAt               *Deadline // set once the run is being stopped
}

func (run *run) kill() { run.running.Signal(syscall.SIGKILL) }

// start starts a container, or notes why that is not possible.
func (p *Pod) start(state *status.Container) {
	spec := state.Spec
	number := state.Restarts
	if state.ID != "" {
		number++
	}
	image, found, err := p.node.Images.Find(spec.Image)
	if err == nil && !found {
		err = fmt.Errorf("failed to pull image %q: not in %s", spec.Image, p.node.Images.Path)
	}
	if err != nil {
		p.postpone(state, "ErrImagePull", "ImagePullBackOff", err)
		return
	}
	folder := filepath.Join(p.folder, "containers", fmt.Sprintf("%s-%d", spec.Name, number))
	ctx, cancel := context.WithTimeout(p.life, 5*time.Second)
	defer cancel()
	made, err := p.spec(ctx, spec, image, folder)
	if err != nil {
		p.postpone(state, "CreateContainerConfigError", "CreateContainerConfigError", err)
		return
	}
	path := filepath.Join(p.node.LogFolder(p.pod), spec.Name, strconv.Itoa(int(number))+".log")
	started, err := p.launch(spec, made, fmt.Sprintf("%s-%s-%d", p.pod.UID, spec.Name, number), path)
	id := fmt.Sprintf("process://%s/%s/%d", p.pod.UID, spec.Name, number)
	state.Begin(id, time.Now())
	if err != nil {
		p.failedStart(state, folder, err)
		return
	}
	p.event(v1.EventTypeNormal, "Started", "Started container "+spec.Name)
	one := &run{state: state, running: started, process: made.Process, folder: folder, log: path}
	one.target = one.reach(first(p.facts.Addresses))
	one.watched, one.endWatched = context.WithCancel(p.life)
	one.vital, one.endVital = context.WithCancel(one.watched)
	p.runs[spec.Name] = one
	go func() {
		<-started.Done()
		p.post(func() { p.ended(one) })
	}()
	p.begin(one)
}

// launch starts the program with a log file of its own.
func (p *Pod) launch(spec *v1.Container, made *container.Spec, name, path string) (*container.Running, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	limits := container.Limits{}
	if memory, limited := spec.Resources.Limits[v1.ResourceMemory]; limited {
		limits.MemoryBytes = memory.Value()
	}
	return p.node.Runtime.Start(name, made, limits, log)
}

// postpone notes why a container cannot be made, and tries again later. The first time has another reason than later ones.
func (p *Pod) postpone(state *status.Container, first, later string, err error) {
	reason := first
	if state.Reason == first {
		reason = later
	}
	if state.Message != err.Error() || state.Reason != reason {
		p.event(v1.EventTypeWarning, "Failed", err.Error())
	}
	state.Wait(reason, err.Error())
	pause := max(p.nextPause(state, 0), p.node.BackOff.First)
	state.NotBefore = time.Now().Add(pause)
	p.wakeAt(state.NotBefore)
}

// failedStart notes that a program could not be executed; it counts as a run.
func (p *Pod) failedStart(state *status.Container, folder string, err error) {
	p.event(v1.EventTypeWarning, "Failed", fmt.Sprintf("Error: %v", err))
	now := metav1.Now()
	state.End(v1.ContainerStateTerminated{
		ExitCode: 128, Reason: "StartError", Message: err.Error(), StartedAt: now, FinishedAt: now,
	})
	state.NotBefore = now.Add(p.nextPause(state, 0))
	p.tell(os.RemoveAll(folder), "Failed")
}

// ended notes how a run ended.
func (p *Pod) ended(one *run) {
	state, exit := one.state, one.running.Exit()
	one.endWatched()
	if one.stopAt != nil {
		one.stopAt.Release()
	}
	delete(p.runs, state.Spec.Name)
	reason := "Completed"
	switch {
	case exit.OutOfMemory && exit.Code != 0:
		reason = "OOMKilled"
	case exit.Code != 0:
		reason = "Error"
	}
	state.End(v1.ContainerStateTerminated{
		ExitCode: exit.Code, Signal: exit.Signal, Reason: reason, Message: one.lastWords(exit.Code),
		StartedAt: metav1.NewTime(state.StartedAt), FinishedAt: metav1.NewTime(exit.At),
	})
	state.NotBefore = exit.At.Add(p.nextPause(state, exit.At.Sub(state.StartedAt)))
	p.tell(os.RemoveAll(one.folder), "Failed")
}

// lastWords is what a container leaves in its terminationMessagePath, or the end of its log where it asks for that.
func (one *run) lastWords(code int32) string {
	const limit = 4096
	text, err := os.ReadFile(filepath.Join(one.folder, "termination-log"))
	if (err != nil || len(text) == 0) && code != 0 &&
		one.state.Spec.TerminationMessagePolicy == v1.TerminationMessageFallbackToLogsOnError {
		text, _ = os.ReadFile(one.log)
	}
	return string(text[max(0, len(text)-limit):])
}

func (p *Pod) nextPause(state *status.Container, ran time.Duration) time.Duration {
	last, known := p.backOff[state.Spec.Name]
	if !known {
		last = -1
	}
	next := p.node.BackOff.Next(last, ran)
	p.backOff[state.Spec.Name] = next
	return next
}

func (p *Pod) tellBackOff(state *status.Container) {
	message := fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
		p.backOff[state.Spec.Name], state.Spec.Name, p.pod.Name, p.pod.Namespace, p.pod.UID)
	p.event(v1.EventTypeWarning, "BackOff", message)
	state.Wait("CrashLoopBackOff", message)
}

func (p *Pod) event(kind, reason, message string) {
	p.node.Events.Event(p.about, kind, reason, message)
}
