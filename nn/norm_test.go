package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive"
)

// standardised returns v less its mean, over √(variance + ε), and 1/√(variance + ε).
func standardised(v []float64) (normal []float64, inverse float64) {
	var mean, variance float64
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for _, x := range v {
		variance += (x - mean) * (x - mean) / float64(len(v))
	}
	inverse = 1 / math.Sqrt(variance+1e-5)
	for _, x := range v {
		normal = append(normal, (x-mean)*inverse)
	}
	return normal, inverse
}

func TestLayerNorm(t *testing.T) {
	const n, dim = 5, 9
	rng := newRand(4)
	l := NewLayerNorm(dim)
	perturb(rng, l.Params())
	x, dy := random(rng, n, dim), random(rng, n, dim)
	for i := range n {
		for j := range x.Row(i) {
			x.Row(i)[j] += 100 // an offset takes no digits
		}
	}
	abs := func(v float32) float64 { return math.Abs(float64(v)) }
	checkLayer(t, l, x, dy, func(x, params [][]float64) [][]float64 {
		y := make([][]float64, n)
		for i := range x {
			normal, _ := standardised(x[i])
			for j, v := range normal {
				y[i] = append(y[i], v*params[0][j]+params[1][j])
			}
		}
		return y
	}, bounds{
		// x̂ has 3 roundings, the product and the sum two more.
		output: func(i, j int) float64 {
			normal, _ := standardised(slice64(x.Row(i)))
			return 6 * u * (math.Abs(normal[j])*abs(l.Gamma.Value[j]) + abs(l.Beta.Value[j]))
		},
		// γ·dy has one rounding, what is left of it without its mean one more, the mean of
		// γ·dy·x̂ 4 and x̂ itself 3, the result one.
		input: func(i, j int) float64 {
			normal, inverse := standardised(slice64(x.Row(i)))
			var mean, dot, own float64
			for k, v := range dy.Row(i) {
				g := abs(v) * abs(l.Gamma.Value[k])
				mean += g / dim
				dot += g * math.Abs(normal[k]) / dim
				if k == j {
					own = g
				}
			}
			return 9 * u * inverse * (own + mean + math.Abs(normal[j])*dot)
		},
		// The sums are in float64, of x̂ with 3 roundings, and rounded.
		param: func(k, j int) (bound float64) {
			for i := range n {
				d := abs(dy.Row(i)[j])
				if k == 0 {
					normal, _ := standardised(slice64(x.Row(i)))
					d *= math.Abs(normal[j])
				}
				bound += d
			}
			return 4 * u * bound
		},
	})
}

func TestBatchNorm(t *testing.T) {
	const dim = 6
	for _, shards := range []int{1, 3} {
		for _, affine := range []bool{true, false} {
			const n = 12
			rng := newRand(uint64(5 + shards))
			b := NewBatchNorm(dim, affine)
			b.Shards = shards
			perturb(rng, b.Params())
			x, dy := random(rng, n, dim), random(rng, n, dim)
			size := n / shards

			// column is column j of the shard of row i.
			column := func(m [][]float64, i, j int) (c []float64) {
				for k := i / size * size; k < (i/size+1)*size; k++ {
					c = append(c, m[k][j])
				}
				return c
			}
			gamma := func(j int) float64 {
				if !affine {
					return 1
				}
				return float64(b.Gamma.Value[j])
			}
			checkLayer(t, b, x, dy, func(x, params [][]float64) [][]float64 {
				y := make([][]float64, n)
				for i := range y {
					for j := range dim {
						normal, _ := standardised(column(x, i, j))
						v := normal[i%size]
						if affine {
							v = v*params[0][j] + params[1][j]
						}
						y[i] = append(y[i], v)
					}
				}
				return y
			}, bounds{
				// x̂ has 3 roundings, γ·x̂ + β two more.
				output: func(i, j int) float64 {
					normal, _ := standardised(column(rows64(x), i, j))
					bound := math.Abs(normal[i%size] * gamma(j))
					if affine {
						bound += math.Abs(float64(b.Beta.Value[j]))
					}
					return 6 * u * bound
				},
				// As for LayerNorm, but that γ is a factor in float64.
				input: func(i, j int) float64 {
					normal, inverse := standardised(column(rows64(x), i, j))
					d := column(rows64(dy), i, j)
					var sum, dot float64
					for k, v := range d {
						sum += math.Abs(v) / float64(size)
						dot += math.Abs(v*normal[k]) / float64(size)
					}
					return 9 * u * inverse * math.Abs(gamma(j)) * (math.Abs(d[i%size]) + sum + math.Abs(normal[i%size])*dot)
				},
				// Sums are rounded once for each shard, as is what they are added to; x̂ has
				// 3 roundings.
				param: func(k, j int) (bound float64) {
					for i := range n {
						normal, _ := standardised(column(rows64(x), i, j))
						d := math.Abs(float64(dy.Row(i)[j]))
						if k == 0 {
							d *= math.Abs(normal[i%size])
						}
						bound += d
					}
					return float64(2*shards+3) * u * bound
				},
			})
		}
	}
}

func TestShardsAreSeparateBatches(t *testing.T) {
	x := random(newRand(3), 16, 5)
	together, apart := NewBatchNorm(5, true), NewBatchNorm(5, true)
	Sequential{Sequential{together}}.SetShards(2)
	y := together.Forward(x, true)
	for s := range 2 {
		got := apart.Forward(x.Slice(8*s, 8*s+8), true)
		for i := range 8 {
			if !slices.Equal(got.Row(i), y.Row(8*s+i)) {
				t.Errorf("shard %d differs from a batch of its own in row %d", s, i)
			}
		}
	}
}

// TestRunningStatistics: two batches by hand. After batches of mean 1 and 5, and of
// variance 2 and 8 with the divisor n−1, the averages are 0.9·0.1·1 + 0.1·5 and
// 0.9·(0.9·1 + 0.1·2) + 0.1·8.
func TestRunningStatistics(t *testing.T) {
	b := NewBatchNorm(1, true)
	b.Gamma.Value[0], b.Beta.Value[0] = 3, 7
	for _, rows := range [][][]float32{{{0}, {2}}, {{3}, {7}}} {
		x, err := contrastive.FromRows(rows)
		if err != nil {
			t.Fatal(err)
		}
		b.Forward(x, true)
	}
	mean, variance := 0.9*0.1*1+0.1*5, 0.9*(0.9*1+0.1*2)+0.1*8
	for i, want := range []float64{mean, variance} {
		if got := float64(b.Buffers()[i].Data[0]); math.Abs(got-want) > 4*u*want {
			t.Errorf("%s is %.9g, want %.9g", b.Buffers()[i].Name, got, want)
		}
	}
	x, err := contrastive.FromRows([][]float32{{2}})
	if err != nil {
		t.Fatal(err)
	}
	want := 3*(2-mean)/math.Sqrt(variance+1e-5) + 7
	if got := float64(b.Forward(x, false).Data[0]); math.Abs(got-want) > 10*u*math.Abs(want) {
		t.Errorf("outside of training the output is %.9g, want %.9g", got, want)
	}
}
