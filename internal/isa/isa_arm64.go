//go:build !purego

package isa

import "github.com/klauspost/cpuid/v2"

var gates = []gate{
	{NEON, Generic, map[string]bool{"ASIMD": cpuid.CPU.Has(cpuid.ASIMD)}},
}
