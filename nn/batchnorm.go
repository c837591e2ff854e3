package nn

import (
	"fmt"
	"math"
	"slices"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/engine"
	"github.com/contrastive-go/contrastive/simd"
)

// BatchNorm brings each column to mean 0 and variance 1, then multiplies it by γ and adds
// β: Ioffe and Szegedy, "Batch Normalization" (2015), algorithm 1. In training the mean
// and variance are those of the batch; otherwise they are running averages, to which
// every batch adds a tenth. 10⁻⁵ is added to the variance. Means, variances and sums of
// gradients are in float64.
type BatchNorm struct {
	Gamma, Beta *Param // Dim; both nil if there are none

	// Shards divides a batch into so many equal runs of rows, each with its own
	// statistics, as if each were on a machine of its own; 0 means 1. Two views one
	// under the other in two shards are what two passes would be, and shards are what
	// MoCo's shuffling needs: He et al., "Momentum Contrast" (2020), section 3.3.
	Shards int

	Workers int // as that of [Linear]

	dim            int
	mean, variance []float32 // running averages

	x, y, dy, dx contrastive.Matrix
	ones         []float32
	inverse      []float64 // 1/√(variance+ε), shard by shard

	// x̂, and what outputs and gradients are made in, are transposed: their columns are
	// contiguous.
	normal, scratch contrastive.Matrix
}

const (
	batchNormMomentum = 0.1 // of the latest batch in the running averages

	// columnGrain is how many columns are one part of a pass: two lines of the cache,
	// and few enough for sums on the stack.
	columnGrain = 32

	// columnPad is between transposed columns, whose distance would otherwise be a power
	// of two in most batches, and their places in a cache the same.
	columnPad = 16
)

// NewBatchNorm returns batch normalisation for dim columns, with γ = 1 and β = 0 if it is
// affine, and without them if not. It panics unless dim is positive.
func NewBatchNorm(dim int, affine bool) *BatchNorm {
	if dim <= 0 {
		panic(fmt.Sprintf("nn: NewBatchNorm(%d): the dimension must be positive", dim))
	}
	b := &BatchNorm{dim: dim, mean: make([]float32, dim), variance: slices.Repeat([]float32{1}, dim)}
	if affine {
		b.Gamma, b.Beta = newAffine(dim)
	}
	return b
}

// Forward implements [Layer]. In training it panics unless the rows divide into shards of
// two or more.
func (b *BatchNorm) Forward(x contrastive.Matrix, training bool) contrastive.Matrix {
	checkInput("BatchNorm", x, b.dim)
	b.x = x
	y := resize(&b.y, x.Rows, b.dim)
	if !training {
		run((*batchNormInfer)(b), b.dim, columnGrain, b.Workers)
		return y
	}
	shards := max(b.Shards, 1)
	if x.Rows%shards != 0 || x.Rows/shards < 2 {
		panic(fmt.Sprintf("nn: BatchNorm: Forward of %d rows in %d shards, which take two rows each or more", x.Rows, shards))
	}
	b.inverse = floats(b.inverse, shards*b.dim)
	resize(&b.normal, b.dim, x.Rows+columnPad)
	resize(&b.scratch, b.dim, x.Rows+columnPad)
	for len(b.ones) < x.Rows {
		b.ones = append(b.ones, 1)
	}
	run((*batchNormForward)(b), b.dim, columnGrain, b.Workers)
	return y
}

type batchNormInfer BatchNorm

// part normalises columns lo to hi-1 by the running averages.
func (b *batchNormInfer) part(lo, hi int) {
	var scale, shift [columnGrain]float32
	for j := range hi - lo {
		s := 1 / math.Sqrt(float64(b.variance[lo+j])+normEpsilon)
		t := -s * float64(b.mean[lo+j])
		if b.Gamma != nil {
			g := float64(b.Gamma.Value[lo+j])
			s, t = s*g, t*g+float64(b.Beta.Value[lo+j])
		}
		scale[j], shift[j] = float32(s), float32(t)
	}
	for i := range b.x.Rows {
		y := b.y.Row(i)[lo:hi]
		for j, v := range b.x.Row(i)[lo:hi] {
			y[j] = scale[j]*v + shift[j]
		}
	}
}

type batchNormForward BatchNorm

// part normalises columns lo to hi-1 by the statistics of each shard, and adds these to
// the running averages.
func (b *batchNormForward) part(lo, hi int) {
	shards := len(b.inverse) / b.dim
	n := b.x.Rows / shards
	engine.Transpose(rows(b.normal, lo, hi, b.x.Rows), columns(b.x, lo, hi))
	for j := lo; j < hi; j++ {
		var meanSum, varianceSum float64
		for s := range shards {
			normal := b.normal.Row(j)[s*n : (s+1)*n]
			mean, inverse := standardise(normal, normal, b.ones[:n])
			b.inverse[s*b.dim+j] = inverse
			meanSum += mean
			varianceSum += (1/(inverse*inverse) - normEpsilon) * float64(n) / float64(n-1)
		}
		b.mean[j] += batchNormMomentum * (float32(meanSum/float64(shards)) - b.mean[j])
		b.variance[j] += batchNormMomentum * (float32(varianceSum/float64(shards)) - b.variance[j])
	}
	out := b.normal
	if b.Gamma != nil {
		out = b.scratch
		for j := lo; j < hi; j++ {
			y, normal := out.Row(j)[:b.x.Rows], b.normal.Row(j)[:b.x.Rows]
			simd.ScaleTo(y, normal, float64(b.Gamma.Value[j]))
			simd.Axpy(b.Beta.Value[j], b.ones[:b.x.Rows], y)
		}
	}
	engine.Transpose(columns(b.y, lo, hi), rows(out, lo, hi, b.x.Rows))
}

// columns returns columns lo to hi-1 of m.
func columns(m contrastive.Matrix, lo, hi int) engine.Matrix {
	return engine.Matrix{Rows: m.Rows, Cols: hi - lo, Stride: m.Stride, Data: m.Data[lo:]}
}

// rows returns the first n elements of rows lo to hi-1 of m.
func rows(m contrastive.Matrix, lo, hi, n int) engine.Matrix {
	return engine.Matrix{Rows: hi - lo, Cols: n, Stride: m.Stride, Data: m.Data[lo*m.Stride:]}
}

// Backward implements [Layer].
func (b *BatchNorm) Backward(dy contrastive.Matrix, wanted bool) contrastive.Matrix {
	checkGradient("BatchNorm", dy, b.y)
	b.dy = dy
	dx := resize(&b.dx, dy.Rows, b.dim)
	run((*batchNormBackward)(b), b.dim, columnGrain, b.Workers)
	if !wanted {
		return contrastive.Matrix{}
	}
	return dx
}

type batchNormBackward BatchNorm

// part is dx = γ/σ·(dy − mean dy − x̂·mean(dy·x̂)) for columns lo to hi-1 of each shard.
func (b *batchNormBackward) part(lo, hi int) {
	shards := len(b.inverse) / b.dim
	n := b.dy.Rows / shards
	engine.Transpose(rows(b.scratch, lo, hi, b.dy.Rows), columns(b.dy, lo, hi))
	for j := lo; j < hi; j++ {
		for s := range shards {
			d, normal, f := b.scratch.Row(j)[s*n:(s+1)*n], b.normal.Row(j)[s*n:(s+1)*n], b.inverse[s*b.dim+j]
			if b.Gamma != nil {
				f *= float64(b.Gamma.Value[j])
				b.Gamma.Grad[j] += float32(simd.DotFloat64(d, normal))
				b.Beta.Grad[j] += float32(simd.DotFloat64(d, b.ones[:n]))
			}
			unstandardise(d, normal, b.ones[:n], f)
		}
	}
	engine.Transpose(columns(b.dx, lo, hi), rows(b.scratch, lo, hi, b.dy.Rows))
}

// Params implements [Module].
func (b *BatchNorm) Params() []*Param {
	if b.Gamma == nil {
		return nil
	}
	return []*Param{b.Gamma, b.Beta}
}

// Buffers implements [Module]: the running averages.
func (b *BatchNorm) Buffers() []Tensor {
	shape := []int{b.dim}
	return []Tensor{{"running_mean", shape, b.mean}, {"running_var", shape, b.variance}}
}

// SetWorkers sets Workers.
func (b *BatchNorm) SetWorkers(n int) { b.Workers = n }

// SetShards sets the shards of all the batch normalisations of s; see
// [BatchNorm.Shards].
func (s Sequential) SetShards(shards int) {
	for _, l := range s {
		switch l := l.(type) {
		case *BatchNorm:
			l.Shards = shards
		case Sequential:
			l.SetShards(shards)
		}
	}
}

// floats returns a slice of n arbitrary elements, in the memory of s if that is enough.
func floats[T float32 | float64](s []T, n int) []T { return slices.Grow(s[:0], n)[:n] }
