package contrastive_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
)

// adversarial returns rows that are hard for products of pieces: rows along and
// against all of the others, rows whose elements all round the same way to 8, 16 and
// 24 bits, rows of one great and many small elements, and ordinary ones.
func adversarial(r *rand.Rand, rows, cols int) contrastive.Matrix {
	m := losstest.Normal(r, rows, cols)
	for i := range rows {
		row := m.Row(i)
		fill := func(f func(d int) float32) {
			for d := range row {
				row[d] = f(d)
			}
		}
		switch i % 8 {
		case 0: // every element is just above the middle of two bfloat16 values
			fill(func(int) float32 { return 1 + 0x1.02p-8 })
		case 1:
			fill(func(int) float32 { return -1 - 0x1.02p-8 })
		case 2: // the second piece is as great as it can be, and the third
			fill(func(d int) float32 { return (1 + 0x1.fep-9 + 0x1.fep-17) * float32(1-2*(d%2)) })
		case 3:
			fill(func(int) float32 { return 2 - 0x1p-23 })
		case 4:
			fill(func(d int) float32 { return row[d] * 0x1p-12 })
			row[i%cols] = 1
		case 5:
			fill(func(d int) float32 { return 1 + 0x1p-6*row[d] })
		}
	}
	return m
}

// TestPrecisionTable measures the errors of all precisions and tests that they are
// within their bounds: for dimensions from 64 to 1536, temperatures from 0.01 to 1 and
// rows that are hard. With -v it prints, for each precision, the greatest errors of the
// loss and of the gradient of a query, in the 2-norm and relative to its mass, both
// times τ: what they say of a cosine.
func TestPrecisionTable(t *testing.T) {
	dims := []int{64, 128, 256, 512, 768, 1024, 1536}
	taus := []float32{0.01, 0.02, 0.05, 0.1, 0.5, 1}
	if testing.Short() {
		dims = []int{64, 512}
	}
	for _, name := range []string{"InfoNCE", "CLIP", "NTXent", "SigLIP"} {
		v := variantNamed(name)
		t.Run(name, func(t *testing.T) {
			trials := make(map[int][]losstest.Trial)
			for _, d := range dims {
				r := rand.New(rand.NewPCG(21, uint64(d)))
				b := contrastive.Batch{Query: adversarial(r, 24, d), Key: adversarial(r, 24, d)}
				for _, tau := range taus {
					trials[d] = append(trials[d], losstest.NewTrial(v, fmt.Sprintf("D=%d", d), tau, -1, b))
				}
			}
			isatest.Each(t, func(t *testing.T) {
				for _, d := range dims {
					line := fmt.Sprintf("D=%-5d", d)
					for p := contrastive.Highest; p <= contrastive.Medium; p++ {
						loss, gradient := 0.0, 0.0
						for _, c := range trials[d] {
							c.Precision, c.Name = p, fmt.Sprintf("%s precision %v", c.Name, p)
							if !c.Run(t) {
								t.Errorf("%s: not compared", c.Name)
							}
							l, g := trialErrors(t, c)
							loss, gradient = max(loss, l), max(gradient, g)
						}
						line += fmt.Sprintf("  %v %.1e %.1e", p, loss, gradient)
					}
					t.Log(line)
				}
			})
		})
	}
}

// trialErrors returns the errors that TestPrecisionTable prints.
func trialErrors(t *testing.T, c losstest.Trial) (loss, gradient float64) {
	t.Helper()
	g := losstest.Destinations(c.Batch)
	got := losstest.Eval(t, c.Name, c.Variant.Make(c.Tau, c.Bias, options{Precision: c.Precision}), c.Batch, g)
	tau := float64(c.Tau)
	for i, want := range c.Want.Query {
		diff, norm := 0.0, 0.0
		for d, w := range want {
			diff = math.Hypot(diff, float64(g.Query.Row(i)[d])-w)
			norm = math.Hypot(norm, float64(c.Batch.Query.Row(i)[d]))
		}
		if mass := c.Want.QueryMass[i]; mass > 0x1p-20 {
			gradient = max(gradient, tau*diff*norm/mass)
		}
	}
	return tau * math.Abs(got.Loss-c.Want.Loss), gradient
}

// TestAccuracyMargin has a positive that is more similar than the negative by a little
// less than the margin below which that does not count, and by a little more. The
// negative's cosine, 3/4, is exact in all precisions.
func TestAccuracyMargin(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		for p, margin := range map[contrastive.Precision]float64{contrastive.Highest: 0x1p-20, contrastive.High: 0x1p-14, contrastive.Medium: 0x1p-6} {
			for _, c := range [...]struct{ win, accuracy float64 }{{0.75, 0}, {1.25, 1}} {
				pair := func(s float64) contrastive.Matrix {
					return contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{float32(s), float32(math.Sqrt(1 - s*s))}}
				}
				b := contrastive.Batch{Query: pair(1), Key: pair(0.75 + c.win*margin), Negatives: pair(0.75)}
				got := losstest.Eval(t, "InfoNCE", contrastive.InfoNCE{Options: options{Precision: p}}, b, contrastive.Gradients{})
				if got.Accuracy != c.accuracy {
					t.Errorf("%v: Accuracy = %v for a win by %v of the margin, want %v", p, got.Accuracy, c.win, c.accuracy)
				}
			}
		}
	})
}

// TestCollapsedAccuracy tests that embeddings that are all the same are not accurate
// by the rounding of similarities.
func TestCollapsedAccuracy(t *testing.T) {
	r := rand.New(rand.NewPCG(22, 1))
	const n, d = 40, 96
	direction := losstest.Normal(r, 1, d).Row(0)
	b := contrastive.Batch{Query: contrastive.NewMatrix(n, d), Key: contrastive.NewMatrix(n, d)}
	for i := range n {
		for j, x := range direction {
			b.Query.Row(i)[j], b.Key.Row(i)[j] = float32(1+i)*x, float32(n-i)*x
		}
	}
	isatest.Each(t, func(t *testing.T) {
		for p := contrastive.Highest; p <= contrastive.Medium; p++ {
			for _, v := range losstest.Variants {
				b := b
				v.Complete(rand.New(rand.NewPCG(22, 2)), &b)
				got := losstest.Eval(t, v.Name, v.Make(0.1, 0, options{Precision: p}), b, contrastive.Gradients{})
				if got.Accuracy != 0 {
					t.Errorf("%s precision %v: Accuracy = %v, want 0", v.Name, p, got.Accuracy)
				}
			}
		}
	})
}
