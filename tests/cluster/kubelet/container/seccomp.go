package container

import (
	"fmt"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// Denied are the system calls that RuntimeDefault answers with EPERM. The default profile of containerd and Docker is a
// list of some 350 that are allowed; this is its complement among those that a program could reach for: new
// namespaces and mounts, kernel modules and keys, BPF, io_uring, clocks, and memory of other processes. clone3 is
// answered with ENOSYS as there, since its flags lie in memory where a filter cannot look; programs then use clone, whose
// flags for namespaces are denied.
var Denied = []string{
	"acct", "add_key", "bpf", "clock_adjtime", "clock_settime", "create_module", "delete_module", "fanotify_init",
	"finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "get_kernel_syms", "init_module", "io_uring_enter",
	"io_uring_register", "io_uring_setup", "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl",
	"lookup_dcookie", "mount", "mount_setattr", "move_mount", "nfsservctl", "open_by_handle_at", "open_tree",
	"perf_event_open", "pidfd_getfd", "pivot_root", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
	"query_module", "quotactl", "quotactl_fd", "reboot", "request_key", "setdomainname", "sethostname", "setns",
	"settimeofday", "stime", "swapoff", "swapon", "syslog", "sysfs", "umount", "umount2", "unshare", "uselib",
	"userfaultfd", "ustat", "vhangup", "vm86", "vm86old",
}

// grantedBy are calls that the default profile allows to who has a capability.
var grantedBy = map[string][]string{
	"SYS_ADMIN": {
		"bpf", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount", "mount_setattr",
		"move_mount", "open_tree", "perf_event_open", "quotactl", "quotactl_fd", "setdomainname", "sethostname", "setns",
		"syslog", "umount", "umount2", "unshare",
	},
	"SYS_PTRACE": {"kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace"},
	"SYS_TIME":   {"clock_adjtime", "clock_settime", "settimeofday", "stime"},
	"SYS_MODULE": {"create_module", "delete_module", "finit_module", "init_module", "query_module"},
	"SYS_BOOT":   {"kexec_file_load", "kexec_load", "reboot"},
	"SYSLOG":     {"syslog"},
}

// namespaceFlags are the flags of clone that make namespaces.
var namespaceFlags = []uint64{
	unix.CLONE_NEWNS, unix.CLONE_NEWCGROUP, unix.CLONE_NEWUTS, unix.CLONE_NEWIPC, unix.CLONE_NEWUSER, unix.CLONE_NEWPID,
	unix.CLONE_NEWNET,
}

// filterSystemCalls applies the filter to the calling thread, and to all that it executes.
func filterSystemCalls(capabilities []string) error {
	machine, err := arch.GetInfo("")
	if err != nil {
		return fmt.Errorf("system call filter: %w", err)
	}
	granted, admin := map[string]bool{}, false
	for _, capability := range capabilities {
		admin = admin || capability == "SYS_ADMIN"
		for _, name := range grantedBy[capability] {
			granted[name] = true
		}
	}
	var denied []string
	for _, name := range Denied {
		// Some exist on some architectures only.
		if _, exists := machine.SyscallNames[name]; exists && !granted[name] {
			denied = append(denied, name)
		}
	}
	groups := []seccomp.SyscallGroup{{Action: seccomp.ActionErrno, Names: denied}}
	if !admin {
		var clone []seccomp.NameWithConditions
		for _, flag := range namespaceFlags {
			clone = append(clone, seccomp.NameWithConditions{Name: "clone", Conditions: seccomp.ArgumentConditions{
				{Argument: 0, Operation: seccomp.BitsSet, Value: flag},
			}})
		}
		groups = append(groups,
			seccomp.SyscallGroup{Action: seccomp.ActionErrno, NamesWithCondtions: clone},
			seccomp.SyscallGroup{Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS), Names: []string{"clone3"}},
		)
	}
	err = seccomp.LoadFilter(seccomp.Filter{
		Policy: seccomp.Policy{DefaultAction: seccomp.ActionAllow, Syscalls: groups},
	})
	if err != nil {
		return fmt.Errorf("system call filter: %w", err)
	}
	return nil
}
