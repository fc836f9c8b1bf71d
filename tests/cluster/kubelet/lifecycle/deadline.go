package lifecycle

import (
	"context"
	"sync"
	"time"
)

// Deadline is a moment that may come closer, and never moves away: a pod may be deleted again with less grace.
type Deadline struct {
	context.Context
	cancel context.CancelFunc
	mutex  sync.Mutex
	at     time.Time
	timer  *time.Timer
}

// NewDeadline returns a deadline whose context ends at it.
func NewDeadline(at time.Time) *Deadline {
	ctx, cancel := context.WithCancel(context.Background())
	return &Deadline{Context: ctx, cancel: cancel, at: at, timer: time.AfterFunc(time.Until(at), cancel)}
}

// Shorten moves it closer. A moment that is later changes nothing.
func (deadline *Deadline) Shorten(at time.Time) {
	deadline.mutex.Lock()
	defer deadline.mutex.Unlock()
	if at.Before(deadline.at) {
		deadline.at = at
		deadline.timer.Reset(time.Until(at))
	}
}

// Release frees what it holds.
func (deadline *Deadline) Release() {
	deadline.timer.Stop()
	deadline.cancel()
}
