//go:build !purego

package isa

import "github.com/klauspost/cpuid/v2"

// cpuid reports what both the processor and the operating system support, but for
// AMX, of which it reports the processor's part alone.
var gates = []gate{
	{AVX2, Generic, map[string]bool{
		"MMX+": cpuid.CPU.Has(cpuid.SSE), // as avo calls the prefetches that came with SSE
		"CMOV": cpuid.CPU.Has(cpuid.CMOV),
		"SSE":  cpuid.CPU.Has(cpuid.SSE),
		"SSE2": cpuid.CPU.Has(cpuid.SSE2),
		"AVX":  cpuid.CPU.Has(cpuid.AVX),
		"AVX2": cpuid.CPU.Has(cpuid.AVX2),
		"FMA3": cpuid.CPU.Has(cpuid.FMA3),
	}},
	{AVX512, AVX2, map[string]bool{
		"AVX512F":  cpuid.CPU.Has(cpuid.AVX512F),
		"AVX512BW": cpuid.CPU.Has(cpuid.AVX512BW),
		"AVX512DQ": cpuid.CPU.Has(cpuid.AVX512DQ),
		"AVX512VL": cpuid.CPU.Has(cpuid.AVX512VL),
		"BMI2":     cpuid.CPU.Has(cpuid.BMI2),
	}},
	{AVX512BF16, AVX512, map[string]bool{
		// Intel's processors multiply pairs of bfloat16 at half the rate of single float32
		// or less, which gains nothing; AMD's do at the same rate.
		"AVX512_BF16": cpuid.CPU.Has(cpuid.AVX512BF16) && cpuid.CPU.IsVendor(cpuid.AMD),
	}},
	{AMX, AVX512, map[string]bool{
		"AMX-BF16": hasTiles,
		"AMX-TILE": hasTiles,
	}},
}
