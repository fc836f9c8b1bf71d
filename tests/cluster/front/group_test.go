package front

import "testing"

func TestTheGroupOfTheMemoryControllerIsFound(t *testing.T) {
	for text, want := range map[string]string{
		"0::/user.slice/a\n":               "/user.slice/a",
		"8:pids:/\n4:memory:/x/y\n0::/z\n": "memory/x/y",
		"1:name=systemd:/a\n0::/b\n":       "/b",
	} {
		got, err := memoryGroup(text)
		if err != nil || got != want {
			t.Errorf("%q: %q, %v, not %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "8:pids:/\n", "nonsense\n"} {
		if got, err := memoryGroup(text); err == nil {
			t.Errorf("%q: %q and no error", text, got)
		}
	}
}

func TestTheNumberInTheClustersNamespaceIsTheSecond(t *testing.T) {
	for status, want := range map[string]int{
		"Name:\ta\nNSpid:\t4001\t17\nVmPeak: 1\n": 17,
		"NSpid:\t4001\t17\t1\n":                   17, // a container with a namespace of its own
	} {
		if got, ok := secondPID([]byte(status)); !ok || got != want {
			t.Errorf("%q: %d, %v, not %d", status, got, ok, want)
		}
	}
	for _, status := range []string{"", "NSpid:\t4001\n", "NSpid:\t4001\tx\n"} {
		if got, ok := secondPID([]byte(status)); ok {
			t.Errorf("%q: %d", status, got)
		}
	}
}
