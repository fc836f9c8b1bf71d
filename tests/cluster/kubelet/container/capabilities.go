package container

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// defaultCapabilities are those that containerd and Docker give to a container.
var defaultCapabilities = []string{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
	"SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

// capabilityNumbers is linux/capability.h.
var capabilityNumbers = map[string]uint{
	"CHOWN": unix.CAP_CHOWN, "DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE, "DAC_READ_SEARCH": unix.CAP_DAC_READ_SEARCH,
	"FOWNER": unix.CAP_FOWNER, "FSETID": unix.CAP_FSETID, "KILL": unix.CAP_KILL, "SETGID": unix.CAP_SETGID,
	"SETUID": unix.CAP_SETUID, "SETPCAP": unix.CAP_SETPCAP, "LINUX_IMMUTABLE": unix.CAP_LINUX_IMMUTABLE,
	"NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE, "NET_BROADCAST": unix.CAP_NET_BROADCAST,
	"NET_ADMIN": unix.CAP_NET_ADMIN, "NET_RAW": unix.CAP_NET_RAW, "IPC_LOCK": unix.CAP_IPC_LOCK,
	"IPC_OWNER": unix.CAP_IPC_OWNER, "SYS_MODULE": unix.CAP_SYS_MODULE, "SYS_RAWIO": unix.CAP_SYS_RAWIO,
	"SYS_CHROOT": unix.CAP_SYS_CHROOT, "SYS_PTRACE": unix.CAP_SYS_PTRACE, "SYS_PACCT": unix.CAP_SYS_PACCT,
	"SYS_ADMIN": unix.CAP_SYS_ADMIN, "SYS_BOOT": unix.CAP_SYS_BOOT, "SYS_NICE": unix.CAP_SYS_NICE,
	"SYS_RESOURCE": unix.CAP_SYS_RESOURCE, "SYS_TIME": unix.CAP_SYS_TIME, "SYS_TTY_CONFIG": unix.CAP_SYS_TTY_CONFIG,
	"MKNOD": unix.CAP_MKNOD, "LEASE": unix.CAP_LEASE, "AUDIT_WRITE": unix.CAP_AUDIT_WRITE,
	"AUDIT_CONTROL": unix.CAP_AUDIT_CONTROL, "SETFCAP": unix.CAP_SETFCAP, "MAC_OVERRIDE": unix.CAP_MAC_OVERRIDE,
	"MAC_ADMIN": unix.CAP_MAC_ADMIN, "SYSLOG": unix.CAP_SYSLOG, "WAKE_ALARM": unix.CAP_WAKE_ALARM,
	"BLOCK_SUSPEND": unix.CAP_BLOCK_SUSPEND, "AUDIT_READ": unix.CAP_AUDIT_READ, "PERFMON": unix.CAP_PERFMON,
	"BPF": unix.CAP_BPF, "CHECKPOINT_RESTORE": unix.CAP_CHECKPOINT_RESTORE,
}

// Capabilities returns the capabilities of a container, sorted: the default ones, with those of add and without those
// of drop. ALL stands for all of them; what is both added and dropped is added, unless both are ALL.
//
// # Errors
//
// A name that Linux does not know.
func Capabilities(add, drop []string, privileged bool) ([]string, error) {
	set := map[string]bool{}
	include := func(names []string, present bool) error {
		for _, name := range names {
			name = strings.TrimPrefix(strings.ToUpper(name), "CAP_")
			if name == "ALL" {
				for every := range capabilityNumbers {
					set[every] = present
				}
				continue
			}
			if _, known := capabilityNumbers[name]; !known {
				return fmt.Errorf("securityContext.capabilities: %q is not a capability of Linux", name)
			}
			set[name] = present
		}
		return nil
	}
	start := defaultCapabilities
	if privileged {
		start = []string{"ALL"}
	}
	// "Add: ALL" comes before single names that are dropped, and single names that are added come last.
	addAll, addNames := split(add)
	for _, step := range []struct {
		names   []string
		present bool
	}{{start, true}, {addAll, true}, {drop, false}, {addNames, true}} {
		if err := include(step.names, step.present); err != nil {
			return nil, err
		}
	}
	var names []string
	for name, present := range set {
		if present {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func split(names []string) (all, single []string) {
	for _, name := range names {
		if strings.EqualFold(name, "ALL") {
			all = append(all, name)
		} else {
			single = append(single, name)
		}
	}
	return all, single
}

// limitCapabilities takes from the thread, and from all that it executes, what is not named.
func limitCapabilities(names []string) error {
	kept := map[uint]bool{}
	for _, name := range names {
		kept[capabilityNumbers[name]] = true
	}
	for number := uint(0); ; number++ {
		if kept[number] {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(number), 0, 0, 0)
		if err == unix.EINVAL {
			return nil // one past the last that this kernel has
		}
		if err != nil {
			return fmt.Errorf("drop capability %d: %w", number, err)
		}
	}
}

// setCapabilities makes the named ones permitted and effective, and none inheritable.
func setCapabilities(names []string) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for _, name := range names {
		number := capabilityNumbers[name]
		data[number/32].Permitted |= 1 << (number % 32)
		data[number/32].Effective |= 1 << (number % 32)
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("set capabilities %s: %w", strings.Join(names, ","), err)
	}
	return nil
}
