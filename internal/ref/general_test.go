package ref_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive/internal/ref"
	"github.com/contrastive-go/contrastive/internal/ref/draw"
	"github.com/contrastive-go/contrastive/internal/ref/golden"
)

// TestGoldenGeneral compares losses on batches that hold more than pairs with the
// reference implementations and with torch, to 10⁻¹² and the rounding errors of
// float64: on either side a similarity of at most 70 dimensions errs by less than
// 40·2⁻⁵³ of its size, the loss by Mass times that and by as much of a logit,
// together less than 10⁻¹⁴·(Mass + size/τ); derivatives by ten times that, and by
// 2⁻²⁴ for gradients, which are float32.
func TestGoldenGeneral(t *testing.T) {
	const eps = 1e-14
	for _, file := range golden.GeneralFiles {
		for _, c := range golden.LoadGeneral(t, file) {
			t.Run(c.Name, func(t *testing.T) {
				loss := c.Reference()
				if loss == nil {
					t.Skip("package ref has no such loss")
				}
				b := c.Batch()
				r := loss.Eval(b)
				tau, scale := temperature(c.Loss), r.Mass
				if c.Params.Similarity == "dot" {
					scale += greatest(b.Query) * max(greatest(b.Key), greatest(b.Negatives), greatest(b.Hard)) / tau
				} else {
					scale += 1 / tau
				}
				exact := func(name string, got, want, bound float64) {
					t.Helper()
					within(t, name, got, want, bound+1e-12*math.Abs(want))
				}
				exact("loss", r.Loss, c.Value, eps*scale)
				if len(c.Losses) > 0 && len(r.Losses) != len(c.Losses) {
					t.Fatalf("%d losses, want %d", len(r.Losses), len(c.Losses))
				}
				for i, want := range c.Losses {
					exact(fmt.Sprintf("loss of query %d", i), r.Losses[i], want, eps*scale)
				}
				for name, want := range c.ScalarGrads {
					switch name {
					case "temperature":
						exact("∂L/∂τ", r.TemperatureGrad, want, 10*eps*scale/tau)
					case "bias":
						exact("∂L/∂b", r.BiasGrad, want, 10*eps*scale)
					default:
						t.Errorf("gradient of %q", name)
					}
				}
				for name, want := range c.Grads {
					got := map[string][][]float64{"query": r.Query, "key": r.Key, "negatives": r.Negatives, "hard": r.Hard}[name]
					shortest := c.Inputs[name].Float64()
					for i, row := range shortest {
						for _, d := range c.Params.Dims {
							if norm(row[:d]) < norm(shortest[i]) {
								shortest[i] = row[:d]
							}
						}
					}
					sameGradient(t, name, got, want.Float64(), shortest, eps*scale)
				}
			})
		}
	}
}

// temperature returns the least of a loss and its parts, 1 if it has none.
func temperature(l golden.Loss) float64 {
	least := 1.0
	if tau := l.Params.Temperature; tau > 0 {
		least = tau
	}
	for _, part := range l.Params.Parts {
		least = min(least, temperature(part))
	}
	return least
}

// greatest returns the greatest norm of a row of m.
func greatest(m [][]float64) float64 {
	g := 0.0
	for _, row := range m {
		g = max(g, norm(row))
	}
	return g
}

// TestGradientGeneral is TestGradient for losses and batches of all kinds. Where
// similarities are dot products, a step moves a row by h·min(τ,1) over the greatest
// norm, and τ by as much less as they can exceed 1.
func TestGradientGeneral(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	compared := map[string]int{}
	draws := 1000
	if testing.Short() { // as where it is emulated
		draws = 200
	}
	for range draws {
		c := draw.New(r, 6, 5)
		t.Run(c.String(), func(t *testing.T) {
			b := c.Batch
			want := c.Loss.Eval(b)
			if want.Kink < 0.2 && has[ref.HardNegative](c.Loss) || want.Kink < 0.02 {
				t.Skip("the loss is not smooth here")
			}
			for _, f := range features(c) {
				compared[f]++
			}
			loss := ref.Hold(c.Loss, b)
			res := loss.Eval(b)
			within(t, "with constants held: loss", res.Loss, want.Loss, 0)
			if !has[ref.CLIP](c.Loss) && !symmetric(c.Loss) {
				checkMean(t, c, res)
			}

			checkMass(t, "Query", b.Query, res.Query, res.QueryMass, res.RawMass)
			checkMass(t, "Key", b.Key, res.Key, res.KeyMass, res.RawMass)
			checkMass(t, "Negatives", b.Negatives, res.Negatives, res.NegativesMass, res.RawMass)
			checkMass(t, "Hard", b.Hard, res.Hard, res.HardMass, res.RawMass)

			tau := ref.LeastTemperature(c.Loss)
			step := min(tau, 1)
			eps := 1e-9 * (res.Mass*step + math.Abs(res.Loss) + 1)
			at := func(tau, bias float64) float64 { return ref.Hold(moved(c.Loss, tau, bias), b).Eval(b).Loss }
			span := 1.0 // of similarities, by which a logit moves with τ
			if dots(c.Loss) {
				span = max(1, greatest(b.Query)*max(greatest(b.Key), greatest(b.Negatives), greatest(b.Hard)))
			}
			part := step / span
			within(t, "∂L/∂τ", res.TemperatureGrad*part*tau, difference(func(h float64) float64 { return at(h*part*tau, 0) }), eps)
			within(t, "∂L/∂b", res.BiasGrad, difference(func(h float64) float64 { return at(0, h) }), eps)
			check := func(name string, x, grad [][]float64) {
				if len(grad) != len(x) {
					t.Fatalf("%s: gradient of %d rows for %d", name, len(grad), len(x))
				}
				for i, row := range x {
					n := scaleOf(c, row)
					if n == 0 {
						for d, g := range grad[i] {
							if !dots(c.Loss) { // in a sum with cosines, which have no derivative at 0
								within(t, fmt.Sprintf("%s row %d column %d", name, i, d), g, 0, 0)
							}
						}
						continue
					}
					for d, v := range row {
						want := difference(func(h float64) float64 {
							row[d] = v + h*step*n
							defer func() { row[d] = v }()
							return loss.Eval(b).Loss
						})
						within(t, fmt.Sprintf("%s row %d column %d", name, i, d), grad[i][d]*step*n, want, eps)
					}
				}
			}
			check("Query", b.Query, res.Query)
			check("Key", b.Key, res.Key)
			check("Negatives", b.Negatives, res.Negatives)
			check("Hard", b.Hard, res.Hard)
		})
	}
	for _, f := range []string{
		"ref.InfoNCE", "ref.CLIP", "ref.SigLIP", "ref.NTXent", "ref.DCL", "ref.HardNegative", "ref.SupCon", "ref.Sum",
		"Matryoshka of ref.InfoNCE", "Matryoshka of ref.SupCon", "Matryoshka of ref.Sum",
		"Key", "Negatives", "Hard", "HardCounts", "Queue", "QueueLabels", "Positives", "PositiveWeights", "Exclude", "Labels", "KeyLabels",
		"NegativeLabels", "Weights", "KeyLogQ", "NegativeLogQ", "guide", "guide of negatives", "more or fewer keys",
		"Symmetric", "InBatch", "Dot", "Margin", "Hardness", "Form 0", "Form 1", "Form 2", "Filter 0", "Filter 1", "Filter 2",
		"Form 0 of CLIP", "Form 1 of CLIP", "Form 2 of CLIP", "Filter 1 of CLIP", "Filter 2 of CLIP",
	} {
		if n := compared[f]; n < max(1, draws/200) {
			t.Errorf("only %d batches of %d with %s", n, draws, f)
		}
	}
}

// features names the types of a loss and its parts, and what these and the batch have.
func features(c draw.Case) []string {
	b := &c.Batch
	has := map[string]bool{
		"Key": b.Key != nil, "Negatives": b.Negatives != nil, "Hard": b.Hard != nil, "HardCounts": b.HardCounts != nil,
		"Queue": b.Queue != nil, "QueueLabels": b.QueueLabels != nil, "Positives": b.Positives != nil, "PositiveWeights": b.PositiveWeights != nil,
		"Exclude": b.Exclude != nil, "Labels": b.Labels != nil, "KeyLabels": b.KeyLabels != nil, "NegativeLabels": b.NegativeLabels != nil,
		"Weights": b.Weights != nil, "KeyLogQ": b.KeyLogQ != nil, "NegativeLogQ": b.NegativeLogQ != nil,
		"guide": b.GuideKey != nil, "guide of negatives": b.GuideNegatives != nil,
		"more or fewer keys":      b.Key != nil && len(b.Key) != len(b.Query),
		fmt.Sprintf("%T", c.Loss): true,
	}
	if l, ok := c.Loss.(ref.Matryoshka); ok {
		has[fmt.Sprintf("Matryoshka of %T", l.Loss)] = true
	}
	for _, l := range ref.Parts(c.Loss) {
		has[fmt.Sprintf("%T", l)] = true
		switch l := l.(type) {
		case ref.InfoNCE:
			has["Symmetric"], has["InBatch"], has["Dot"] = l.Symmetric, l.InBatch, l.Dot
			has["Margin"], has["Hardness"] = l.Margin > 0, l.Hardness > 0
			has[fmt.Sprint("Form ", l.Form)], has[fmt.Sprint("Filter ", l.Filter)] = true, true
		case ref.CLIP:
			has[fmt.Sprint("Form ", l.Form, " of CLIP")], has[fmt.Sprint("Filter ", l.Filter, " of CLIP")] = true, true
		}
	}
	var names []string
	for name, ok := range has {
		if ok {
			names = append(names, name)
		}
	}
	return names
}

// checkMass checks that the mass of a row bounds its gradient.
func checkMass(t *testing.T, name string, x, grad [][]float64, mass []float64, raw bool) {
	t.Helper()
	for i, g := range grad {
		bound := mass[i]
		if !raw {
			bound /= norm(x[i])
		}
		if size := norm(g); size > bound*(1+1e-12) {
			t.Errorf("%s row %d: a gradient of %v and a mass of %v", name, i, size, mass[i])
		}
	}
}

// checkMean checks that a loss is the weighted mean of its Losses, over the anchors.
func checkMean(t *testing.T, c draw.Case, r ref.Result) {
	t.Helper()
	loss := c.Loss
	if l, ok := loss.(ref.Matryoshka); ok {
		loss = l.Loss
	}
	if _, ok := loss.(ref.Sum); ok {
		return
	}
	mean, mass, total := 0.0, 0.0, 0.0
	for i, l := range r.Losses {
		w := 1.0
		if c.Batch.Weights != nil {
			w = c.Batch.Weights[i]
		}
		if c.Batch.Positives != nil && len(c.Batch.Positives[i]) == 0 && !has[ref.SigLIP](c.Loss) {
			within(t, fmt.Sprintf("loss of query %d, which is no anchor", i), l, 0, 0)
			continue
		}
		mean += w * l
		mass += w * r.LossesMass[i]
		total += w
	}
	within(t, "mass, and its mean over queries", r.Mass, mass/total, 1e-13*r.Mass)
	within(t, "loss, and its mean over queries", r.Loss, mean/total, 1e-13*(1+r.Mass*ref.LeastTemperature(c.Loss)+math.Abs(r.Loss)))
}

// scaleOf returns what a row may move by, times h, without moving similarities by more:
// the least norm of what is normalised of it, or 1 over that of others. It is 0 for
// rows without a gradient.
func scaleOf(c draw.Case, row []float64) float64 {
	n, dims := math.Inf(1), []int{len(row)}
	if l, ok := c.Loss.(ref.Matryoshka); ok {
		dims = l.Dims
	}
	for _, l := range ref.Parts(c.Loss) {
		if dots(l) {
			n = min(n, 1/max(1, greatest(c.Batch.Query), greatest(c.Batch.Key), greatest(c.Batch.Negatives), greatest(c.Batch.Hard)))
			continue
		}
		for _, d := range dims {
			n = min(n, norm(row[:d]))
		}
	}
	return n
}

// moved returns l with other temperatures and biases.
func moved(l ref.Loss, tau, bias float64) ref.Loss {
	switch l := l.(type) {
	case ref.InfoNCE:
		l.Temperature += tau
		return l
	case ref.CLIP:
		l.Temperature += tau
		return l
	case ref.SigLIP:
		l.Temperature += tau
		l.Bias += bias
		return l
	case ref.NTXent:
		l.Temperature += tau
		return l
	case ref.DCL:
		l.Temperature += tau
		return l
	case ref.HardNegative:
		l.Temperature += tau
		return l
	case ref.SupCon:
		l.Temperature += tau
		return l
	case ref.Matryoshka:
		l.Loss = moved(l.Loss, tau, bias)
		return l
	case ref.Sum:
		l.Losses = slices.Clone(l.Losses)
		for k, part := range l.Losses {
			l.Losses[k] = moved(part, tau, bias)
		}
		return l
	}
	panic(fmt.Sprintf("a loss of type %T", l))
}

func dots(l ref.Loss) bool {
	for _, part := range ref.Parts(l) {
		if l, ok := part.(ref.InfoNCE); ok && l.Dot {
			return true
		}
	}
	return false
}

func symmetric(l ref.Loss) bool {
	for _, part := range ref.Parts(l) {
		if l, ok := part.(ref.InfoNCE); ok && l.Symmetric {
			return true
		}
	}
	return false
}

func has[L ref.Loss](l ref.Loss) bool {
	for _, part := range ref.Parts(l) {
		if _, ok := part.(L); ok {
			return true
		}
	}
	return false
}

// TestCLIPSees checks that CLIP, as in a sum, does not see what InfoNCE alone takes.
func TestCLIPSees(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	plain := ref.Batch{Query: normal(r, 4, 3), Key: normal(r, 4, 3), Weights: []float64{1, 2, 0, 3}}
	all := plain
	all.Negatives, all.Hard, all.HardCounts = normal(r, 5, 3), normal(r, 2, 3), []int{1, 0, 0, 1}
	all.Queue, all.KeyLogQ, all.NegativeLogQ = unit(normal(r, 3, 3)), []float64{-1, -2, -3, -4}, make([]float64, 5)
	loss := ref.CLIP{Temperature: 0.5}
	got, want := loss.Eval(all), loss.Eval(plain)
	if got.Loss != want.Loss || got.NegativeCosine != want.NegativeCosine || got.Negatives != nil || got.Hard != nil {
		t.Errorf("%+v, want %+v", got, want)
	}
}
