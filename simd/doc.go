// Package simd provides the float32 vector kernels of package contrastive, with
// assembly for the instruction sets of the processor it runs on.
//
// # Guarantees
//
// The error bounds below hold on every level, for n elements, to first order in
// u = 2⁻²⁴, and where no intermediate result is subnormal:
//
//	Dot          (n/16 + 24)·u·Σ|x[i]·y[i]|
//	DotFloat64   (n + 1)·2⁻⁵³·Σ|x[i]·y[i]|
//	Norm         u·‖x‖, for any finite input
//	Cosine       2·u, for any finite input
//	Normalize    2·u for each element
//	Axpy         2·u·(|a·x[i]| + |y[i]|) for each element
//	AxpyRows     (n+1)·u·(Σ|a[i]·x[i·stride+j]| + |y[j]|) for each element and n = len(a)
//	Lerp         3·u·(|dst[i]| + |src[i]|) for each element and t in [0, 1],
//	             and at most 2⁻¹⁴⁷ more where elements or results are subnormal
//	ReLU         exact
//	ReLUGrad     exact
//	GELU         (8·|a| + 8)·u·|dst[i]|, a as in its formula, or 2⁻¹²⁰ if that is more
//	GELUGrad     (24·|a| + 34)·u·|grad[i]|·(σ + |x[i]·σ·(1−σ)·a′|), σ = 1/(1+e^−a), or
//	             2⁻¹²⁰·|grad[i]| if that is more
//	LerpSquare   3·u·(|dst[i]| + src[i]²) for each element and t in [0, 1],
//	             and at most 2⁻¹⁴⁷ more where elements or results are subnormal
//	AddSquare    2·u·(|dst[i]| + src[i]²) for each element
//	AdamStep     2·u·|keep·w[i]| + 5·u·|r| for each element, with the step
//	             r = rate·m[i]/(correction·√v[i] + epsilon)
//	ScaleTo      u·|f·src[i]| for each element
//	Project      u·|dst[i]| + 2⁻⁵¹·(|g[i]| + |along·x[i]|)·|f| for each element
//	ExpSum       (2·|scale·x[i]| + |shift| + 4)·u relative for each exponential;
//	             (min(n, 1024)/8 + 12)·u more for their sum
//	LogSumExp    (|scale|·max|x[i]| + |result| + log n + min(n, 1024)/8 + 12)·u
//
// A NaN among the inputs makes the result NaN. For finite inputs a result is infinite
// only if the exact one exceeds the greatest float32, give or take the bound, and NaN
// never, but for [Dot] and [AxpyRows], whose products and sums may exceed it on the way, [LerpSquare],
// whose squares may, [AdamStep], whose products and quotients may, and [Project], whose
// product of two float64 may. AdamStep of a negative v[i] is NaN. Norms and cosines do not underflow
// unless their result does. Exponentials underflow to 0.
//
// On one level the same input gives the same bits. Levels differ within the
// bounds. The generic level gives the same bits on every architecture.
//
// All of this holds in the standard floating-point mode of the thread, which rounds to
// nearest and keeps subnormal numbers. A thread is in it unless code in another language
// has left it in another. Package contrastive sees to that; the functions of this
// package take the mode as it is.
//
// Functions of several slices panic if their lengths differ, before they write
// anything. A destination may be the same slice as a source, but must not overlap
// it otherwise. No function allocates, retains a slice, or needs alignment.
//
// # Levels
//
// The best level that the processor supports is used, but for amx, which is used on
// request only. On amd64 these are
//
//	generic      portable Go
//	avx2         AVX2 and FMA
//	avx512       AVX-512 F, BW, DQ and VL
//	avx512bf16   AVX512_BF16 besides, on AMD's processors
//	amx          AMX-TILE and AMX-BF16 besides avx512, on Linux
//
// and on arm64 generic and neon. The kernels of this package are those of avx512 on the
// last two levels of amd64, which differ in the matrix products of the losses.
//
// On a processor with AMX the default is avx512, since amx has only run under emulation,
// and whether it is faster is not known. A request for amx asks Linux for the permission.
// The whole process has it from then on: signal frames grow by some 8 KiB, and Linux
// refuses signal stacks below some 12 KiB, of which Go's have 32. To use another level than
// the default,
//
//   - set CONTRASTIVE_SIMD=generic in the environment of the program, or
//   - build it with -tags purego, which leaves no assembly in it, or
//   - call [SetLevel] in a test or comparison.
//
// A name in the environment that is unknown, unsupported or refused by Linux is reported
// once on standard error, and the default is used.
package simd
