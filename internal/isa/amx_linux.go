//go:build amd64 && !purego

package isa

import (
	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/unix"
)

// mayUseTiles is whether the processor has AMX and the kernel permits its use.
var mayUseTiles = cpuid.CPU.Supports(cpuid.AMXTILE, cpuid.AMXBF16) && requestTiles()

// requestTiles asks the kernel for the permission to use AMX, which enlarges the
// state of a thread by 8 KiB. Linux wants to be asked since it knows AMX, 5.16;
// before, and where a hypervisor hides the state, it refuses. All threads have the
// permission once one has it.
func requestTiles() bool {
	const (
		requestPermission = 0x1023 // ARCH_REQ_XCOMP_PERM
		tileData          = 18     // XFEATURE_XTILEDATA
	)
	_, _, errno := unix.RawSyscall(unix.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return errno == 0
}
