package sandbox

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The filter refuses, with EPERM, system calls that a package build or a
// maintainer script has no use for and that have opened kernels before:
// new user namespaces (each would bring all capabilities back), keys, BPF,
// performance counters, io_uring, userfaultfd, the kernel's log, modules.
// clone3 is answered with ENOSYS, since its flags are out of a filter's
// reach; libraries then use clone.
//
// Programs of an architecture that the table does not know (x32) are killed.

// refused system calls by name, with their numbers per architecture.
type refused struct{ amd64, i386, arm64 uint32 }

var refusedCalls = []refused{
	{246, 283, 104},   // kexec_load
	{320, none, 294},  // kexec_file_load
	{175, 128, 105},   // init_module
	{313, 350, 273},   // finit_module
	{176, 129, 106},   // delete_module
	{169, 88, 142},    // reboot
	{167, 87, 224},    // swapon
	{168, 115, 225},   // swapoff
	{248, 286, 217},   // add_key
	{249, 287, 218},   // request_key
	{250, 288, 219},   // keyctl
	{321, 357, 280},   // bpf
	{298, 336, 241},   // perf_event_open
	{323, 374, 282},   // userfaultfd
	{425, 425, 425},   // io_uring_setup
	{426, 426, 426},   // io_uring_enter
	{427, 427, 427},   // io_uring_register
	{308, 346, 268},   // setns
	{103, 103, 116},   // syslog
	{163, 51, 89},     // acct
	{304, 342, 265},   // open_by_handle_at
	{179, 131, 60},    // quotactl
	{153, 111, 58},    // vhangup
	{212, 253, 18},    // lookup_dcookie
	{312, 349, 272},   // kcmp
	{none, 166, none}, // vm86
	{none, 113, none}, // vm86old
}

const none = 1 << 31 // no such call there; x32's bit, so never matched

// numbers of the calls whose flags are looked at.
type shape struct{ arch, clone, clone3, unshare uint32 }

func shapes() []shape {
	return []shape{
		{unix.AUDIT_ARCH_X86_64, 56, 435, 272},
		{unix.AUDIT_ARCH_I386, 120, 435, 310},
		{unix.AUDIT_ARCH_AARCH64, 220, 435, 97},
	}
}

func (r refused) number(arch uint32) uint32 {
	switch arch {
	case unix.AUDIT_ARCH_X86_64:
		return r.amd64
	case unix.AUDIT_ARCH_I386:
		return r.i386
	}
	return r.arm64
}

const (
	loadWord  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	jumpEqual = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jumpSet   = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	jumpFrom  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	answerK   = unix.BPF_RET | unix.BPF_K
	// offsets in struct seccomp_data, little endian
	atNumber, atArch, atFirst = 0, 4, 16
)

// program writes the filter: per architecture a straight list of tests.
func program() []unix.SockFilter {
	ret := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: answerK, K: k} }
	load := func(at uint32) unix.SockFilter { return unix.SockFilter{Code: loadWord, K: at} }
	var p []unix.SockFilter
	for _, s := range shapes() {
		body := []unix.SockFilter{load(atNumber)}
		if s.arch == unix.AUDIT_ARCH_X86_64 {
			body = append(body, unix.SockFilter{Code: jumpFrom, K: 1 << 30, Jf: 1}, ret(unix.SECCOMP_RET_KILL_PROCESS))
		}
		body = append(body,
			unix.SockFilter{Code: jumpEqual, K: s.clone3, Jf: 1}, ret(unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)))
		for _, call := range []uint32{s.clone, s.unshare} {
			body = append(body, unix.SockFilter{Code: jumpEqual, K: call, Jf: 4},
				load(atFirst), unix.SockFilter{Code: jumpSet, K: unix.CLONE_NEWUSER, Jf: 1},
				ret(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)), ret(unix.SECCOMP_RET_ALLOW))
		}
		for _, r := range refusedCalls {
			if n := r.number(s.arch); n != none {
				body = append(body, unix.SockFilter{Code: jumpEqual, K: n, Jf: 1}, ret(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)))
			}
		}
		body = append(body, ret(unix.SECCOMP_RET_ALLOW))
		p = append(p, load(atArch), unix.SockFilter{Code: jumpEqual, K: s.arch, Jf: uint8(len(body))})
		p = append(p, body...)
	}
	return append(p, ret(unix.SECCOMP_RET_KILL_PROCESS))
}

// filter installs the program on this thread. It must still have
// CAP_SYS_ADMIN over the box's user namespace.
func (o *orders) filter() error {
	p := program()
	f := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&f)), 0, 0); err != nil {
		return fmt.Errorf("seccomp filter: %w", err)
	}
	return nil
}
