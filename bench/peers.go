// Package bench compares package contrastive with what one would otherwise pick.
//
// Its benchmarks run the same losses on the same embeddings, side by side, after
// checking that the results agree. Build it with -tags openblas
// for OpenBLAS, which must be installed, behind gonum's interface.
package bench

import (
	"math"

	"github.com/viterin/vek/vek32"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// A Peer computes InfoNCE with in-batch negatives and both gradients, of rows
// that are normalised within: the loss, and the gradients with respect to the
// raw rows in dq and dk. All matrices are n×d and contiguous.
type Peer struct {
	Name    string
	InfoNCE func(q, k, dq, dk blas32.General, tau float64) float64
}

// Peers are the alternatives that this build has.
var Peers = []Peer{
	{"go", loops},
	{"gonum", func(q, k, dq, dk blas32.General, tau float64) float64 {
		blas32.Use(gonumBLAS)
		return products(q, k, dq, dk, tau)
	}},
	{"vek", vek},
}

var gonumBLAS = blas32.Implementation()

// normalize returns the unit rows of x and their norms.
func normalize(x blas32.General) (blas32.General, []float32) {
	unit, norms := newMatrix(x.Rows, x.Cols), make([]float32, x.Rows)
	for i := range x.Rows {
		sum := float32(0)
		for _, v := range row(x, i) {
			sum += v * v
		}
		norms[i] = float32(math.Sqrt(float64(sum)))
		for d, v := range row(x, i) {
			row(unit, i)[d] = v / norms[i]
		}
	}
	return unit, norms
}

// denormalize turns gradients with respect to unit rows into those with respect
// to the raw rows.
func denormalize(g, unit blas32.General, norms []float32) {
	for i := range g.Rows {
		dot := float32(0)
		for d, v := range row(g, i) {
			dot += v * row(unit, i)[d]
		}
		for d := range row(g, i) {
			row(g, i)[d] = (row(g, i)[d] - dot*row(unit, i)[d]) / norms[i]
		}
	}
}

func newMatrix(rows, cols int) blas32.General {
	return blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: make([]float32, rows*cols)}
}

func row(m blas32.General, i int) []float32 { return m.Data[i*m.Stride : i*m.Stride+m.Cols] }

// loops is what one writes without a library.
func loops(q, k, dq, dk blas32.General, tau float64) float64 {
	uq, nq := normalize(q)
	uk, nk := normalize(k)
	clear(dq.Data)
	clear(dk.Data)
	loss, p := 0.0, make([]float64, k.Rows)
	for i := range q.Rows {
		sum := 0.0
		for j := range k.Rows {
			dot := float32(0)
			for d, v := range row(uq, i) {
				dot += v * row(uk, j)[d]
			}
			p[j] = math.Exp((float64(dot) - 1) / tau)
			sum += p[j]
		}
		loss -= math.Log(p[i]/sum) / float64(q.Rows)
		for j := range k.Rows {
			g := p[j] / sum
			if i == j {
				g--
			}
			w := float32(g / tau / float64(q.Rows))
			for d := range row(dq, i) {
				row(dq, i)[d] += w * row(uk, j)[d]
				row(dk, j)[d] += w * row(uq, i)[d]
			}
		}
	}
	denormalize(dq, uq, nq)
	denormalize(dk, uk, nk)
	return loss
}

// products is three matrix products and a softmax over the N×N matrix.
func products(q, k, dq, dk blas32.General, tau float64) float64 {
	uq, nq := normalize(q)
	uk, nk := normalize(k)
	s := newMatrix(q.Rows, k.Rows)
	blas32.Gemm(blas.NoTrans, blas.Trans, float32(1/tau), uq, uk, 0, s)
	loss := softmax(s, tau)
	blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, s, uk, 0, dq)
	blas32.Gemm(blas.Trans, blas.NoTrans, 1, s, uq, 0, dk)
	denormalize(dq, uq, nq)
	denormalize(dk, uk, nk)
	return loss
}

// softmax replaces logits by the gradient with respect to cosines.
func softmax(s blas32.General, tau float64) float64 {
	loss, n := 0.0, float64(s.Rows)
	for i := range s.Rows {
		r := row(s, i)
		top := float64(vek32.Max(r))
		own, sum := float64(r[i]), 0.0
		for j, v := range r {
			e := math.Exp(float64(v) - top)
			sum += e
			r[j] = float32(e)
		}
		loss -= (own - top - math.Log(sum)) / n
		scale := float32(1 / (sum * tau * n))
		for j := range r {
			r[j] *= scale
		}
		r[i] -= float32(1 / (tau * n))
	}
	return loss
}

// vek is loops with viterin/vek's vector operations.
func vek(q, k, dq, dk blas32.General, tau float64) float64 {
	uq, nq := normalize(q)
	uk, nk := normalize(k)
	clear(dq.Data)
	clear(dk.Data)
	loss, p, tmp := 0.0, make([]float64, k.Rows), make([]float32, q.Cols)
	for i := range q.Rows {
		sum := 0.0
		for j := range k.Rows {
			p[j] = math.Exp((float64(vek32.Dot(row(uq, i), row(uk, j))) - 1) / tau)
			sum += p[j]
		}
		loss -= math.Log(p[i]/sum) / float64(q.Rows)
		for j := range k.Rows {
			g := p[j] / sum
			if i == j {
				g--
			}
			w := float32(g / tau / float64(q.Rows))
			vek32.MulNumber_Into(tmp, row(uk, j), w)
			vek32.Add_Inplace(row(dq, i), tmp)
			vek32.MulNumber_Into(tmp, row(uq, i), w)
			vek32.Add_Inplace(row(dk, j), tmp)
		}
	}
	denormalize(dq, uq, nq)
	denormalize(dk, uk, nk)
	return loss
}
