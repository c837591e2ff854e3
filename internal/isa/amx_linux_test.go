//go:build amd64 && !purego

package isa

import (
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// permittedAtStart is whether the process had the permission for tiles once the level
// was chosen.
var permittedAtStart, requestedAtStart = tileState(0x1022), Active == AMX

// tileState asks the kernel for a set of states, and reports whether tiles are in it.
func tileState(question uintptr) bool {
	var set uint64
	_, _, errno := unix.RawSyscall(unix.SYS_ARCH_PRCTL, question, uintptr(unsafe.Pointer(&set)), 0)
	return errno == 0 && set>>18&1 == 1
}

// TestPermission checks that the kernel is asked for AMX when the level is requested, and
// not before: permission changes the signal frames of the whole process.
func TestPermission(t *testing.T) {
	if hasTiles && !tileState(0x1021) {
		t.Skip("AMX is emulated, without the kernel")
	}
	if permittedAtStart != requestedAtStart {
		t.Errorf("at the start AMX is permitted: %t, requested: %t", permittedAtStart, requestedAtStart)
	}
	defer func(l Level) { Active = l }(Active)
	err := Set("amx")
	if has := slices.Contains(available, AMX); (err == nil) != has || (requestTiles() == nil) != has {
		t.Errorf("Set(amx) = %v, requestTiles() = %v, levels %v", err, requestTiles(), available)
	}
	if permitted := tileState(0x1022); permitted != slices.Contains(available, AMX) {
		t.Errorf("permitted: %t, levels %v", permitted, available)
	}
}
