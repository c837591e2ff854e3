//go:build !purego

package isa

import "github.com/klauspost/cpuid/v2"

// cpuid reports what both the processor and the operating system support. There
// is no gate for AMX: no kernel needs it, so that it is named but never there.
var gates = []gate{
	{AVX2, map[string]bool{
		"MMX+": cpuid.CPU.Has(cpuid.SSE), // as avo calls the prefetches that came with SSE
		"SSE":  cpuid.CPU.Has(cpuid.SSE),
		"SSE2": cpuid.CPU.Has(cpuid.SSE2),
		"AVX":  cpuid.CPU.Has(cpuid.AVX),
		"AVX2": cpuid.CPU.Has(cpuid.AVX2),
		"FMA3": cpuid.CPU.Has(cpuid.FMA3),
	}},
	{AVX512, map[string]bool{
		"AVX512F":  cpuid.CPU.Has(cpuid.AVX512F),
		"AVX512BW": cpuid.CPU.Has(cpuid.AVX512BW),
		"AVX512DQ": cpuid.CPU.Has(cpuid.AVX512DQ),
		"AVX512VL": cpuid.CPU.Has(cpuid.AVX512VL),
		"BMI2":     cpuid.CPU.Has(cpuid.BMI2),
	}},
}
