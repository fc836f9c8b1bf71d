package lifecycle

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"portcullis/tests/cluster/kubelet/probes"
)

// leastGrace is what a container has between SIGTERM and SIGKILL at least, as with any kubelet.
const leastGrace = 2 * time.Second

// begin follows a run that has begun: the hook, then probes.
func (p *Pod) begin(one *run) {
	hooks := one.state.Spec.Lifecycle
	if hooks == nil || hooks.PostStart == nil {
		p.watch(one)
		return
	}
	go func() {
		err := p.hook(one.watched, one, hooks.PostStart)
		p.post(func() {
			switch {
			case p.runs[one.state.Spec.Name] != one:
			case err != nil:
				p.event(v1.EventTypeWarning, "FailedPostStartHook", fmt.Sprintf("PostStartHook failed: %v", err))
				p.stopRun(one, time.Now().Add(grace(p.pod)))
			default:
				p.watch(one)
			}
		})
	}()
}

// watch asks a container how it is. Readiness and liveness wait for the startup probe.
func (p *Pod) watch(one *run) {
	spec := one.state.Spec
	if spec.StartupProbe == nil {
		p.started(one)
		return
	}
	startup, cancel := context.WithCancel(one.vital)
	go probes.Watch(startup, spec.StartupProbe, one.target, func(well bool, err error) {
		cancel()
		p.ifRunning(one, func() {
			if well {
				p.started(one)
			} else {
				p.unwell(one, spec.StartupProbe, "Startup", err)
			}
		})
	})
}

func (p *Pod) started(one *run) {
	spec := one.state.Spec
	one.state.Started = true
	one.state.Ready = spec.ReadinessProbe == nil
	if spec.ReadinessProbe != nil {
		// It goes on while the container is stopped: whoever still has connections to it may know that it serves.
		go probes.Watch(one.watched, spec.ReadinessProbe, one.target, func(well bool, err error) {
			p.ifRunning(one, func() {
				one.state.Ready = well
				if !well {
					p.event(v1.EventTypeWarning, "Unhealthy", fmt.Sprintf("Readiness probe failed: %v", err))
				}
			})
		})
	}
	if spec.LivenessProbe != nil {
		go probes.Watch(one.vital, spec.LivenessProbe, one.target, func(well bool, err error) {
			if !well {
				p.ifRunning(one, func() { p.unwell(one, spec.LivenessProbe, "Liveness", err) })
			}
		})
	}
}

// unwell stops a container, which is started again by what stepRunning decides.
func (p *Pod) unwell(one *run, probe *v1.Probe, kind string, err error) {
	p.event(v1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe failed: %v", kind, err))
	p.event(v1.EventTypeNormal, "Killing",
		fmt.Sprintf("Container %s failed %s probe, will be restarted", one.state.Spec.Name, kind))
	patience := grace(p.pod)
	if probe.TerminationGracePeriodSeconds != nil {
		patience = time.Duration(*probe.TerminationGracePeriodSeconds) * time.Second
	}
	p.stopRun(one, time.Now().Add(patience))
}

// stopRun begins to stop a run, or has it stop sooner.
func (p *Pod) stopRun(one *run, at time.Time) {
	one.endVital()
	if p.killed {
		one.kill()
	}
	if one.stopAt != nil {
		one.stopAt.Shorten(at)
		return
	}
	one.stopAt = NewDeadline(at)
	p.event(v1.EventTypeNormal, "Killing", "Stopping container "+one.state.Spec.Name)
	go func() {
		if hooks := one.state.Spec.Lifecycle; hooks != nil && hooks.PreStop != nil {
			if err := p.hook(one.stopAt, one, hooks.PreStop); err != nil && one.watched.Err() == nil {
				p.event(v1.EventTypeWarning, "FailedPreStopHook", fmt.Sprintf("PreStopHook failed: %v", err))
			}
		}
		one.running.Signal(stopSignal(one.state.Spec))
		least := time.After(leastGrace)
		select {
		case <-one.running.Done():
			return
		case <-one.stopAt.Done():
		}
		select {
		case <-one.running.Done():
		case <-least:
			one.kill()
		}
	}()
}

// stopSignal is what asks a container to end.
func stopSignal(spec *v1.Container) syscall.Signal {
	if hooks := spec.Lifecycle; hooks != nil && hooks.StopSignal != nil {
		if signal := unix.SignalNum(string(*hooks.StopSignal)); signal != 0 {
			return signal
		}
	}
	return syscall.SIGTERM
}

// hook calls a hook and waits for it, or until the context ends.
func (p *Pod) hook(ctx context.Context, one *run, handler *v1.LifecycleHandler) error {
	// A hook of a container that has ended has nothing to wait for.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-one.running.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	switch {
	case handler.Exec != nil:
		return probes.Ask(ctx, &v1.ProbeHandler{Exec: handler.Exec}, one.target)
	case handler.HTTPGet != nil:
		return probes.Get(ctx, handler.HTTPGet, one.target)
	case handler.Sleep != nil:
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(handler.Sleep.Seconds) * time.Second):
			return nil
		}
	}
	return fmt.Errorf("hook has no handler that is known here")
}

// reach says how probes and hooks reach a container.
func (one *run) reach(address string) *probes.Target {
	return &probes.Target{
		Address: address,
		Ports:   one.state.Spec.Ports,
		Run: func(ctx context.Context, command []string) (int32, []byte, error) {
			process := one.process
			process.Args = command
			return one.running.Run(ctx, &process)
		},
	}
}

// ifRunning has something done by the pod's goroutine, unless the run is over by then.
func (p *Pod) ifRunning(one *run, event func()) {
	p.post(func() {
		if p.runs[one.state.Spec.Name] == one {
			event()
		}
	})
}
