package main

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// BenchmarkGonumStep is a step of package adapter as one writes it with gonum as it comes:
// 1,024 pairs of 768 dimensions, a linear map of the queries, the loss of CLIP, AdamW.
func BenchmarkGonumStep(b *testing.B) {
	const n, d, tau = 1024, 768, 0.07
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(rows, cols int) blas32.General {
		m := blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: make([]float32, rows*cols)}
		for i := range m.Data {
			m.Data[i] = rng.Float32() - 0.5
		}
		return m
	}
	x, k, w := random(n, d), random(n, d), random(d, d)
	y, dy, s, grad := random(n, d), random(n, d), random(n, n), random(d, d)
	first, second := make([]float32, d*d), make([]float32, d*d)
	normalise := func(m blas32.General) (norms []float64) {
		for i := range m.Rows {
			row := m.Data[i*d : (i+1)*d]
			norm := 0.0
			for _, v := range row {
				norm += float64(v) * float64(v)
			}
			norm = math.Sqrt(norm)
			for j := range row {
				row[j] /= float32(norm)
			}
			norms = append(norms, norm)
		}
		return norms
	}
	step := 0
	begun := time.Now()
	for b.Loop() {
		step++
		normalise(x)
		normalise(k)
		blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, x, w, 0, y)
		norms := normalise(y)
		blas32.Gemm(blas.NoTrans, blas.Trans, 1/tau, y, k, 0, s)
		columns := make([]float64, n)
		rows := make([]float64, n)
		for i := range n {
			for j, v := range s.Data[i*n : (i+1)*n] {
				e := math.Exp(float64(v))
				rows[i] += e
				columns[j] += e
			}
		}
		for i := range n {
			row := s.Data[i*n : (i+1)*n]
			for j, v := range row {
				e := math.Exp(float64(v))
				row[j] = float32((e/rows[i] + e/columns[j]) / (2 * n * tau))
				if i == j {
					row[j] -= 1 / (n * tau)
				}
			}
		}
		blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, s, k, 0, dy)
		for i := range n {
			row, unit := dy.Data[i*d:(i+1)*d], y.Data[i*d:(i+1)*d]
			dot := float32(0)
			for j, v := range row {
				dot += v * unit[j]
			}
			for j := range row {
				row[j] = (row[j] - dot*unit[j]) / float32(norms[i])
			}
		}
		blas32.Gemm(blas.Trans, blas.NoTrans, 1, x, dy, 0, grad)
		c1, c2 := float32(1-math.Pow(0.9, float64(step))), float32(1-math.Pow(0.999, float64(step)))
		for i, g := range grad.Data {
			first[i] += 0.1 * (g - first[i])
			second[i] += 0.001 * (g*g - second[i])
			w.Data[i] -= 1e-3 * (first[i] / c1) / (float32(math.Sqrt(float64(second[i]/c2))) + 1e-8)
		}
	}
	b.ReportMetric(time.Since(begun).Seconds()/float64(b.N)*1e3, "ms/step")
}
