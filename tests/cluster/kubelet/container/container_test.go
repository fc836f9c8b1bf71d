package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the program of these tests become a container, as the kubelet does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == InitCommand {
		Init()
		os.Exit(1)
	}
	if len(os.Args) > 1 && os.Args[1] == ExecCommand {
		Exec()
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// shell is a container that runs a script on the machine's root.
func shell(t *testing.T, script string) *Spec {
	if os.Getuid() != 0 {
		t.Skip("containers need root")
	}
	return &Spec{
		Layers: t.TempDir(), Hostname: "pod-1",
		Process: Process{Args: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "A=b"}},
	}
}

func startIt(t *testing.T, spec *Spec, limits Limits) (*Running, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.ReplaceAll(t.Name(), "/", "-")
	running, err := NewRuntime(fmt.Sprintf("test-%d-", os.Getpid())).Start(name, spec, limits, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		running.Signal(syscall.SIGKILL)
		<-running.Done()
	})
	return running, path
}

func wait(t *testing.T, running *Running) Exit {
	t.Helper()
	select {
	case <-running.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the container has not ended")
	}
	return running.Exit()
}

// output runs a container to its end and returns what it said.
func output(t *testing.T, spec *Spec) string {
	t.Helper()
	running, path := startIt(t, spec, Limits{})
	exit := wait(t, running)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if exit.Code != 0 {
		t.Fatalf("exited with %d: %s", exit.Code, text)
	}
	return string(text)
}

func TestAProgramIsTheFirstProcessOnARootOfItsOwn(t *testing.T) {
	marker := fmt.Sprintf("/marker-%d", os.Getpid())
	got := output(t, shell(t, "echo $$ $(hostname) $A; echo x >"+marker+"; cat "+marker+"; ls /.machine 2>&1; mount | grep -c /run/netns"+
		"; ulimit -Sn; readlink /proc/1/exe >/dev/null && echo own-proc; echo x >/dev/null; test -w /proc/sys/kernel/hostname || echo ro-sys; true"))
	want := "1 pod-1 b\nx\nls: cannot access '/.machine': No such file or directory\n0\n1024\nown-proc\nro-sys\n"
	if got != want {
		t.Errorf("%q, not %q", got, want)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Errorf("%s was written to the machine's root", marker)
	}
}

func TestAReadOnlyRootTakesWritesInMountsAlone(t *testing.T) {
	spec := shell(t, "echo x >/etc/x 2>&1 || echo refused; echo y >/var/run/deep/er/y && cat /var/run/deep/er/y; echo z >/ro/z || echo refused")
	spec.ReadOnlyRoot = true
	spec.Mounts = []Mount{
		{Source: t.TempDir(), Target: "/var/run/deep/er"}, {Source: t.TempDir(), Target: "/ro", ReadOnly: true},
	}
	got := output(t, spec)
	if !strings.Contains(got, "/etc/x: Read-only file system") || strings.Count(got, "refused") != 2 || !strings.Contains(got, "\ny\n") {
		t.Errorf("%q", got)
	}
	if text, err := os.ReadFile(filepath.Join(spec.Mounts[0].Source, "y")); err != nil || string(text) != "y\n" {
		t.Errorf("the mount has %q (%v)", text, err)
	}
}

func TestRightsAreThoseOfTheSecurityContext(t *testing.T) {
	status := "grep -E '^(Uid|Gid|Groups|NoNewPrivs|Seccomp|Cap(Inh|Prm|Eff|Bnd|Amb)):' /proc/self/status | tr '\\t' ' '"
	spec := shell(t, status)
	spec.Process.Capabilities = []string{"NET_BIND_SERVICE"}
	root := output(t, spec)
	for _, line := range []string{"Uid: 0 0 0 0", "CapPrm: 0000000000000400", "CapEff: 0000000000000400",
		"CapBnd: 0000000000000400", "CapAmb: 0000000000000000", "NoNewPrivs: 0", "Seccomp: 0"} {
		if !strings.Contains(root, line+"\n") {
			t.Errorf("root has no %q:\n%s", line, root)
		}
	}
	spec = shell(t, status+"; unshare -n true 2>&1; unshare -U true 2>&1; echo x >/etc/x 2>&1; true")
	spec.Process.User, spec.Process.Group, spec.Process.Supplemental = 65532, 65533, []uint32{7, 9}
	spec.Process.NoNewPrivileges, spec.Process.FilterSystemCalls = true, true
	user := output(t, spec)
	for _, line := range []string{"Uid: 65532 65532 65532 65532", "Gid: 65533 65533 65533 65533", "Groups: 7 9 ",
		"CapPrm: 0000000000000000", "CapEff: 0000000000000000", "CapBnd: 0000000000000000", "NoNewPrivs: 1", "Seccomp: 2",
		"unshare: unshare failed: Operation not permitted\nunshare: unshare failed: Operation not permitted"} {
		if !strings.Contains(user, line+"\n") {
			t.Errorf("the user has no %q:\n%s", line, user)
		}
	}
	if !strings.Contains(user, "/etc/x: Permission denied") {
		t.Errorf("the user could write /etc/x:\n%s", user)
	}
}

func TestASystemCallIsDeniedByTheFilterAlone(t *testing.T) {
	// A user namespace needs no capability, so it is the filter that refuses it.
	for filtered, want := range map[bool]string{false: "made\n", true: "unshare: unshare failed: Operation not permitted\n"} {
		spec := shell(t, "unshare -U echo made 2>&1; true")
		spec.Process.User, spec.Process.FilterSystemCalls = 65532, filtered
		if got := output(t, spec); got != want {
			t.Errorf("filtered %t: %q, not %q", filtered, got, want)
		}
	}
}

func TestProgramsInFoldersOfRootAreReachable(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("containers need root")
	}
	folder, err := os.MkdirTemp("/root", "reachable-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	program := filepath.Join(folder, "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho ran as $(id -u)\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat("/root")
	if err != nil {
		t.Fatal(err)
	}
	spec := shell(t, "")
	spec.Process.Args, spec.Process.User, spec.Reachable = []string{program}, 65532, []string{program}
	if got := output(t, spec); got != "ran as 65532\n" {
		t.Errorf("%q", got)
	}
	if after, err := os.Stat("/root"); err != nil || after.Mode() != before.Mode() {
		t.Errorf("the machine's /root changed from %v to %v", before.Mode(), after.Mode())
	}
}

func TestEverythingInAContainerEndsWithIt(t *testing.T) {
	running, path := startIt(t, shell(t, "trap '' TERM; setsid sleep 4321 & echo up; while :; do sleep 1; done"), Limits{})
	waitFor(t, func() bool { text, _ := os.ReadFile(path); return string(text) == "up\n" })
	running.Signal(syscall.SIGTERM)
	select {
	case <-running.Done():
		t.Fatal("a program that ignores SIGTERM ended by it")
	case <-time.After(300 * time.Millisecond):
	}
	running.Signal(syscall.SIGKILL)
	if exit := wait(t, running); exit.Code != 137 || exit.Signal != 9 {
		t.Errorf("exit %+v", exit)
	}
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range commands {
		if text, _ := os.ReadFile(file); string(text) == "sleep\x004321\x00" {
			t.Errorf("%s is still there", file)
		}
	}
}

func TestOutputThatIsOpenedAgainIsAddedToTheLog(t *testing.T) {
	spec := shell(t, "echo 1; echo 2 >/dev/stdout; sh -c 'echo 3 >/proc/1/fd/2'; echo 4")
	spec.Process.User = 65532
	if got := output(t, spec); got != "1\n2\n3\n4\n" {
		t.Errorf("%q", got)
	}
}

func TestCommandsRunInARunningContainer(t *testing.T) {
	spec := shell(t, "echo inside >/inside; while :; do sleep 1; done")
	running, _ := startIt(t, spec, Limits{})
	command := spec.Process
	command.User, command.FilterSystemCalls = 65532, true
	run := func(limit time.Duration, script string) (int32, string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		process := command
		process.Args = []string{"sh", "-c", script}
		code, text, err := running.Run(ctx, &process)
		return code, string(text), err
	}
	waitFor(t, func() bool { code, _, err := run(5*time.Second, "test -s /inside"); return err == nil && code == 0 })
	code, text, err := run(5*time.Second, "cat /inside; hostname; id -u; cat /proc/1/comm; echo $A; exit 3")
	if err != nil || code != 3 || text != "inside\npod-1\n65532\nsh\nb\n" {
		t.Errorf("code %d, %q, %v", code, text, err)
	}
	if _, _, err := run(200*time.Millisecond, "sleep 60"); err == nil || !strings.Contains(err.Error(), "timed out") {
		t.Errorf("a command that takes too long: %v", err)
	}
	process := command
	process.Args = []string{"/nothing"}
	if _, _, err := running.Run(t.Context(), &process); err == nil || !strings.Contains(err.Error(), "/nothing") {
		t.Errorf("a command that is not there: %v", err)
	}
}

func TestAProgramThatIsNotThereIsNamed(t *testing.T) {
	spec := shell(t, "")
	spec.Process.Args = []string{"no-such-program"}
	log, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewRuntime("test-").Start("none", spec, Limits{}, log)
	if err == nil || !strings.Contains(err.Error(), `"no-such-program": executable file not found in $PATH`) {
		t.Errorf("%v", err)
	}
}

func TestAProgramThatTakesTooMuchMemoryIsKilledForIt(t *testing.T) {
	spec := shell(t, "head -c 200000000 /dev/zero | tail -c 150000000 >/dev/null")
	if reason := NewRuntime("test-").Unbounded; reason != nil {
		t.Skipf("this machine does not bound memory: %v", reason)
	}
	running, _ := startIt(t, spec, Limits{MemoryBytes: 40 << 20})
	if exit := wait(t, running); !exit.OutOfMemory || exit.Code == 0 {
		t.Errorf("exit %+v", exit)
	}
}

func TestCapabilitiesAreAddedAndDropped(t *testing.T) {
	all := len(capabilityNumbers)
	for _, test := range []struct {
		add, drop  []string
		privileged bool
		want       int
		has, lacks string
	}{
		{nil, nil, false, len(defaultCapabilities), "CHOWN", "SYS_ADMIN"},
		{[]string{"NET_BIND_SERVICE"}, []string{"ALL"}, false, 1, "NET_BIND_SERVICE", "CHOWN"},
		{[]string{"CAP_SYS_TIME"}, []string{"chown"}, false, len(defaultCapabilities), "SYS_TIME", "CHOWN"},
		{[]string{"ALL"}, []string{"SYS_ADMIN"}, false, all - 1, "NET_ADMIN", "SYS_ADMIN"},
		{nil, nil, true, all, "SYS_ADMIN", ""},
	} {
		got, err := Capabilities(test.add, test.drop, test.privileged)
		if err != nil || len(got) != test.want || !slices.Contains(got, test.has) || slices.Contains(got, test.lacks) {
			t.Errorf("add %q, drop %q: %q (%v)", test.add, test.drop, got, err)
		}
	}
	if _, err := Capabilities([]string{"FLY"}, nil, false); err == nil || !strings.Contains(err.Error(), `"FLY"`) {
		t.Errorf("an unknown capability: %v", err)
	}
}

func TestTheMemoryControllerIsFoundByTheOwnGroup(t *testing.T) {
	own := []byte("9:name=systemd:/\n4:memory:/a/b\n0::/\n")
	found, err := findMemoryController("/sys/fs/cgroup", own)
	if err != nil || found.folder != "/sys/fs/cgroup/memory/a/b" || found.limitFile != "memory.limit_in_bytes" {
		t.Errorf("first version: %+v (%v)", found, err)
	}
	folder := t.TempDir()
	if found, err = findMemoryController(folder, []byte("0::/x\n")); err != nil || found.limitFile != "memory.max" {
		t.Errorf("second version: %+v (%v)", found, err)
	}
	if got := oomKills([]byte("oom 1\noom_kill 2\noom_group_kill 0\n")); got != 2 {
		t.Errorf("%d kills were read, not 2", got)
	}
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatal("it did not happen in time")
}
