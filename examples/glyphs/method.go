package main

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/examples/glyphs/nn"
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
func newEncoder(s *Settings, inputs int, rng *rand.Rand) nn.Net {
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
func newProjector(s *Settings, rng *rand.Rand) nn.Net {
	if s.Head == 0 {
		return nn.Net{nn.NewLinear(s.Features, s.Embedding, true, rng)}
	}
	return append(layer(s, s.Features, s.Head, rng), nn.NewLinear(s.Head, s.Embedding, true, rng))
}

// layer returns one layer with its normalisation and rectifier.
func layer(s *Settings, in, out int, rng *rand.Rand) nn.Net {
	if s.Norm == "none" {
		return nn.Net{nn.NewLinear(in, out, true, rng), &nn.ReLU{}}
	}
	return nn.Net{nn.NewLinear(in, out, false, rng), nn.NewBatchNorm(out, true), &nn.ReLU{}}
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

// A temperature is τ, fixed or learned. It is a parameter of its own because a
// few hundred steps are to move it as far as the papers' hundred thousands: it
// takes steps ten times as long as the weights do.
type temperature struct {
	fixed     float32 // unless it is learned
	learned   bool
	scale     *nn.Scalar // log(1/τ)
	optimiser *nn.Adam
}

func newTemperature(s *Settings) *temperature {
	t := &temperature{fixed: float32(s.Temperature), scale: nn.NewScalar(0)}
	if t.learned = s.LearnTemperature && t.fixed > 0; t.learned { // 0 is the loss's default
		t.scale.Set(float32(contrastive.NewLogitScale(t.fixed)))
	}
	t.optimiser = nn.NewAdam(0, nn.Net{t.scale})
	return t
}

func (t *temperature) value() float32 {
	if !t.learned {
		return t.fixed
	}
	return contrastive.LogitScale(t.scale.Value()).Temperature()
}

// update takes a step along the gradient of the loss.
func (t *temperature) update(r contrastive.Result, rate float64) {
	if !t.learned {
		return
	}
	t.scale.AddGrad(float32(contrastive.LogitScale(t.scale.Value()).Gradient(r)))
	t.optimiser.Step(10 * rate)
	t.scale.Set(float32(contrastive.LogitScale(t.scale.Value()).Clamped()))
}

func (t *temperature) state() [][]float32 {
	return append(nn.State(nn.Net{t.scale}), t.optimiser.State()...)
}
