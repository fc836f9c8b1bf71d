package network

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Pool hands out the addresses of a node's pods. One that was given back is not used for a while: clients may still
// hold it, and a test that mixes two pods up would pass or fail by luck.
type Pool struct {
	mutex  sync.Mutex
	prefix netip.Prefix
	pause  time.Duration
	now    func() time.Time
	next   netip.Addr
	used   map[netip.Addr]bool
	rested map[netip.Addr]time.Time // when one that was given back may be used again
}

// NewPool makes a pool of a prefix's addresses, but for the first and the last.
func NewPool(prefix netip.Prefix, pause time.Duration, now func() time.Time) *Pool {
	prefix = prefix.Masked()
	return &Pool{
		prefix: prefix, pause: pause, now: now, next: prefix.Addr().Next(),
		used: map[netip.Addr]bool{}, rested: map[netip.Addr]time.Time{},
	}
}

// Take returns an address that nobody has. Addresses go round, so that the one longest unused comes first.
//
// # Errors
//
// All are used, or were until a moment ago.
func (pool *Pool) Take() (netip.Addr, error) {
	pool.mutex.Lock()
	defer pool.mutex.Unlock()
	first := pool.next
	for {
		address := pool.next
		pool.next = address.Next()
		// The last address of a prefix is for broadcasts.
		if !pool.prefix.Contains(pool.next) || !pool.prefix.Contains(pool.next.Next()) {
			pool.next = pool.prefix.Addr().Next()
		}
		if !pool.used[address] && !pool.now().Before(pool.rested[address]) {
			delete(pool.rested, address)
			pool.used[address] = true
			return address, nil
		}
		if pool.next == first {
			return netip.Addr{}, fmt.Errorf("no address of %s is free: %d are used, and others were within %s",
				pool.prefix, len(pool.used), pool.pause)
		}
	}
}

// TakeThis takes an address that a pod asks for, even one that was given back a moment ago.
//
// # Errors
//
// It is none of the prefix that pods get, or another pod has it.
func (pool *Pool) TakeThis(address netip.Addr) error {
	pool.mutex.Lock()
	defer pool.mutex.Unlock()
	if !pool.prefix.Contains(address) || address == pool.prefix.Addr() || !pool.prefix.Contains(address.Next()) {
		return fmt.Errorf("%s is no address for a pod of %s", address, pool.prefix)
	}
	if pool.used[address] {
		return fmt.Errorf("%s is another pod's", address)
	}
	delete(pool.rested, address)
	pool.used[address] = true
	return nil
}

// Release gives an address back.
func (pool *Pool) Release(address netip.Addr) {
	pool.mutex.Lock()
	defer pool.mutex.Unlock()
	if pool.used[address] {
		delete(pool.used, address)
		pool.rested[address] = pool.now().Add(pool.pause)
	}
}
