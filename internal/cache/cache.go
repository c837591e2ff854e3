// Package cache knows the sizes of the processor's caches, for blocks that fit them.
package cache

import "github.com/klauspost/cpuid/v2"

// Sizes in bytes, within what processors have. Where the processor does not say, they
// are those that few have less of.
var (
	L2 = within(cpuid.CPU.Cache.L2, 256<<10, 4<<20) // of a core
	L3 = within(cpuid.CPU.Cache.L3, 2<<20, 64<<20)  // of all cores that share it
)

func within(size, least, greatest int) int { return max(least, min(size, greatest)) }
