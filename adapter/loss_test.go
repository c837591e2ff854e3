package adapter

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
)

// infoNCE is the loss of a batch in float64, by its definition: w are the weights of the
// queries, hard the hard negatives of each.
func infoNCE(tau float64, q, k [][]float64, hard [][][]float64, w []float64) float64 {
	dot := func(x, y []float64) (s float64) {
		for i, v := range x {
			s += v * y[i]
		}
		return s / tau
	}
	loss, total := 0.0, 0.0
	for i := range q {
		sum := 0.0
		for _, key := range k {
			sum += math.Exp(dot(q[i], key))
		}
		for _, key := range hard[i] {
			sum += math.Exp(dot(q[i], key))
		}
		loss += w[i] * (math.Log(sum) - dot(q[i], k[i]))
		total += w[i]
	}
	return loss / total
}

// TestGradients compares the gradients of a step with differences of the loss of the
// definition.
func TestGradients(t *testing.T) {
	forms(t, func(t *testing.T, c Config) {
		const tau = 0.5
		d := general(3, 30, 50, 6)
		c = generalConfig(c)
		c.Loss, c.FixedTemperature, c.HardNegatives = contrastive.InfoNCE{InBatch: true, Temperature: tau}, true, 0
		tr, err := newTrainer(d, c.withDefaults(6))
		if err != nil {
			t.Fatal(err)
		}
		randomize(tr.model, 4)
		tr.sampler.begin(0)
		r, err := tr.backward()
		if err != nil {
			t.Fatal(err)
		}
		if len(tr.hard) == 0 {
			t.Fatal("no hard negatives")
		}
		query, document := parameters(tr.model, "query"), parameters(tr.model, "document")
		if c.Sides == Shared {
			document = query
		}
		loss := func() float64 {
			var q, k [][]float64
			var hard [][][]float64
			var w []float64
			mapDocument := func(j int) []float64 {
				if c.Sides == Queries {
					y, _ := mapped(Linear, map[string][]float64{"weight": make([]float64, 36)}, d.Documents.Row(j))
					return y
				}
				y, _ := mapped(c.Kind, document, d.Documents.Row(j))
				return y
			}
			for _, p := range tr.batch {
				y, _ := mapped(c.Kind, query, d.Queries.Row(p.query))
				q, k, w = append(q, y), append(k, mapDocument(p.document)), append(w, float64(d.Weights[p.query]))
				var h [][]float64
				for _, j := range d.Hard[p.query] {
					h = append(h, mapDocument(j))
				}
				hard = append(hard, h)
			}
			return infoNCE(tau, q, k, hard, w)
		}
		if want := loss(); math.Abs(r.Loss-want) > 1e-5*want {
			t.Errorf("loss %v, want %v", r.Loss, want)
		}
		i := 0
		for _, module := range tr.model.modules() {
			for _, p := range module.Params() {
				tensor := tr.model.tensors()[i]
				side, inner, _ := strings.Cut(tensor.Name, ".")
				values := query[inner]
				if side == "document" {
					values = document[inner]
				}
				i++
				greatest := 0.0
				want := make([]float64, len(values))
				for k, v := range values {
					// The third derivative, below 10³, times h²/6, is below 2·10⁻⁸.
					const h = 1e-5
					values[k] = v + h
					up := loss()
					values[k] = v - h
					want[k] = (up - loss()) / (2 * h)
					values[k] = v
					greatest = max(greatest, math.Abs(want[k]))
				}
				if greatest < 1e-3 {
					t.Errorf("%s has no gradient", tensor.Name)
				}
				for k, g := range p.Grad {
					// Some twenty sums of at most 50 terms in float32, each within 50·u of
					// what it adds up, which is at most 10 times the greatest derivative.
					if math.Abs(float64(g)-want[k]) > 20*50*unit*10*greatest {
						t.Errorf("%s[%d] is %v, want %v", tensor.Name, k, g, want[k])
					}
				}
			}
		}
	})
}

// TestLearnedScalars holds that a temperature and a bias get the gradients of the loss.
func TestLearnedScalars(t *testing.T) {
	const tau = 0.2
	tr, err := newTrainer(rotated(5, 12, 4).withKeys(), Config{Loss: contrastive.SigLIP{Temperature: tau, Bias: -2}, ValidationShare: -1}.withDefaults(4))
	if err != nil {
		t.Fatal(err)
	}
	tr.sampler.begin(0)
	r, err := tr.backward()
	if err != nil {
		t.Fatal(err)
	}
	if got := tr.bias.Param.Grad[0]; r.BiasGrad == 0 || got != float32(r.BiasGrad) {
		t.Errorf("gradient of the bias %v, want %v", got, r.BiasGrad)
	}
	// ∂L/∂log(1/τ) is −τ·∂L/∂τ; log(1/τ), of magnitude below 2, is rounded to float32.
	got, want := float64(tr.temperature.Param.Grad[0]), -tau*r.TemperatureGrad
	if want == 0 || math.Abs(got-want) > 4*unit*math.Abs(want) {
		t.Errorf("gradient of the temperature %v, want %v", got, want)
	}
}

// TestDefaultTemperatures holds that the defaults here are those of the losses.
func TestDefaultTemperatures(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	b := contrastive.Batch{Query: normal(rng, 5, 4), Key: normal(rng, 5, 4)}
	for _, l := range []contrastive.Loss{
		contrastive.CLIP{}, contrastive.InfoNCE{}, contrastive.InfoNCE{Similarity: contrastive.Dot}, contrastive.SigLIP{Bias: -1},
		contrastive.NTXent{}, contrastive.DCL{}, contrastive.HardNegative{Beta: 1},
	} {
		trained := newTrainedLoss(l, 1)
		got, err := trained.loss.Eval(b, contrastive.Gradients{})
		if err != nil {
			t.Fatal(err)
		}
		want, err := l.Eval(b, contrastive.Gradients{})
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%T: %+v, want %+v", l, got, want)
		}
		if tau, ok := same(trained.temperatures); !ok || tau == 0 {
			t.Errorf("%T: no temperature", l)
		}
		setAll(trained.temperatures, 0.3)
		if again, err := trained.loss.Eval(b, contrastive.Gradients{}); err != nil || again.Loss == want.Loss {
			t.Errorf("%T: the temperature does not change the loss: %v", l, err)
		}
		pointer := reflect.New(reflect.TypeOf(l))
		pointer.Elem().Set(reflect.ValueOf(l))
		trained = newTrainedLoss(pointer.Interface().(contrastive.Loss), 1)
		setAll(trained.temperatures, 0.3)
		if !reflect.DeepEqual(pointer.Elem().Interface(), l) {
			t.Errorf("%T: the loss behind a pointer has been changed", l)
		}
		if len(trained.temperatures) != 1 {
			t.Errorf("%T: behind a pointer it has no temperature", l)
		}
	}
}

// TestLosses trains with losses that consist of others, or learn no temperature.
func TestLosses(t *testing.T) {
	d := rotated(2, 80, 8)
	d.Hard = make([][]int, 80)
	for i := range d.Hard {
		d.Hard[i] = []int{(i + 1) % 80, (i + 7) % 80}
	}
	withoutHard := d
	withoutHard.Hard = nil
	triplet := contrastive.Triplet{Margin: 0.2, Distance: contrastive.CosineDistance}
	tripletName := "contrastive.Triplet{Margin: 0.2, Distance: CosineDistance}"
	for _, c := range []struct {
		loss  contrastive.Loss
		data  Data
		fixed bool
		tau   float64 // at the first step, 0 for none
		moves bool
		name  string
	}{
		{contrastive.Matryoshka{Loss: contrastive.CLIP{Temperature: 0.2}, Dims: []int{4, 8}}, withoutHard, false, 0.2, true, "contrastive.Matryoshka{Loss: contrastive.CLIP{Temperature: 0.2}, Dims: [4, 8]}"},
		{&contrastive.Matryoshka{Loss: &contrastive.CLIP{}, Dims: []int{4, 8}}, withoutHard, false, 0.07, true, "contrastive.Matryoshka{Loss: contrastive.CLIP{Temperature: 0.07}, Dims: [4, 8]}"},
		{contrastive.Sum{Losses: []contrastive.Loss{contrastive.InfoNCE{InBatch: true}, triplet}}, d, false, 0.07, true, "contrastive.Sum{Losses: [contrastive.InfoNCE{Temperature: 0.07, InBatch: true}, " + tripletName + "]}"},
		{contrastive.Sum{Losses: []contrastive.Loss{contrastive.CLIP{Temperature: 0.1}, contrastive.NTXent{}}}, withoutHard, false, 0, false, "contrastive.Sum{Losses: [contrastive.CLIP{Temperature: 0.1}, contrastive.NTXent{Temperature: 0.5}]}"},
		{contrastive.SigLIP{Bias: -3, Options: contrastive.Options{Precision: contrastive.High, Workers: 2, KeepBytes: 1}}, withoutHard, false, 0.1, true, "contrastive.SigLIP{Temperature: 0.1, Bias: -3, Precision: High}"},
		{contrastive.CLIP{Temperature: 0.05}, withoutHard, true, 0.05, false, "contrastive.CLIP{Temperature: 0.05}"},
		{triplet, d, false, 0, false, tripletName},
		{ownLoss{func() {}}, withoutHard, false, 0, false, "adapter.ownLoss"},
	} {
		var first, last Progress
		a, err := Fit(t.Context(), c.data, Config{Loss: c.loss, FixedTemperature: c.fixed, Epochs: 30, BatchSize: 36, LearningRate: 0.02, Patience: -1, ValidationShare: -1, Seed: 1,
			Progress: func(p Progress) {
				if p.Step == 1 {
					first = p
				}
				last = p
			}})
		if err != nil {
			t.Errorf("%T: %v", c.loss, err)
			continue
		}
		if math.Abs(first.Temperature-c.tau) > 1e-6 || (last.Temperature != first.Temperature) != c.moves {
			t.Errorf("%T: temperature %v → %v", c.loss, first.Temperature, last.Temperature)
		}
		if !(last.Loss < first.Loss) {
			t.Errorf("%T: loss %v → %v", c.loss, first.Loss, last.Loss)
		}
		if a.Training.Loss != c.name {
			t.Errorf("%T is described as %s", c.loss, a.Training.Loss)
		}
		if before, after := ndcgAt10(t, newAdapter(Linear, Queries, 8, 0, 0), c.data), ndcgAt10(t, a, c.data); after < before+0.05 {
			t.Errorf("%T: NDCG %v → %v", c.loss, before, after)
		}
	}
}

// ownLoss is a loss that no program can write down.
type ownLoss struct{ called func() }

func (l ownLoss) Eval(b contrastive.Batch, g contrastive.Gradients) (contrastive.Result, error) {
	l.called()
	return contrastive.CLIP{Temperature: 0.1}.Eval(b, g)
}

// TestFailingLoss returns the best adapter so far.
func TestFailingLoss(t *testing.T) {
	broken := errors.New("broken")
	steps := 0
	a, err := Fit(t.Context(), rotated(2, 80, 8), Config{BatchSize: 36, Loss: failingLoss{func() error {
		if steps++; steps > 5 {
			return broken
		}
		return nil
	}}})
	if a == nil || !errors.Is(err, broken) || err.Error() != "adapter: Fit: step 2 of epoch 3: broken" {
		t.Errorf("%v, %v", a, err)
	}
}

type failingLoss struct{ fail func() error }

func (l failingLoss) Eval(b contrastive.Batch, g contrastive.Gradients) (contrastive.Result, error) {
	if err := l.fail(); err != nil {
		return contrastive.Result{}, err
	}
	return contrastive.CLIP{}.Eval(b, g)
}
