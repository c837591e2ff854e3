//go:build amd64 && !purego

package isa

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/unix"
)

// Linux lets a process use the tiles of AMX after it has asked, since 5.16.
const (
	supportedStates   = 0x1021 // ARCH_GET_XCOMP_SUPP
	requestPermission = 0x1023 // ARCH_REQ_XCOMP_PERM
	tileData          = 18     // XFEATURE_XTILEDATA
)

// hasTiles is whether processor and kernel have AMX. An older kernel, or one from which
// a hypervisor hides the state, does not name it.
var hasTiles = cpuid.CPU.Supports(cpuid.AMXTILE, cpuid.AMXBF16) && states(supportedStates)>>tileData&1 == 1

// states returns a set of states of a thread that the kernel knows of, none if it does
// not know the question.
func states(question uintptr) uint64 {
	var set uint64
	if _, _, errno := unix.RawSyscall(unix.SYS_ARCH_PRCTL, question, uintptr(unsafe.Pointer(&set)), 0); errno != 0 {
		return 0
	}
	return set
}

// requestTiles asks for the permission to use AMX, which all threads have from then on.
// It enlarges what the kernel saves on their signal stacks by some 8 KiB.
func requestTiles() error {
	switch _, _, errno := unix.RawSyscall(unix.SYS_ARCH_PRCTL, requestPermission, tileData, 0); errno {
	case 0:
		return nil
	case unix.ENOSPC:
		return errors.New("Linux does not permit it: a thread has too small a signal stack")
	default:
		return fmt.Errorf("Linux does not permit it: %w", errno)
	}
}
