// Package gomlx trains encoders of GoMLX with the losses of package contrastive.
//
// GoMLX keeps the encoder, automatic differentiation and the optimiser. The loss is
// evaluated outside the graph, between two passes: it gets embeddings and gives their
// gradients dz back, which a surrogate, Σ stopgrad(dz)·z, carries into the graph, because
// its derivative with respect to a parameter is that of the loss. A step is
//
//	pass, err := encoder.Encode(x)                      // forward
//	result, err := loss.Eval(batch, gradients)          // of pass.Embeddings
//	err = pass.Backward(dz)                             // forward and backward
//	err = trainer.Step()                                // optimiser
//
// Gradients of several passes add up until Step, so that encoders of one trainer may
// share variables or not, and a contrastive.GradientCache can take a batch in chunks, by
// [Encoder.Tower]. The price is a second forward pass. It buys batches whose similarities
// are never held, and all losses of package contrastive.
//
// Use the option ops_sequential of GoMLX's Go backend, gobackend.New("ops_sequential"):
// without it several products at a time can wait for each other for ever.
//
// Errors begin with "gomlx: ".
package gomlx

import (
	"fmt"

	"github.com/contrastive-go/contrastive"
	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/ml/train/optimizer"
)

// gradientScope is where the sums of gradients are, as variables that are not trained.
const gradientScope = "/contrastive_gradients"

// A Trainer takes the steps of an optimiser on the variables of a store. It is for one
// goroutine at a time, and so are its encoders.
type Trainer struct {
	backend   compute.Backend
	store     *model.Store
	optimizer optimizer.Interface

	step      *model.Exec
	variables int  // whose gradients step takes
	pending   bool // whether there are gradients
}

// NewTrainer returns a trainer of the variables of store. Any optimiser will do.
func NewTrainer(backend compute.Backend, store *model.Store, o optimizer.Interface) *Trainer {
	return &Trainer{backend: backend, store: store, optimizer: o}
}

// An EncoderFunc builds the graph of an encoder: N×D float32 embeddings of inputs, whose
// first axes are N. What it does in training it does if scope.IsTraining.
type EncoderFunc func(scope *model.Scope, inputs []*graph.Node) *graph.Node

// An Encoder is the executors of an EncoderFunc. A graph is compiled for each shape of
// inputs: keep batches and chunks of one size.
type Encoder struct {
	trainer                 *Trainer
	encode, embed, backward *model.Exec
}

// NewEncoder returns an encoder whose variables are in a scope, such as "/query". Encoders
// of one scope share them.
func (t *Trainer) NewEncoder(scope string, f EncoderFunc) (*Encoder, error) {
	e := &Encoder{trainer: t}
	build := func(training bool) func(root *model.Scope, g *graph.Graph, inputs []*graph.Node) *graph.Node {
		return func(root *model.Scope, g *graph.Graph, inputs []*graph.Node) *graph.Node {
			root.Store().SetTraining(g, training)
			z := f(root.Store().Scope(scope), inputs)
			if s := z.Shape(); s.DType != dtypes.Float32 || s.Rank() != 2 {
				panic(fmt.Errorf("the embeddings are %s and must be a matrix of Float32: %w", s, contrastive.ErrShape))
			}
			return z
		}
	}
	backward := func(root *model.Scope, g *graph.Graph, inputs []*graph.Node) {
		last := len(inputs) - 1
		addGradients(root, build(true)(root, g, inputs[:last]), inputs[last])
	}
	var err error
	if e.encode, err = model.NewExec(t.backend, t.store, build(true)); err == nil {
		if e.embed, err = model.NewExec(t.backend, t.store, build(false)); err == nil {
			e.backward, err = model.NewExec(t.backend, t.store, backward)
		}
	}
	return e, wrap("NewEncoder", err)
}

// addGradients adds the gradients of Σ dz·z to the sums of all variables that z depends on.
func addGradients(root *model.Scope, z, dz *graph.Node) {
	g, store := z.Graph(), root.Store()
	var trained []*model.Variable
	var nodes []*graph.Node
	for v := range store.IterVariables() {
		if v.Trainable && v.InUseByGraph(g) {
			trained, nodes = append(trained, v), append(nodes, v.NodeValue(g))
		}
	}
	if len(trained) == 0 {
		panic(fmt.Errorf("the encoder has no trainable variables: %w", contrastive.ErrParameter))
	}
	surrogate := graph.ReduceAllSum(graph.Mul(graph.StopGradient(dz), z))
	for i, gradient := range graph.Gradient(surrogate, nodes...) {
		sum := store.VariableWithShape(gradientPath(trained[i]), trained[i].Shape(), zeros).SetTrainable(false)
		sum.SetNodeValue(graph.Add(sum.NodeValue(g), gradient))
	}
}

func gradientPath(v *model.Variable) string { return model.JoinPath(gradientScope, v.Path()) }

func zeros(g *graph.Graph, s shapes.Shape) *graph.Node { return graph.Zeros(g, s) }

// A Pass is inputs that have been encoded in training, and their embeddings.
type Pass struct {
	Embeddings contrastive.Matrix // N×D, of which the pass keeps nothing else

	encoder *Encoder
	inputs  []*tensors.Tensor
	random  *tensors.Tensor // state of the generator before
}

// Encode encodes inputs as in training, with dropout and statistics of the batch.
func (e *Encoder) Encode(inputs ...*tensors.Tensor) (*Pass, error) {
	p, err := e.pass(inputs)
	return p, wrap("Encode", err)
}

func (e *Encoder) pass(inputs []*tensors.Tensor) (*Pass, error) {
	// The generator also initialises variables: they come first, so that its state is that
	// of the encoder.
	if _, err := e.encode.Compile(shapesOf(inputs)...); err != nil {
		return nil, err
	}
	if err := e.trainer.store.InitializeVariables(e.trainer.backend, nil); err != nil {
		return nil, err
	}
	random, err := e.trainer.random()
	if err != nil {
		return nil, err
	}
	z, err := run(e.encode, inputs)
	return &Pass{z, e, inputs, random}, err
}

// Embed returns the N×D embeddings of inputs as in use: without dropout, and with the
// statistics of training.
func (e *Encoder) Embed(inputs ...*tensors.Tensor) (contrastive.Matrix, error) {
	z, err := run(e.embed, inputs)
	return z, wrap("Embed", err)
}

// Backward encodes the inputs of p again, with the same random numbers, and adds the
// gradients of the variables, given those of the N×D embeddings, to what [Trainer.Step]
// takes.
func (p *Pass) Backward(dz contrastive.Matrix) error {
	return wrap("Backward", p.backward(dz))
}

func (p *Pass) backward(dz contrastive.Matrix) error {
	if dz.Rows != p.Embeddings.Rows || dz.Cols != p.Embeddings.Cols {
		return fmt.Errorf("dz is %d×%d, the embeddings are %d×%d: %w", dz.Rows, dz.Cols, p.Embeddings.Rows, p.Embeddings.Cols, contrastive.ErrShape)
	}
	return p.encoder.backwardFrom(p.random, dz, p.inputs)
}

func (e *Encoder) backwardFrom(random *tensors.Tensor, dz contrastive.Matrix, inputs []*tensors.Tensor) error {
	t := e.trainer
	now, err := t.random()
	if err != nil {
		return err
	}
	if err := t.setRandom(random); err != nil {
		return err
	}
	args := make([]any, 0, len(inputs)+1)
	for _, in := range inputs {
		args = append(args, in)
	}
	_, err = e.backward.Call(append(args, tensorOf(dz))...)
	if failed := t.setRandom(now); err == nil {
		err = failed
	}
	t.pending = t.pending || err == nil
	return err
}

// Tower returns an encoder of rows inputs as a contrastive.GradientCache sees it, whose
// embeddings have dim dimensions. Inputs returns those from lo up to hi, twice for each
// chunk. Set Backward to nil for a tower that takes no gradient, such as a momentum
// encoder. Call [Trainer.Step] when GradientCache.Step has returned.
func (e *Encoder) Tower(rows, dim int, inputs func(lo, hi int) ([]*tensors.Tensor, error)) contrastive.Tower {
	states := make(map[int]*tensors.Tensor) // of the generator, before each chunk
	return contrastive.Tower{
		Rows: rows, Dim: dim,
		Encode: func(lo, hi int, z contrastive.Matrix) error {
			in, err := inputs(lo, hi)
			if err != nil {
				return err
			}
			p, err := e.pass(in)
			if err != nil {
				return err
			}
			if p.Embeddings.Rows != z.Rows || p.Embeddings.Cols != z.Cols {
				return fmt.Errorf("the embeddings are %d×%d, want %d×%d: %w", p.Embeddings.Rows, p.Embeddings.Cols, z.Rows, z.Cols, contrastive.ErrShape)
			}
			for i := range z.Rows {
				copy(z.Row(i), p.Embeddings.Row(i))
			}
			states[lo] = p.random
			return nil
		},
		Backward: func(lo, hi int, dz contrastive.Matrix) error {
			in, err := inputs(lo, hi)
			if err != nil {
				return err
			}
			return e.backwardFrom(states[lo], dz, in)
		},
	}
}

// Step lets the optimiser take a step by the gradients since the last one.
func (t *Trainer) Step() error { return wrap("Step", t.takeStep()) }

func (t *Trainer) takeStep() error {
	if !t.pending {
		return fmt.Errorf("there are no gradients, by Backward: %w", contrastive.ErrEmpty)
	}
	// A graph is for the variables that it was built for.
	if n := len(t.trained()); t.step == nil || n != t.variables {
		step, err := model.NewExec(t.backend, t.store, t.update)
		if err != nil {
			return err
		}
		if t.step != nil {
			t.step.Finalize()
		}
		t.step, t.variables = step, n
	}
	_, err := t.step.Call()
	t.pending = t.pending && err != nil
	return err
}

// trained returns the variables that have sums of gradients.
func (t *Trainer) trained() (trained []*model.Variable) {
	for v := range t.store.IterVariables() {
		if v.Trainable && t.store.GetVariable(gradientPath(v)) != nil {
			trained = append(trained, v)
		}
	}
	return trained
}

// update builds a step. What any optimiser can take is a loss: the gradient of Σ sum·v
// with respect to v is the sum.
func (t *Trainer) update(root *model.Scope, g *graph.Graph) {
	root.Store().SetTraining(g, true)
	var surrogate *graph.Node
	for _, v := range t.trained() {
		sum := t.store.GetVariable(gradientPath(v))
		part := graph.ReduceAllSum(graph.Mul(graph.StopGradient(sum.NodeValue(g)), v.NodeValue(g)))
		if surrogate == nil {
			surrogate = part
		} else {
			surrogate = graph.Add(surrogate, part)
		}
		sum.SetNodeValue(graph.Zeros(g, sum.Shape()))
	}
	t.optimizer.UpdateGraph(root, g, surrogate)
}

// random returns a copy of the state of the store's generator, nil if it has none.
func (t *Trainer) random() (*tensors.Tensor, error) {
	v := t.store.GetVariable("/" + model.RNGStateVariableName)
	if v == nil || !v.HasValue() {
		return nil, nil
	}
	value, err := v.Value()
	if err != nil {
		return nil, err
	}
	return value.LocalClone()
}

func (t *Trainer) setRandom(state *tensors.Tensor) error {
	if state == nil {
		return nil
	}
	own, err := state.LocalClone() // the variable's value, which it may let go of
	if err != nil {
		return err
	}
	return t.store.GetVariable("/" + model.RNGStateVariableName).SetValue(own)
}

// run returns a copy of the embeddings of inputs.
func run(exec *model.Exec, inputs []*tensors.Tensor) (contrastive.Matrix, error) {
	args := make([]any, len(inputs))
	for i, in := range inputs {
		args[i] = in
	}
	z, err := exec.Call1(args...)
	if err != nil {
		return contrastive.Matrix{}, err
	}
	data, err := tensors.CopyFlatData[float32](z)
	if err != nil {
		return contrastive.Matrix{}, err
	}
	rows, cols := z.Shape().Dim(0), z.Shape().Dim(1)
	return contrastive.Matrix{Rows: rows, Cols: cols, Stride: cols, Data: data}, z.FinalizeAll()
}

func shapesOf(inputs []*tensors.Tensor) []shapes.Shape {
	all := make([]shapes.Shape, len(inputs))
	for i, in := range inputs {
		all[i] = in.Shape()
	}
	return all
}

// tensorOf returns a copy of m.
func tensorOf(m contrastive.Matrix) *tensors.Tensor {
	t := tensors.FromShape(shapes.Make(dtypes.Float32, m.Rows, m.Cols))
	tensors.MustMutableFlatData(t, func(flat []float32) {
		for i := range m.Rows {
			copy(flat[i*m.Cols:], m.Row(i))
		}
	})
	return t
}

func wrap(function string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("gomlx: %s: %w", function, err)
}
