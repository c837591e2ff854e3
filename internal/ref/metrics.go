package ref

import (
	"math"
	"slices"
)

// Alignment is mean ‖x̂ᵢ − ŷᵢ‖^alpha: Wang and Isola (2020), equation 1 there.
func Alignment(x, y [][]float64, alpha float64) float64 {
	xs, ys := normalize(x), normalize(y)
	sum := 0.0
	for i := range xs {
		sum += math.Pow(distance(xs[i], ys[i]), alpha)
	}
	return sum / float64(len(xs))
}

// Uniformity is log mean e^(−t·‖x̂ᵢ − x̂ⱼ‖²) over pairs i < j, where a row of zeros is
// orthogonal to all others: its squared distances are 2.
func Uniformity(x [][]float64, t float64) float64 {
	xs := normalize(x)
	var terms []float64
	for i := range xs {
		for j := range i {
			d := distance(xs[i], xs[j])
			if xs[i].norm == 0 || xs[j].norm == 0 {
				d = math.Sqrt2
			}
			terms = append(terms, -t*d*d)
		}
	}
	return logMeanExp(terms)
}

// logMeanExp returns log mean e^x, with the relative precision of the greatest x in
// magnitude: as a sum of e^x − 1, where these do not cancel.
func logMeanExp(x []float64) float64 {
	if least := slices.Min(x); least > -1 {
		sum := 0.0
		for _, v := range x {
			sum += math.Expm1(v)
		}
		return math.Log1p(sum / float64(len(x)))
	}
	return logSumExp(x) - math.Log(float64(len(x)))
}

func distance(a, b *vector) float64 {
	sum := 0.0
	for d, x := range a.x {
		sum += (x - b.x[d]) * (x - b.x[d])
	}
	return math.Sqrt(sum)
}

// EffectiveRank is the exponential of the entropy of the singular values of
// the normalised rows, as shares of their sum: Roy and Vetterli (2007).
func EffectiveRank(x [][]float64) float64 {
	values := SingularValues(x)
	sum, entropy := 0.0, 0.0
	for _, s := range values {
		sum += s
	}
	for _, s := range values {
		if p := s / sum; p > 0 {
			entropy -= p * math.Log(p)
		}
	}
	return math.Exp(entropy)
}

// SingularValues returns those of the normalised rows.
func SingularValues(x [][]float64) []float64 {
	xs := normalize(x)
	dim := len(x[0])
	gram := make([][]float64, dim)
	for a := range gram {
		gram[a] = make([]float64, dim)
		for b := range gram[a] {
			for _, v := range xs {
				gram[a][b] += v.x[a] * v.x[b]
			}
		}
	}
	var values []float64
	for _, v := range eigenvalues(gram) {
		values = append(values, math.Sqrt(max(v, 0)))
	}
	return values
}

// eigenvalues returns those of the symmetric matrix a, which it destroys, by
// the cyclic Jacobi method.
func eigenvalues(a [][]float64) []float64 {
	n := len(a)
	for range 60 {
		off := 0.0
		for p := range n {
			for q := range p {
				off += a[p][q] * a[p][q]
			}
		}
		if off == 0 {
			break
		}
		for p := range n {
			for q := range p {
				rotate(a, p, q)
			}
		}
	}
	values := make([]float64, n)
	for i := range values {
		values[i] = a[i][i]
	}
	return values
}

// rotate annihilates a[p][q].
func rotate(a [][]float64, p, q int) {
	if a[p][q] == 0 {
		return
	}
	theta := (a[q][q] - a[p][p]) / (2 * a[p][q])
	t := 1 / (math.Abs(theta) + math.Hypot(theta, 1))
	if theta < 0 {
		t = -t
	}
	c := 1 / math.Hypot(t, 1)
	s := t * c
	for k := range a {
		a[k][p], a[k][q] = c*a[k][p]-s*a[k][q], s*a[k][p]+c*a[k][q]
	}
	for k := range a {
		a[p][k], a[q][k] = c*a[p][k]-s*a[q][k], s*a[p][k]+c*a[q][k]
	}
	a[p][q], a[q][p] = 0, 0
}
