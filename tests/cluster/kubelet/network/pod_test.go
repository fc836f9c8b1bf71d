package network

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inNode runs a test on a thread that is in a network namespace of its own, as a node is.
func inNode(t *testing.T, test func()) {
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	runtime.LockOSThread() // and not unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	test()
}

func command(t *testing.T, words ...string) string {
	t.Helper()
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v: %s", strings.Join(words, " "), err, out)
	}
	return string(out)
}

// within calls a function on a thread in a namespace; without a path it is that of the test.
func within[T any](t *testing.T, path string, function func() (T, error)) T {
	t.Helper()
	type result struct {
		value T
		err   error
	}
	own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(own)
	results := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		var got result
		target := own
		if path != "" {
			target, got.err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			defer unix.Close(target)
		}
		if got.err == nil {
			got.err = unix.Setns(target, unix.CLONE_NEWNET)
		}
		if got.err == nil {
			got.value, got.err = function()
		}
		results <- got
	}()
	got := <-results
	if got.err != nil {
		t.Fatal(got.err)
	}
	return got.value
}

// expectSource connects from one namespace to another, which must see the address of the first.
func expectSource(t *testing.T, from, to string, address, source netip.Addr) {
	t.Helper()
	listener := within(t, to, func() (net.Listener, error) {
		return net.Listen("tcp", netip.AddrPortFrom(address, 80).String())
	})
	defer listener.Close()
	client := within(t, from, func() (net.Conn, error) {
		// A dialer of two families connects on another thread. What is sent before the link is up is sent again after a second.
		return (&net.Dialer{Timeout: 5 * time.Second, FallbackDelay: -1}).Dial("tcp", listener.Addr().String())
	})
	defer client.Close()
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if got := server.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(); got != source {
		t.Errorf("%s was reached from %s, not %s", address, got, source)
	}
}

func TestPodsReachTheirNodeAndEachOtherWithAddressesOfTheirOwn(t *testing.T) {
	inNode(t, func() {
		node := []netip.Addr{netip.MustParseAddr("10.90.0.11"), netip.MustParseAddr("fd00:90::11")}
		command(t, "ip", "link", "set", "lo", "up")
		for _, address := range node {
			if err := PrepareNode(address); err != nil {
				t.Fatal(err)
			}
			add := []string{"ip", "addr", "add", address.String(), "dev", "lo"}
			if address.Is6() {
				add = append(add, "nodad") // it could not be a source before its check has ended
			}
			command(t, add...)
		}
		pods := make([]Attachment, 2)
		for i := range pods {
			pods[i] = Attachment{
				Namespace: fmt.Sprintf("test-%d-pod-%d", os.Getpid(), i), Link: fmt.Sprintf("pod%d", i),
				Addresses: []netip.Addr{
					netip.MustParseAddr(fmt.Sprintf("10.244.1.%d", i+1)), netip.MustParseAddr(fmt.Sprintf("fd00:244::%d", i+1)),
				},
			}
			if err := pods[i].Attach(node); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = RemoveName(pods[i].Namespace) })
		}
		for family, own := range node {
			first, second := pods[0].Addresses[family], pods[1].Addresses[family]
			expectSource(t, "", pods[0].NamespacePath(), first, own)
			expectSource(t, pods[0].NamespacePath(), "", own, first)
			expectSource(t, pods[0].NamespacePath(), pods[1].NamespacePath(), second, first)
		}
		got := command(t, "nsenter", "--net="+pods[0].NamespacePath(), "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start")
		if got != "0\n" {
			t.Errorf("the first port for everybody is %s", got)
		}
		if err := pods[0].Attach(node); err == nil {
			t.Error("two pods have the same namespace")
		}
		for _, pod := range pods {
			for range 2 { // the second time there is nothing to do
				if err := pod.Detach(); err != nil {
					t.Error(err)
				}
			}
		}
		if left := command(t, "ip", "-o", "link"); strings.Contains(left, "pod") {
			t.Errorf("left behind: %s", left)
		}
		if left, _ := os.ReadDir(NamespaceFolder); strings.Contains(fmt.Sprint(left), pods[0].Namespace) {
			t.Errorf("left behind: %v", left)
		}
	})
}
