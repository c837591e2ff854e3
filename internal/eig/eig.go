// Package eig computes the eigenvalues of symmetric matrices in float64.
package eig

import (
	"math"
	"slices"
)

// Symmetric returns the eigenvalues of the symmetric n×n matrix a, row-major, in
// ascending order. It overwrites a. They have errors of the order of n·2⁻⁵³·‖a‖.
//
// The matrix is reduced to tridiagonal form by Householder reflections, whose
// eigenvalues the implicit QL method finds: Golub and Van Loan, Matrix
// Computations, 4th ed., §8.3.
func Symmetric(a []float64, n int) []float64 {
	d, e := tridiagonal(a, n)
	implicitQL(d, e)
	slices.Sort(d)
	return d
}

// tridiagonal returns the diagonal of a tridiagonal matrix with the eigenvalues of
// a, and the elements beside it: e[i] beside d[i] and d[i+1].
func tridiagonal(a []float64, n int) (d, e []float64) {
	d, e = make([]float64, n), make([]float64, n)
	p := make([]float64, n)
	for k := range max(0, n-2) {
		// Reflect column k below the diagonal on its first element.
		v := make([]float64, n-k-1)
		scale := 0.0
		for i := range v {
			v[i] = a[(k+1+i)*n+k]
			scale = max(scale, math.Abs(v[i]))
		}
		if scale == 0 {
			continue
		}
		norm := 0.0
		for i := range v {
			v[i] /= scale
			norm += v[i] * v[i]
		}
		alpha := -math.Copysign(math.Sqrt(norm), v[0])
		v0 := v[0]
		v[0] -= alpha
		e[k] = alpha * scale
		// With H = I − β·v·vᵀ, the rest becomes H·A·H = A − v·wᵀ − w·vᵀ.
		beta := 1 / (norm - alpha*v0)
		w := p[:len(v)]
		dot := 0.0
		for i := range v {
			row := a[(k+1+i)*n+k+1 : (k+2+i)*n]
			sum := 0.0
			for j, x := range v {
				sum += row[j] * x
			}
			w[i] = beta * sum
			dot += w[i] * v[i]
		}
		for i := range w {
			w[i] -= 0.5 * beta * dot * v[i]
		}
		for i := range v {
			row := a[(k+1+i)*n+k+1 : (k+2+i)*n]
			for j := range v {
				row[j] -= v[i]*w[j] + w[i]*v[j]
			}
		}
	}
	for i := range n {
		d[i] = a[i*n+i]
	}
	if n > 1 {
		e[n-2] = a[(n-1)*n+n-2]
	}
	return d, e
}

// implicitQL replaces d by the eigenvalues of the tridiagonal matrix.
func implicitQL(d, e []float64) {
	n := len(d)
	const eps = 0x1p-52
	for l := range n {
		for {
			m := l
			for m < n-1 && math.Abs(e[m]) > eps*(math.Abs(d[m])+math.Abs(d[m+1])) && math.Abs(e[m]) > 0x1p-1000 {
				m++
			}
			if m == l {
				break
			}
			// Wilkinson's shift, which converges in a few steps.
			g := (d[l+1] - d[l]) / (2 * e[l])
			r := math.Hypot(g, 1)
			g = d[m] - d[l] + e[l]/(g+math.Copysign(r, g))
			s, c, p := 1.0, 1.0, 0.0
			i := m - 1
			for ; i >= l; i-- {
				f, b := s*e[i], c*e[i]
				r = math.Hypot(f, g)
				e[i+1] = r
				if r == 0 {
					d[i+1] -= p
					e[m] = 0
					break
				}
				s, c = f/r, g/r
				g = d[i+1] - p
				r = (d[i]-g)*s + 2*c*b
				p = s * r
				d[i+1] = g + p
				g = c*r - b
			}
			if i < l {
				d[l] -= p
				e[l], e[m] = g, 0
			}
		}
	}
}
