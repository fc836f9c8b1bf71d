package probes

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Watch asks again and again until the context ends, and reports each change of the verdict: the first one, and any that
// differs from the last. Reports are made one after the other.
func Watch(ctx context.Context, probe *v1.Probe, target *Target, report func(healthy bool, err error)) {
	tally := Tally{Success: max(1, probe.SuccessThreshold), Failure: thresholdOrDefault(probe.FailureThreshold)}
	if !sleep(ctx, seconds(probe.InitialDelaySeconds, 0)) {
		return
	}
	ticker := time.NewTicker(seconds(probe.PeriodSeconds, 10))
	defer ticker.Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, seconds(probe.TimeoutSeconds, 1))
		err := Ask(attempt, &probe.ProbeHandler, target)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if verdict, changed := tally.Count(err == nil); changed {
			report(verdict, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Tally makes verdicts of answers. A verdict needs its threshold of equal answers in a row.
type Tally struct {
	Success, Failure int32
	last             bool
	row              int32
	known            bool
	verdict          bool
}

// Count counts an answer. Changed is true where the verdict is the first or another than before.
func (tally *Tally) Count(well bool) (verdict, changed bool) {
	if tally.row == 0 || tally.last != well {
		tally.last, tally.row = well, 0
	}
	tally.row++
	threshold := tally.Failure
	if well {
		threshold = tally.Success
	}
	if tally.row < threshold || (tally.known && tally.verdict == well) {
		return tally.verdict, false
	}
	tally.known, tally.verdict = true, well
	return well, true
}

func thresholdOrDefault(failure int32) int32 {
	if failure == 0 {
		return 3
	}
	return failure
}

func sleep(ctx context.Context, duration time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(duration):
		return true
	}
}
