package network

import (
	"net/netip"
	"testing"
	"time"
)

func TestAddressesGoRoundAndRestBeforeTheyAreUsedAgain(t *testing.T) {
	now := time.Unix(0, 0)
	pool := NewPool(netip.MustParsePrefix("10.1.0.0/30"), time.Minute, func() time.Time { return now })
	take := func() string {
		address, err := pool.Take()
		if err != nil {
			return "none"
		}
		return address.String()
	}
	expect := func(want string) {
		t.Helper()
		if got := take(); got != want {
			t.Fatalf("took %s, not %s", got, want)
		}
	}
	expect("10.1.0.1")
	expect("10.1.0.2")
	expect("none")
	pool.Release(netip.MustParseAddr("10.1.0.1"))
	expect("none")
	now = now.Add(time.Minute)
	expect("10.1.0.1")
	expect("none")
}

func TestAnAddressGivenBackTwiceRestsOnce(t *testing.T) {
	now := time.Unix(0, 0)
	pool := NewPool(netip.MustParsePrefix("10.1.0.0/30"), time.Minute, func() time.Time { return now })
	address, err := pool.Take()
	if err != nil {
		t.Fatal(err)
	}
	pool.Release(address)
	now = now.Add(time.Minute)
	pool.Release(address)
	other, _ := pool.Take()
	again, err := pool.Take()
	if err != nil || other == again || again != address {
		t.Fatalf("took %s and %s (%v), where %s has rested", other, again, err, address)
	}
}

func TestAnAddressThatIsAskedForIsHadAtOnceAndByOne(t *testing.T) {
	now := time.Unix(0, 0)
	pool := NewPool(netip.MustParsePrefix("10.1.0.0/29"), time.Minute, func() time.Time { return now })
	address := netip.MustParseAddr("10.1.0.1")
	for range 2 {
		if err := pool.TakeThis(address); err != nil {
			t.Fatal(err)
		}
		if err := pool.TakeThis(address); err == nil {
			t.Fatalf("two have %s", address)
		}
		if other, err := pool.Take(); err != nil || other == address {
			t.Fatalf("took %s (%v)", other, err)
		}
		pool.Release(address)
	}
	for _, wrong := range []string{"10.1.0.0", "10.1.0.7", "10.1.0.8", "fd00::1"} {
		if err := pool.TakeThis(netip.MustParseAddr(wrong)); err == nil {
			t.Errorf("a pod has %s", wrong)
		}
	}
}
