package contrastive_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/race"
	"github.com/contrastive-go/contrastive/internal/ref"
)

// A plain evaluation is the usual method in float32: normalise the rows, hold
// the matrix of logits, take log-softmax with the maximum subtracted, multiply
// its gradient with the rows, and go back through the normalisation.
type plain struct {
	x    contrastive.Matrix
	unit [][]float32
	norm []float32
	grad [][]float32
}

func newPlain(x contrastive.Matrix) *plain {
	p := &plain{x: x}
	for i := range x.Rows {
		sum := float32(0)
		for _, v := range x.Row(i) {
			sum += float32(v * v)
		}
		norm := float32(math.Sqrt(float64(sum)))
		unit := make([]float32, x.Cols)
		for d, v := range x.Row(i) {
			unit[d] = v / norm
		}
		p.unit, p.norm = append(p.unit, unit), append(p.norm, norm)
		p.grad = append(p.grad, make([]float32, x.Cols))
	}
	return p
}

// join makes one list of two; the gradients are shared.
func join(a, b *plain) *plain {
	return &plain{
		unit: append(append([][]float32(nil), a.unit...), b.unit...),
		norm: append(append([]float32(nil), a.norm...), b.norm...),
		grad: append(append([][]float32(nil), a.grad...), b.grad...),
	}
}

// crossEntropy adds weight times the sum over rows i of the mean over positives j
// of −log softmax at j, over the columns that are not excluded.
func crossEntropy(rows, cols *plain, tau, weight float32, positive, exclude func(i, j int) bool) float32 {
	loss := float32(0)
	logits := make([]float32, len(cols.unit))
	for i, x := range rows.unit {
		top := float32(math.Inf(-1))
		for j, y := range cols.unit {
			if exclude(i, j) {
				continue
			}
			sum := float32(0)
			for d, v := range x {
				sum += float32(v * y[d])
			}
			logits[j] = sum / tau
			top = max(top, logits[j])
		}
		sum, positives := float32(0), float32(0)
		for j, y := range logits {
			if !exclude(i, j) {
				sum += float32(math.Exp(float64(y - top)))
				if positive(i, j) {
					positives++
				}
			}
		}
		lse := top + float32(math.Log(float64(sum)))
		for j, y := range logits {
			if exclude(i, j) {
				continue
			}
			g := float32(math.Exp(float64(y - lse)))
			if positive(i, j) {
				g -= 1 / positives
				loss += weight * (lse - y) / positives
			}
			w := weight * g / tau
			for d, v := range cols.unit[j] {
				rows.grad[i][d] += float32(w * v)
				cols.grad[j][d] += float32(w * x[d])
			}
		}
	}
	return loss
}

// back returns the gradients with respect to the raw rows.
func (p *plain) back() contrastive.Matrix {
	m := contrastive.NewMatrix(p.x.Rows, p.x.Cols)
	for i, g := range p.grad {
		along := float32(0)
		for d, v := range p.unit[i] {
			along += float32(v * g[d])
		}
		for d, v := range p.unit[i] {
			m.Row(i)[d] = (g[d] - float32(along*v)) / p.norm[i]
		}
	}
	return m
}

// plainLosses are the losses with a softmax.
var plainLosses = map[string]func(q, k *plain, labels []int, tau float32) float32{
	"InfoNCE": func(q, k *plain, _ []int, tau float32) float32 {
		return crossEntropy(q, k, tau, 1/float32(len(q.unit)), same, never)
	},
	"CLIP": func(q, k *plain, _ []int, tau float32) float32 {
		w := 0.5 / float32(len(q.unit))
		return crossEntropy(q, k, tau, w, same, never) + crossEntropy(k, q, tau, w, same, never)
	},
	"NTXent": func(q, k *plain, _ []int, tau float32) float32 {
		n := len(q.unit)
		z := join(q, k)
		return crossEntropy(z, z, tau, 0.5/float32(n), func(i, j int) bool { return i != j && i%n == j%n }, same)
	},
	"SupCon": func(q, k *plain, labels []int, tau float32) float32 {
		n := len(q.unit)
		z := join(q, k)
		return crossEntropy(z, z, tau, tau/0.25*0.5/float32(n),
			func(i, j int) bool { return i != j && labels[i%n] == labels[j%n] }, same)
	},
}

func same(i, j int) bool  { return i == j }
func never(_, _ int) bool { return false }

// TestNoWorseThanPlain compares the errors of the losses with a softmax to those
// of the plain method, both against the oracle: root mean squares over batches,
// of the loss relative to itself and of the gradients relative to their 2-norm.
//
// The number of batches makes the root mean squares of both comparable; the
// documentation grants ours the error of the exponential on top, which is not
// needed.
func TestNoWorseThanPlain(t *testing.T) {
	if race.Enabled {
		t.Skip("slow, and no more concurrent than others")
	}
	type batch struct {
		b    contrastive.Batch
		tau  float32
		want ref.Result
	}
	for name, f := range plainLosses {
		r := rand.New(rand.NewPCG(7, 8))
		v := variantNamed(name)
		var batches []batch
		var plainError relativeErrors
		for k := range 24 {
			n, d := [...]int{16, 33, 64, 96}[k%4], [...]int{8, 32, 64, 128, 200}[k%5]
			tau := [...]float32{0.05, 0.1, 0.5}[k%3]
			b := contrastive.Batch{Query: losstest.Normal(r, n, d), Key: losstest.Normal(r, n, d)}
			for i := range n {
				b.Labels = append(b.Labels, i/2)
			}
			if name != "SupCon" {
				b.Labels = nil
			}
			want := v.Ref(float64(tau), 0).Eval(losstest.Reference(b))
			batches = append(batches, batch{b, tau, want})

			q, key := newPlain(b.Query), newPlain(b.Key)
			loss := f(q, key, b.Labels, tau)
			plainError.add(float64(loss), q.back(), key.back(), want)
		}
		isatest.Each(t, func(t *testing.T) {
			var ours relativeErrors
			for _, c := range batches {
				g := losstest.Destinations(c.b)
				got := losstest.Eval(t, name, v.Make(c.tau, 0, options{}), c.b, g)
				ours.add(got.Loss, g.Query, g.Key, c.want)
			}
			if limit := plainError.rms(plainError.grad); !(ours.rms(ours.grad) <= limit) {
				t.Errorf("%s: gradients are off by %.3g, want at most %.3g", name, ours.rms(ours.grad), limit)
			}
			if limit := plainError.rms(plainError.loss); !(ours.rms(ours.loss) <= limit) {
				t.Errorf("%s: losses are off by %.3g, want at most %.3g", name, ours.rms(ours.loss), limit)
			}
		})
	}
}

// relativeErrors sums squares of relative errors.
type relativeErrors struct {
	loss, grad float64
	n          int
}

func (e *relativeErrors) add(loss float64, dq, dk contrastive.Matrix, want ref.Result) {
	e.loss += square((loss - want.Loss) / want.Loss)
	var diff, size float64
	for _, m := range [...]struct {
		got  contrastive.Matrix
		want [][]float64
	}{{dq, want.Query}, {dk, want.Key}} {
		for i, row := range m.want {
			for d, w := range row {
				diff += square(float64(m.got.Row(i)[d]) - w)
				size += square(w)
			}
		}
	}
	e.grad += diff / size
	e.n++
}

func (e *relativeErrors) rms(sum float64) float64 { return math.Sqrt(sum / float64(e.n)) }

func square(x float64) float64 { return x * x }
