package eig

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func check(t *testing.T, what string, got, want []float64) {
	t.Helper()
	slices.Sort(want)
	size := 0.0
	for _, w := range want {
		size = max(size, math.Abs(w))
	}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 8*float64(len(want))*0x1p-53*size {
			t.Errorf("%s: eigenvalue %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// TestKnown takes matrices whose eigenvalues have a formula.
func TestKnown(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, 16, 33, 100} {
		identity, ones, path := make([]float64, n*n), make([]float64, n*n), make([]float64, n*n)
		for i := range n {
			identity[i*n+i] = 1
			path[i*n+i] = 2
			if i > 0 {
				path[i*n+i-1], path[(i-1)*n+i] = -1, -1
			}
			for j := range n {
				ones[i*n+j] = 1
			}
		}
		wantOnes, wantPath := make([]float64, n), make([]float64, n)
		wantOnes[0] = float64(n)
		for i := range n {
			wantPath[i] = 2 - 2*math.Cos(math.Pi*float64(i+1)/float64(n+1))
		}
		check(t, "identity", Symmetric(identity, n), slices.Repeat([]float64{1}, n))
		check(t, "ones", Symmetric(ones, n), wantOnes)
		check(t, "path", Symmetric(path, n), wantPath)
		check(t, "zero", Symmetric(make([]float64, n*n), n), make([]float64, n))
	}
}

// TestRotated hides known eigenvalues behind random reflections.
func TestRotated(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{2, 7, 40} {
		want, a := make([]float64, n), make([]float64, n*n)
		for i := range n {
			want[i] = math.Exp(20 * (r.Float64() - 0.5))
			a[i*n+i] = want[i]
		}
		for range 3 {
			v, norm := make([]float64, n), 0.0
			for i := range v {
				v[i] = r.NormFloat64()
				norm += v[i] * v[i]
			}
			reflect := func(at func(i, j int) *float64) {
				for j := range n {
					dot := 0.0
					for i := range n {
						dot += v[i] * *at(i, j)
					}
					for i := range n {
						*at(i, j) -= 2 * dot / norm * v[i]
					}
				}
			}
			reflect(func(i, j int) *float64 { return &a[i*n+j] })
			reflect(func(i, j int) *float64 { return &a[j*n+i] })
		}
		check(t, "rotated", Symmetric(a, n), want)
	}
}
