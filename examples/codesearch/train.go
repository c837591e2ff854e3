package main

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
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
	encoder    *Encoder
	examples   []Example
	random     *rand.Rand
	order      []int // of examples, in this epoch
	step       int
	parameters *parameters
	optimizers [3]nn.Adagrad // of E, of a and g, and of the temperature

	texts  [][]Feature // comments, then code
	groups []int
	dx     contrastive.Matrix
}

// NewTrainer returns an error if there are fewer examples than make a batch.
func NewTrainer(e *Encoder, examples []Example, t Training) (*Trainer, error) {
	if t.Batch < 2 || t.Batch > len(examples) {
		return nil, fmt.Errorf("a batch of %d cannot be drawn from %d pairs", t.Batch, len(examples))
	}
	tr := &Trainer{
		Training:   t,
		encoder:    e,
		examples:   examples,
		random:     rand.New(rand.NewPCG(t.Seed, 77)),
		order:      make([]int, len(examples)),
		parameters: newParameters(e),
		texts:      make([][]Feature, 2*t.Batch),
		groups:     make([]int, t.Batch),
		dx:         contrastive.NewMatrix(2*t.Batch, e.Dim),
	}
	p := tr.parameters
	tr.optimizers = [3]nn.Adagrad{
		{Params: nn.Params(p.table), RowWise: true}, // words differ in frequency far more than dimensions do
		{Params: []*nn.Param{p.weight, p.gain}},
		{Params: nn.Params(p.temperature)},
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
	result, err := t.evaluate(contrastive.CLIP{Temperature: t.parameters.temperature.Value()})
	if err != nil {
		return result, err
	}
	t.parameters.backward(t.dx)
	t.parameters.temperature.Backward(result)
	decay := 1 - 0.9*float64(t.step)/float64(t.Total())
	for i, rate := range [...]float64{t.rowRate(), t.WeightRate, t.ScaleRate} {
		if err := t.optimizers[i].Step(rate * decay); err != nil {
			return result, err
		}
	}
	t.encoder.LogScale = float64(t.parameters.temperature.Param.Value[0])
	t.step++
	return result, nil
}

// rowRate is Rate, which is a step length of rows, for an optimiser whose steps are of
// their elements.
func (t *Trainer) rowRate() float64 { return t.Rate / math.Sqrt(float64(t.encoder.Dim)) }

// evaluate encodes the batch and evaluates its loss and gradients.
func (t *Trainer) evaluate(loss contrastive.Loss) (contrastive.Result, error) {
	x, err := t.parameters.encode(t.texts)
	if err != nil {
		return contrastive.Result{}, err
	}
	if t.Ranks != nil {
		return t.evaluateTogether(loss, x)
	}
	n := t.Batch
	return loss.Eval(
		contrastive.Batch{Query: x.Slice(0, n), Key: x.Slice(n, 2*n), Labels: t.groups},
		contrastive.Gradients{Query: t.dx.Slice(0, n), Key: t.dx.Slice(n, 2*n)})
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
		t.texts[i], t.texts[t.Batch+i], t.groups[i] = x.Summary[task], x.Code[task], x.Group
		if t.random.IntN(2) == 0 {
			t.texts[i] = x.Comment[task]
		}
	}
}
