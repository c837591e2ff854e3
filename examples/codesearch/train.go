package main

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/simd"
)

// Training says how to train. The rates are step lengths of Adagrad, which fall
// linearly to a tenth.
type Training struct {
	Epochs, Batch int
	Steps         int // if positive, stop after so many
	Rate          float64
	WeightRate    float64 // of a and g
	ScaleRate     float64 // of log 1/τ
	Seed          uint64

	// Ranks that share the batches, each with the same examples; nil for one
	// process.
	Ranks contrastive.Collective
}

// schedule is the order of the tasks of batches. All pairs of a batch are of one
// task, as in the pools where the model is measured. The plainest query, the one
// that users type, has half of the batches.
var schedule = [...]Task{CutIdentifier, CutQuery, CutIdentifier, CutBoth}

// A Trainer trains an encoder with the contrastive loss of CLIP (Radford et al.,
// 2021): in a batch of pairs, the comment of every function against those of all
// others, and every function against the other functions.
type Trainer struct {
	Training
	encoder  *Encoder
	examples []Example
	random   *rand.Rand
	order    []int // of examples, in this epoch
	step     int
	adagrad  adagrad

	query, key, dQuery, dKey contrastive.Matrix
	comments, code           [][]Feature
	groups                   []int
	occurrences              []occurrence
}

// NewTrainer returns an error if there are fewer examples than make a batch.
func NewTrainer(e *Encoder, examples []Example, t Training) (*Trainer, error) {
	if t.Batch < 2 || t.Batch > len(examples) {
		return nil, fmt.Errorf("a batch of %d cannot be drawn from %d pairs", t.Batch, len(examples))
	}
	tr := &Trainer{
		Training: t,
		encoder:  e,
		examples: examples,
		random:   rand.New(rand.NewPCG(t.Seed, 77)),
		order:    make([]int, len(examples)),
		adagrad:  adagrad{rows: make([]float64, e.Buckets), weights: make([]float64, e.Buckets)},
		query:    contrastive.NewMatrix(t.Batch, e.Dim),
		key:      contrastive.NewMatrix(t.Batch, e.Dim),
		dQuery:   contrastive.NewMatrix(t.Batch, e.Dim),
		dKey:     contrastive.NewMatrix(t.Batch, e.Dim),
		comments: make([][]Feature, t.Batch),
		code:     make([][]Feature, t.Batch),
		groups:   make([]int, t.Batch),
	}
	for i := range tr.order {
		tr.order[i] = i
	}
	return tr, nil
}

// Total returns the number of steps of the whole training.
func (t *Trainer) Total() int {
	n := t.Epochs * (len(t.examples) / t.Batch)
	if t.Steps > 0 {
		n = min(n, t.Steps)
	}
	return n
}

// Done reports whether all steps have been made.
func (t *Trainer) Done() bool { return t.step >= t.Total() }

// Step trains on one batch.
func (t *Trainer) Step() (contrastive.Result, error) {
	t.draw()
	e := t.encoder
	tau := e.Temperature()
	result, err := t.evaluate(contrastive.CLIP{Temperature: float32(tau)})
	if err != nil {
		return result, err
	}

	decay := 1 - 0.9*float64(t.step)/float64(t.Total())
	t.update(decay)
	dLogScale := -tau * result.TemperatureGrad
	e.LogScale = min(e.LogScale-t.ScaleRate*decay*t.adagrad.scale(dLogScale), maxLogScale)
	t.step++
	return result, nil
}

// evaluate encodes the batch and evaluates its loss and gradients.
func (t *Trainer) evaluate(loss contrastive.Loss) (contrastive.Result, error) {
	if t.Ranks != nil {
		return t.evaluateTogether(loss)
	}
	t.encoder.Encode(t.query, t.comments)
	t.encoder.Encode(t.key, t.code)
	return loss.Eval(
		contrastive.Batch{Query: t.query, Key: t.key, Labels: t.groups},
		contrastive.Gradients{Query: t.dQuery, Key: t.dKey})
}

// draw chooses the next batch. A query is the first sentence of a comment or the
// whole of it, at random.
func (t *Trainer) draw() {
	perEpoch := len(t.examples) / t.Batch
	if t.step%perEpoch == 0 {
		t.random.Shuffle(len(t.order), func(i, j int) { t.order[i], t.order[j] = t.order[j], t.order[i] })
	}
	task := schedule[t.step%len(schedule)]
	batch := t.order[t.step%perEpoch*t.Batch:][:t.Batch]
	for i, k := range batch {
		x := &t.examples[k]
		t.comments[i], t.code[i], t.groups[i] = x.Summary[task], x.Code[task], x.Group
		if t.random.IntN(2) == 0 {
			t.comments[i] = x.Comment[task]
		}
	}
}

// update takes a step along the gradients of the queries and keys.
func (t *Trainer) update(decay float64) {
	e, g := t.encoder, &t.adagrad
	t.occurrences = t.occurrences[:0]
	collect := func(texts [][]Feature, dx contrastive.Matrix) {
		for i, text := range texts {
			for _, f := range text {
				t.occurrences = append(t.occurrences, occurrence{f, dx.Row(i)})
			}
		}
	}
	collect(t.comments, t.dQuery)
	collect(t.code, t.dKey)
	dGain := e.Backward(t.occurrences, func(row int, dE []float32, da float64) {
		simd.Axpy(-float32(t.Rate*decay*g.row(row, dE)), dE, e.Embedding.Row(row))
		e.Weight[row] -= float32(t.WeightRate * decay * g.weight(row, da))
	})
	for c, d := range dGain {
		e.Gain[c] -= float32(t.WeightRate * decay * g.gain(c, d))
	}
}

// An adagrad holds sums of squared gradients: Duchi, Hazan and Singer (2011),
// with one sum for a whole row of the table, which suffices because words differ
// in frequency far more than dimensions do.
type adagrad struct {
	rows, weights []float64
	gains         [channels]float64
	scales        float64
}

// adapt adds square to sum and returns 1/√sum, or 0.
func adapt(sum *float64, square float64) float64 {
	*sum += square
	if *sum == 0 {
		return 0
	}
	return 1 / math.Sqrt(*sum)
}

// row returns the factor of the gradient of a row. The others return the scaled
// gradient itself.
func (a *adagrad) row(i int, d []float32) float64 {
	n := float64(simd.Norm(d))
	return adapt(&a.rows[i], n*n)
}

func (a *adagrad) weight(i int, d float64) float64 { return d * adapt(&a.weights[i], d*d) }
func (a *adagrad) gain(i int, d float64) float64   { return d * adapt(&a.gains[i], d*d) }
func (a *adagrad) scale(d float64) float64         { return d * adapt(&a.scales, d*d) }
