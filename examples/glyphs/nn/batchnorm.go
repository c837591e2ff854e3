package nn

import (
	"fmt"
	"math"

	"github.com/contrastive-go/contrastive"
)

// BatchNorm brings each column to mean 0 and variance 1, then multiplies it by γ
// and adds β: Ioffe and Szegedy, "Batch Normalization" (2015), algorithm 1. In
// training the mean and variance are those of the batch; otherwise they are
// running averages.
type BatchNorm struct {
	// Shards divides a batch into so many equal runs of rows, each with its own
	// statistics, as if each were on a machine of its own; 0 means 1. Two views in
	// one batch with two shards are what two passes would be.
	Shards int

	dim            int
	gamma, beta    *Param // nil if there is no affine part
	mean, variance []float32

	normal, y, dx contrastive.Matrix
	inverse       []float32 // 1/√(variance+ε), shard by shard
}

const (
	batchNormEpsilon  = 1e-5
	batchNormMomentum = 0.1 // of the latest batch in the running averages
	columnGrain       = 32
)

// NewBatchNorm returns batch normalisation for dim columns, with or without γ
// and β.
func NewBatchNorm(dim int, affine bool) *BatchNorm {
	b := &BatchNorm{dim: dim, mean: make([]float32, dim), variance: make([]float32, dim)}
	for i := range b.variance {
		b.variance[i] = 1
	}
	if affine {
		b.gamma, b.beta = newParam(dim, true), newParam(dim, true)
		for i := range b.gamma.Value {
			b.gamma.Value[i] = 1
		}
	}
	return b
}

// Forward implements Layer.
func (b *BatchNorm) Forward(x contrastive.Matrix, training bool) contrastive.Matrix {
	checkCols("BatchNorm", x, b.dim)
	y := resize(&b.y, x.Rows, b.dim)
	if !training {
		parallel(b.dim, columnGrain, func(lo, hi int) { b.infer(x, y, lo, hi) })
		return y
	}
	shards := max(b.Shards, 1)
	if x.Rows%shards != 0 || x.Rows/shards < 2 {
		panic(fmt.Sprintf("nn: BatchNorm of %d rows in %d shards, which take two rows each or more", x.Rows, shards))
	}
	resize(&b.normal, x.Rows, b.dim)
	if len(b.inverse) != shards*b.dim {
		b.inverse = make([]float32, shards*b.dim)
	}
	parallel(b.dim, columnGrain, func(lo, hi int) { b.train(x, y, shards, lo, hi) })
	return y
}

// infer normalises columns lo to hi-1 by the running averages.
func (b *BatchNorm) infer(x, y contrastive.Matrix, lo, hi int) {
	scale, shift := make([]float32, hi-lo), make([]float32, hi-lo)
	for j := range scale {
		s := 1 / math.Sqrt(float64(b.variance[lo+j])+batchNormEpsilon)
		t := -s * float64(b.mean[lo+j])
		if b.gamma != nil {
			g := float64(b.gamma.Value[lo+j])
			s, t = s*g, t*g+float64(b.beta.Value[lo+j])
		}
		scale[j], shift[j] = float32(s), float32(t)
	}
	for i := range x.Rows {
		row := y.Row(i)[lo:hi]
		for j, v := range x.Row(i)[lo:hi] {
			row[j] = scale[j]*v + shift[j]
		}
	}
}

// train normalises columns lo to hi-1 by the statistics of each shard, and adds
// these to the running averages.
func (b *BatchNorm) train(x, y contrastive.Matrix, shards, lo, hi int) {
	n := x.Rows / shards
	mean, square := make([]float64, hi-lo), make([]float64, hi-lo)
	meanSum, varianceSum := make([]float64, hi-lo), make([]float64, hi-lo)
	for s := range shards {
		clear(mean)
		clear(square)
		for i := s * n; i < (s+1)*n; i++ {
			for j, v := range x.Row(i)[lo:hi] {
				mean[j] += float64(v)
			}
		}
		for j := range mean {
			mean[j] /= float64(n)
		}
		for i := s * n; i < (s+1)*n; i++ {
			for j, v := range x.Row(i)[lo:hi] {
				d := float64(v) - mean[j]
				square[j] += d * d
			}
		}
		inverse := b.inverse[s*b.dim+lo : s*b.dim+hi]
		for j, q := range square {
			inverse[j] = float32(1 / math.Sqrt(q/float64(n)+batchNormEpsilon))
			meanSum[j] += mean[j]
			varianceSum[j] += q / float64(n-1)
		}
		for i := s * n; i < (s+1)*n; i++ {
			normal, row := b.normal.Row(i)[lo:hi], y.Row(i)[lo:hi]
			for j, v := range x.Row(i)[lo:hi] {
				normal[j] = float32(float64(v)-mean[j]) * inverse[j]
			}
			if b.gamma == nil {
				copy(row, normal)
				continue
			}
			gamma, beta := b.gamma.Value[lo:hi], b.beta.Value[lo:hi]
			for j, v := range normal {
				row[j] = gamma[j]*v + beta[j]
			}
		}
	}
	for j := range meanSum {
		b.mean[lo+j] += batchNormMomentum * (float32(meanSum[j]/float64(shards)) - b.mean[lo+j])
		b.variance[lo+j] += batchNormMomentum * (float32(varianceSum[j]/float64(shards)) - b.variance[lo+j])
	}
}

// Backward implements Layer.
func (b *BatchNorm) Backward(dy contrastive.Matrix, wanted bool) contrastive.Matrix {
	checkCols("gradient of BatchNorm", dy, b.dim)
	dx := resize(&b.dx, dy.Rows, b.dim)
	parallel(b.dim, columnGrain, func(lo, hi int) { b.backward(dy, dx, lo, hi) })
	if !wanted {
		return contrastive.Matrix{}
	}
	return dx
}

// backward is dx = γ/σ·(dy − mean dy − x̂·mean(dy·x̂)) for columns lo to hi-1 of
// each shard.
func (b *BatchNorm) backward(dy, dx contrastive.Matrix, lo, hi int) {
	shards := len(b.inverse) / b.dim
	n := dy.Rows / shards
	sum, dot := make([]float64, hi-lo), make([]float64, hi-lo)
	for s := range shards {
		clear(sum)
		clear(dot)
		for i := s * n; i < (s+1)*n; i++ {
			normal := b.normal.Row(i)[lo:hi]
			for j, v := range dy.Row(i)[lo:hi] {
				sum[j] += float64(v)
				dot[j] += float64(v) * float64(normal[j])
			}
		}
		scale, meanSum, meanDot := make([]float32, hi-lo), make([]float32, hi-lo), make([]float32, hi-lo)
		for j := range sum {
			scale[j] = b.inverse[s*b.dim+lo+j]
			if b.gamma != nil {
				scale[j] *= b.gamma.Value[lo+j]
				b.gamma.Grad[lo+j] += float32(dot[j])
				b.beta.Grad[lo+j] += float32(sum[j])
			}
			meanSum[j], meanDot[j] = float32(sum[j]/float64(n)), float32(dot[j]/float64(n))
		}
		for i := s * n; i < (s+1)*n; i++ {
			normal, row := b.normal.Row(i)[lo:hi], dx.Row(i)[lo:hi]
			for j, v := range dy.Row(i)[lo:hi] {
				row[j] = scale[j] * (v - meanSum[j] - normal[j]*meanDot[j])
			}
		}
	}
}

// Params implements Layer.
func (b *BatchNorm) Params() []*Param {
	if b.gamma == nil {
		return nil
	}
	return []*Param{b.gamma, b.beta}
}

// Statistics implements Layer.
func (b *BatchNorm) Statistics() [][]float32 { return [][]float32{b.mean, b.variance} }
