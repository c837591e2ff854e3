package main

import (
	"math"
	"math/rand/v2"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
)

// Supervised trains the encoder with a linear classifier and the cross-entropy of
// the classes: what labels give, on the same views and in the same time. Its
// representation is evaluated as those of the other methods are.
type Supervised struct {
	f, classifier nn.Sequential
	optimizer     nn.Optimizer
}

var supervised = recipe{
	title:    "supervised",
	accuracy: true,
	defaults: func(*Settings) {},
	make: func(s *Settings, inputs, classes int, rng *rand.Rand) (Method, error) {
		m := &Supervised{f: newEncoder(s, inputs, rng)}
		m.classifier = nn.Sequential{nn.NewLinear(s.Features, classes, true, rng)}
		m.optimizer = &nn.AdamW{Params: nn.Params(m.f, m.classifier), WeightDecay: s.Decay}
		return m, nil
	},
}

// Step implements Method.
func (m *Supervised) Step(b *Batch) (Stats, error) {
	h := m.f.Forward(b.Views(), true)
	logits := m.classifier.Forward(h, true)
	dlogits := contrastive.NewMatrix(logits.Rows, logits.Cols)
	loss, accuracy := crossEntropy(logits, append(b.Labels, b.Labels...), dlogits)
	m.f.Backward(m.classifier.Backward(dlogits, true), false)
	if err := m.optimizer.Step(b.Rate); err != nil {
		return Stats{}, err
	}
	z1, z2 := halves(logits)
	return Stats{Result: contrastive.Result{Loss: loss, Accuracy: accuracy}, Z1: z1, Z2: z2}, nil
}

// crossEntropy returns the mean of −log softmax(logits)[label] over rows, and the
// share of rows whose label is the greatest logit. It writes the gradient.
func crossEntropy(logits contrastive.Matrix, labels []int, gradient contrastive.Matrix) (loss, accuracy float64) {
	n := float64(logits.Rows)
	for i, label := range labels {
		row, grad := logits.Row(i), gradient.Row(i)
		best := 0
		for j, v := range row {
			if v > row[best] {
				best = j
			}
		}
		var sum float64
		for _, v := range row {
			sum += math.Exp(float64(v - row[best]))
		}
		for j, v := range row {
			grad[j] = float32(math.Exp(float64(v-row[best])) / sum / n)
		}
		grad[label] -= float32(1 / n)
		loss += (math.Log(sum) - float64(row[label]-row[best])) / n
		if best == label {
			accuracy += 1 / n
		}
	}
	return loss, accuracy
}

// Represent implements Method.
func (m *Supervised) Represent(x contrastive.Matrix) contrastive.Matrix { return m.f.Forward(x, false) }

// State implements Method.
func (m *Supervised) State() [][]float32 {
	return state(m.optimizer, m.f, m.classifier)
}

// Random is an encoder as it was born. Methods are to beat it.
type Random struct{ f nn.Sequential }

var untrained = recipe{
	title:    "random encoder",
	defaults: func(s *Settings) { s.Steps = 0 },
	make: func(s *Settings, inputs, _ int, rng *rand.Rand) (Method, error) {
		return &Random{newEncoder(s, inputs, rng)}, nil
	},
}

// Step implements Method. It learns nothing.
func (m *Random) Step(b *Batch) (Stats, error) {
	z1, z2 := halves(m.f.Forward(b.Views(), true))
	return Stats{Z1: z1, Z2: z2}, nil
}

// Represent implements Method.
func (m *Random) Represent(x contrastive.Matrix) contrastive.Matrix { return m.f.Forward(x, false) }

// State implements Method.
func (m *Random) State() [][]float32 { return state(nil, m.f) }
