package ref

import "math"

// columns are the columns of a batch, less their means.
type columns struct {
	x    [][]float64
	grad [][]float64 // ∂Loss/∂x
	mass []float64
}

func center(m [][]float64) *columns {
	c := &columns{}
	for d := range m[0] {
		x := make([]float64, len(m))
		mean := 0.0
		for i, row := range m {
			x[i] = row[d]
			mean += row[d]
		}
		mean /= float64(len(m)) // of equal values of 24 bits it is exactly theirs
		for i := range x {
			x[i] -= mean
		}
		c.x = append(c.x, x)
		c.grad = append(c.grad, make([]float64, len(m)))
	}
	c.mass = make([]float64, len(m[0]))
	return c
}

func (c *columns) rows() [][]float64 {
	m := make([][]float64, len(c.x[0]))
	for i := range m {
		m[i] = make([]float64, len(c.x))
		for d := range c.x {
			m[i][d] = c.grad[d][i]
		}
	}
	return m
}

func dot(x, y []float64) float64 {
	sum := 0.0
	for i, v := range x {
		sum += v * y[i]
	}
	return sum
}

func axpy(a float64, x, y []float64) {
	for i, v := range x {
		y[i] += a * v
	}
}

// subtractMean takes the gradient with respect to centred columns to that with
// respect to the columns.
func subtractMean(x []float64) {
	mean := 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for i := range x {
		x[i] -= mean
	}
}

// BarlowTwins is equation 1 of Zbontar et al. (2021) on columns standardised
// with the biased variance plus 10⁻⁵: Σᵢ(1−Cᵢᵢ)² + λ·Σ_{i≠j} Cᵢⱼ².
//
// Mass is Σ|∂Loss/∂C|. The mass of a column bounds its gradient and, for an
// error of ε in every entry of C and of ε relative in every product, the error
// of that gradient by mass·ε, both in the 2-norm: with G = ∂Loss/∂C and
// H = ∂²Loss/∂C², it is Σⱼ(|Gᵢⱼ| + Hᵢⱼ)·‖ẑⱼ‖/(N·deviation).
type BarlowTwins struct{ Lambda float64 }

// Eval implements [Loss].
func (l BarlowTwins) Eval(b Batch) Result {
	r := Result{Kink: math.Inf(1)}
	n := float64(len(b.Query))
	q, k := center(b.Query), center(b.Key)
	qDeviation, kDeviation := q.standardize(), k.standardize()
	for i, x := range q.x {
		for j, y := range k.x {
			c := dot(x, y) / n
			loss, g, h := l.Lambda*c*c, 2*l.Lambda*c, 2*l.Lambda
			if i == j {
				loss, g, h = (1-c)*(1-c), -2*(1-c), 2
			}
			r.Loss += loss
			r.Mass += math.Abs(g)
			axpy(g/n, y, q.grad[i])
			axpy(g/n, x, k.grad[j])
			m := (math.Abs(g) + h) / math.Sqrt(n)
			q.mass[i] += m / qDeviation[i]
			k.mass[j] += m / kDeviation[j]
		}
	}
	q.destandardize(qDeviation)
	k.destandardize(kDeviation)
	r.Query, r.QueryMass = q.rows(), q.mass
	r.Key, r.KeyMass = k.rows(), k.mass
	return r
}

// standardize divides the columns by √(variance + 10⁻⁵) and returns that.
func (c *columns) standardize() []float64 {
	deviation := make([]float64, len(c.x))
	for d, x := range c.x {
		deviation[d] = math.Sqrt(dot(x, x)/float64(len(x)) + 1e-5)
		for i := range x {
			x[i] /= deviation[d]
		}
	}
	return deviation
}

// destandardize takes the gradients through standardize. With ẑ = x/σ and
// σ² = mean x² + 10⁻⁵, ∂σ/∂x = x/(Nσ) = ẑ/N.
func (c *columns) destandardize(deviation []float64) {
	for d, z := range c.x {
		along := dot(c.grad[d], z) / float64(len(z))
		axpy(-along, z, c.grad[d])
		for i := range z {
			c.grad[d][i] /= deviation[d]
		}
		subtractMean(c.grad[d])
	}
}

// VICReg is equations 1 to 6 of Bardes, Ponce and LeCun (2022) with the mean of
// squares and the ½ of its authors' code:
//
//	Similarity·mean(q−k)² + Variance·½(v(q)+v(k)) + Covariance·(c(q)+c(k))
//
// Mass is Σ|term| of the covariances with |cov| replaced by its bound, the
// product of deviations, plus the other terms. The mass of a column is the
// 2-norm of its gradient, term by term, with the same replacement.
type VICReg struct{ Similarity, Variance, Covariance float64 }

// Eval implements [Loss].
func (l VICReg) Eval(b Batch) Result {
	r := Result{Kink: math.Inf(1)}
	q, k := center(b.Query), center(b.Key)
	n, dim := float64(len(b.Query)), float64(len(q.x))
	for _, c := range []*columns{q, k} {
		variance := make([]float64, len(c.x))
		for i, x := range c.x {
			variance[i] = dot(x, x) / (n - 1)
			deviation := math.Sqrt(variance[i] + 1e-4)
			r.Kink = min(r.Kink, math.Abs(1-deviation))
			if deviation >= 1 {
				continue
			}
			w := l.Variance / 2 / dim
			r.Loss += w * (1 - deviation)
			r.Mass += w
			axpy(-w/((n-1)*deviation), x, c.grad[i])
			c.mass[i] += w / ((n - 1) * deviation) * math.Sqrt(dot(x, x))
		}
		for i, x := range c.x {
			for j, y := range c.x {
				if i == j {
					continue
				}
				cov := dot(x, y) / (n - 1)
				r.Loss += l.Covariance / dim * cov * cov
				r.Mass += 2 * l.Covariance / dim * variance[i] * variance[j]
				w := 4 * l.Covariance / dim / (n - 1) // each pair occurs twice in the sum
				axpy(w*cov, y, c.grad[i])
				c.mass[i] += w * math.Sqrt(variance[i]*variance[j]) * math.Sqrt(dot(y, y))
			}
		}
		for _, g := range c.grad {
			subtractMean(g)
		}
	}
	for d := range q.x {
		square := 0.0
		for i := range b.Query {
			diff := b.Query[i][d] - b.Key[i][d]
			r.Loss += l.Similarity * diff * diff / (n * dim)
			r.Mass += l.Similarity * diff * diff / (n * dim)
			w := 2 * l.Similarity * diff / (n * dim)
			q.grad[d][i] += w
			k.grad[d][i] -= w
			square += w * w
		}
		q.mass[d] += math.Sqrt(square)
		k.mass[d] += math.Sqrt(square)
	}
	r.Query, r.QueryMass = q.rows(), q.mass
	r.Key, r.KeyMass = k.rows(), k.mass
	return r
}
