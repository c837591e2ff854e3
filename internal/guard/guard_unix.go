//go:build unix

// Package guard allocates float32 slices that fault when touched out of bounds.
package guard

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Float32s returns two slices of length n. Touching the element before the first
// one's beginning, or after the second one's end, ends the test with SIGSEGV.
func Float32s(t testing.TB, n int) (head, tail []float32) {
	t.Helper()
	page := unix.Getpagesize()
	size := max(1, (4*n+page-1)/page) * page
	b, err := unix.Mmap(-1, 0, page+size+page, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(b); err != nil {
			t.Error(err)
		}
	})
	inner := b[page : page+size]
	if err := unix.Mprotect(inner, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		t.Fatal(err)
	}
	f := unsafe.Slice((*float32)(unsafe.Pointer(&inner[0])), size/4)
	return f[:n:n], f[len(f)-n:]
}
