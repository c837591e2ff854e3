package main

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
)

// A Method is one way to learn a representation without, or with, labels.
type Method interface {
	// Step trains on one batch.
	Step(b *Batch) (Stats, error)

	// Represent returns the representation of the images in the rows of x, which
	// is what is evaluated: h, before the projector, as in the papers. It is valid
	// until the next call of a method.
	Represent(x contrastive.Matrix) contrastive.Matrix

	// State is all that steps change, but for a queue: the slices may be read and
	// written in place.
	State() [][]float32
}

// A Queuer is a Method with a dictionary of keys.
type Queuer interface {
	Queue() *contrastive.Queue
	SetQueue(*contrastive.Queue)
}

// A ZeroShooter is a Method that compares images of two modalities.
type ZeroShooter interface {
	// Embed returns the embeddings of images of the given modality, in memory of
	// their own.
	Embed(modality int, x contrastive.Matrix) contrastive.Matrix
}

// Stats are what one step tells.
type Stats struct {
	contrastive.Result
	Temperature float64 // 0 if the loss has none

	// Z1 and Z2 are the embeddings of the two views, row by row.
	Z1, Z2 contrastive.Matrix
}

// A recipe is how a method is made, and with which settings unless told
// otherwise.
type recipe struct {
	title    string
	defaults func(*Settings)
	make     func(s *Settings, inputs, classes int, rng *rand.Rand) (Method, error)
	cached   bool // it can run through a gradient cache
	accuracy bool // its steps tell one
}

var recipes = map[string]recipe{
	"simclr":     simCLR,
	"dcl":        dcl,
	"hard":       hard,
	"debiased":   debiased,
	"moco":       moco,
	"byol":       byol,
	"simsiam":    simSiam,
	"barlow":     barlow,
	"vicreg":     vicReg,
	"supcon":     supCon,
	"clip":       clip,
	"supervised": supervised,
	"random":     untrained,
}

// methodNames returns the methods in the order of tables.
func methodNames() []string {
	names := []string{"random", "simclr", "dcl", "hard", "debiased", "moco", "byol", "simsiam", "barlow", "vicreg", "clip", "supcon", "supervised"}
	return slices.Clip(names)
}

// defaultSettings returns the settings of a method's recipe.
func defaultSettings(method string) (Settings, error) {
	s := common
	s.Method = method
	r, ok := recipes[method]
	if !ok {
		return s, s.check()
	}
	r.defaults(&s)
	return s, nil
}

// newMethod makes the method of s, with parameters drawn by its seed.
func newMethod(s *Settings, inputs, classes int) (Method, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	m, err := recipes[s.Method].make(s, inputs, classes, rand.New(rand.NewPCG(mix(s.Seed, streamParameters), 0)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Method, err)
	}
	return m, nil
}

// newEncoder returns f: images to representations h. Its last layer is linear, so
// that cosines of representations have a sign, and each of their elements has the
// same variance.
func newEncoder(s *Settings, inputs int, rng *rand.Rand) nn.Sequential {
	f := layer(s, inputs, s.Hidden, rng)
	for range s.Layers - 1 {
		f = append(f, layer(s, s.Hidden, s.Hidden, rng)...)
	}
	f = append(f, nn.NewLinear(s.Hidden, s.Features, true, rng))
	if s.Norm == "batch" {
		f = append(f, nn.NewBatchNorm(s.Features, false))
	}
	return f
}

// newProjector returns g: representations to embeddings z, by one hidden layer or,
// with a Head of 0, by a linear map.
func newProjector(s *Settings, rng *rand.Rand) nn.Sequential {
	if s.Head == 0 {
		return nn.Sequential{nn.NewLinear(s.Features, s.Embedding, true, rng)}
	}
	return append(layer(s, s.Features, s.Head, rng), nn.NewLinear(s.Head, s.Embedding, true, rng))
}

// layer returns one layer with its normalisation and rectifier.
func layer(s *Settings, in, out int, rng *rand.Rand) nn.Sequential {
	if s.Norm == "none" {
		return nn.Sequential{nn.NewLinear(in, out, true, rng), &nn.ReLU{}}
	}
	return nn.Sequential{nn.NewLinear(in, out, false, rng), nn.NewBatchNorm(out, true), &nn.ReLU{}}
}

// halves returns the first and the second half of the rows of m: the two views.
func halves(m contrastive.Matrix) (first, second contrastive.Matrix) {
	n := m.Rows / 2
	return m.Slice(0, n), m.Slice(n, 2*n)
}

// swapped returns a copy of m with its halves exchanged, so that row i is that of
// the other view.
func swapped(m contrastive.Matrix) contrastive.Matrix {
	s := contrastive.NewMatrix(m.Rows, m.Cols)
	a, b := halves(m)
	c, d := halves(s)
	for i := range a.Rows {
		copy(c.Row(i), b.Row(i))
		copy(d.Row(i), a.Row(i))
	}
	return s
}

// A temperature is τ, fixed or learned. Its optimiser is its own because a few hundred
// steps are to move it as far as the papers' hundred thousands: it takes steps ten times
// as long as the weights do. A nil temperature is that of a loss without one.
type temperature struct {
	fixed     float32
	learned   *nn.Temperature // nil if it is fixed
	optimizer *nn.AdamW
}

func newTemperature(s *Settings) *temperature {
	t := &temperature{fixed: float32(s.Temperature)}
	if s.LearnTemperature && t.fixed > 0 { // 0 is the loss's default
		t.learned = nn.NewTemperature(t.fixed)
		t.optimizer = &nn.AdamW{Params: t.learned.Params()}
	}
	return t
}

func (t *temperature) value() float32 {
	switch {
	case t == nil:
		return 0
	case t.learned == nil:
		return t.fixed
	}
	return t.learned.Value()
}

// update takes a step along the gradient of the loss.
func (t *temperature) update(r contrastive.Result, rate float64) error {
	if t == nil || t.learned == nil {
		return nil
	}
	t.learned.Backward(r)
	return t.optimizer.Step(10 * rate)
}

func (t *temperature) state() [][]float32 {
	if t == nil || t.learned == nil {
		return nil
	}
	return state(t.optimizer, t.learned)
}

// state returns what an optimiser, which may be nil, and modules hold.
func state(o nn.Optimizer, modules ...nn.Module) (all [][]float32) {
	for _, m := range modules {
		for _, t := range nn.State(m) {
			all = append(all, t.Data)
		}
	}
	if o != nil {
		for _, t := range o.State() {
			all = append(all, t.Data)
		}
	}
	return all
}

// setShards divides the batches of all batch normalisations; see [nn.BatchNorm].
func setShards(shards int, nets ...nn.Sequential) {
	for _, n := range nets {
		n.SetShards(shards)
	}
}
