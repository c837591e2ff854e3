package nn

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/contrastive-go/contrastive"
)

// A Tensor is a slice that has a name and a shape, as checkpoints hold.
type Tensor struct {
	Name  string
	Shape []int // its product is the length of Data
	Data  []float32
}

// A Param is a tensor that is trained, and its gradient.
type Param struct {
	Name  string // within its module: weight, bias
	Shape []int
	Value []float32
	Grad  []float32 // of the loss, with respect to Value; Backward adds to it

	// NoDecay exempts biases and the parameters of normalisation from weight decay.
	NoDecay bool

	min, max float32 // bounds of Value that optimisers keep, if max > min

	// With sparse only the rows of Grad that touched lists, in ascending order, hold
	// other than 0. A row has as many elements as the last dimension of Shape.
	sparse  bool
	touched []int
}

// NewParam returns a parameter of zeros. It panics if a dimension is negative. A
// parameter of no dimensions has one element.
func NewParam(name string, shape ...int) *Param {
	n := 1
	for _, d := range shape {
		if d < 0 {
			panic(fmt.Sprintf("nn: NewParam(%q, %v): negative dimension", name, shape))
		}
		n *= d
	}
	return &Param{Name: name, Shape: shape, Value: make([]float32, n), Grad: make([]float32, n)}
}

// ZeroGrad sets the gradient to 0. The Step of an [Optimizer] does.
func (p *Param) ZeroGrad() {
	if !p.sparse {
		clear(p.Grad)
		return
	}
	for _, i := range p.touched {
		clear(p.Grad[i*p.cols() : (i+1)*p.cols()])
	}
	p.touched = p.touched[:0]
}

// cols is the length of a row.
func (p *Param) cols() int {
	if len(p.Shape) == 0 {
		return 1
	}
	return p.Shape[len(p.Shape)-1]
}

// eachGrad calls f for all parts of the gradient that may hold other than 0, with where
// they begin, until it returns false.
func (p *Param) eachGrad(f func(at int, grad []float32) bool) {
	if !p.sparse {
		f(0, p.Grad)
		return
	}
	d := p.cols()
	for _, i := range p.touched {
		if !f(i*d, p.Grad[i*d:(i+1)*d]) {
			return
		}
	}
}

// A Module has parameters.
type Module interface {
	// Params are what is trained, the same pointers at every call.
	Params() []*Param

	// Buffers are what else tells two modules of one shape apart, such as the
	// running averages of a [BatchNorm]. Their Data may be written.
	Buffers() []Tensor
}

// A Layer is a differentiable function of the rows of a matrix. It keeps what Backward
// needs of the latest Forward, and is not safe for concurrent use. Layers panic if a
// shape does not fit: it is the program that is wrong, as with slices.
type Layer interface {
	Module

	// Forward returns the outputs for the rows of x, in memory of the layer that is
	// valid until its next Forward. x must not change before Backward. In training
	// some layers do something else than when the result is used.
	Forward(x contrastive.Matrix, training bool) contrastive.Matrix

	// Backward takes the gradient of the outputs of the latest Forward, which must
	// have been in training. It adds to the gradients of the parameters, and returns
	// that of x in memory of the layer, valid until its next Backward; or, if it is
	// not wanted, the zero Matrix, which saves a layer a third of its products.
	Backward(dy contrastive.Matrix, wanted bool) contrastive.Matrix
}

// Sequential is layers one after the other. The empty one is the identity.
type Sequential []Layer

// Forward implements Layer.
func (s Sequential) Forward(x contrastive.Matrix, training bool) contrastive.Matrix {
	for _, l := range s {
		x = l.Forward(x, training)
	}
	return x
}

// Backward implements Layer.
func (s Sequential) Backward(dy contrastive.Matrix, wanted bool) contrastive.Matrix {
	for i, l := range slices.Backward(s) {
		dy = l.Backward(dy, wanted || i > 0)
	}
	if !wanted {
		return contrastive.Matrix{}
	}
	return dy
}

// Params implements Module.
func (s Sequential) Params() []*Param {
	var params []*Param
	for _, l := range s {
		params = append(params, l.Params()...)
	}
	return params
}

// Buffers implements Module. Names begin with the index of the layer.
func (s Sequential) Buffers() []Tensor {
	var buffers []Tensor
	for i, l := range s {
		buffers = appendNamed(buffers, strconv.Itoa(i), l.Buffers())
	}
	return buffers
}

// SetWorkers sets the number of goroutines of all layers that have one; see
// [Linear.Workers].
func (s Sequential) SetWorkers(n int) {
	for _, l := range s {
		if l, ok := l.(interface{ SetWorkers(int) }); ok {
			l.SetWorkers(n)
		}
	}
}

func appendNamed(all []Tensor, prefix string, tensors []Tensor) []Tensor {
	for _, t := range tensors {
		t.Name = prefix + "." + t.Name
		all = append(all, t)
	}
	return all
}

// Params returns the parameters of all modules, for an [Optimizer].
func Params(modules ...Module) []*Param {
	var params []*Param
	for _, m := range modules {
		params = append(params, m.Params()...)
	}
	return params
}

// Values returns the parameters of all modules as slices, which
// [contrastive.MomentumUpdates] takes. Buffers, such as the running averages of a
// [BatchNorm], are not among them: a momentum encoder has those of its own batches.
func Values(modules ...Module) [][]float32 {
	var values [][]float32
	for _, p := range Params(modules...) {
		values = append(values, p.Value)
	}
	return values
}

// Grads returns the gradients of all modules as slices, for a sum over the ranks of a
// [contrastive.Collective]:
//
//	for _, grad := range nn.Grads(encoder) {
//		err = ranks.AllReduce(ctx, grad)
//	}
//
// The gradient of an [Embedding] that is Sparse is for reading only.
func Grads(modules ...Module) [][]float32 {
	var grads [][]float32
	for _, p := range Params(modules...) {
		grads = append(grads, p.Grad)
	}
	return grads
}

// State returns the parameters and buffers of a module, by name: those of a
// [Sequential] begin with the index of the layer, as in PyTorch's state_dict.
func State(m Module) []Tensor {
	if s, ok := m.(Sequential); ok {
		var state []Tensor
		for i, l := range s {
			state = appendNamed(state, strconv.Itoa(i), State(l))
		}
		return state
	}
	var state []Tensor
	for _, p := range m.Params() {
		state = append(state, Tensor{p.Name, p.Shape, p.Value})
	}
	return append(state, m.Buffers()...)
}

// Copy sets the parameters and buffers of dst to those of src. A momentum encoder
// begins so. It returns an error that wraps [contrastive.ErrShape], and changes nothing,
// unless both have the same tensors.
func Copy(dst, src Module) error {
	to, from := State(dst), State(src)
	if len(to) != len(from) {
		return fmt.Errorf("nn: Copy: dst has %d tensors, src has %d: %w", len(to), len(from), contrastive.ErrShape)
	}
	for i, t := range to {
		if t.Name != from[i].Name || !slices.Equal(t.Shape, from[i].Shape) {
			return fmt.Errorf("nn: Copy: tensor %d of dst is %s %v, of src %s %v: %w",
				i, t.Name, t.Shape, from[i].Name, from[i].Shape, contrastive.ErrShape)
		}
	}
	for i, t := range to {
		copy(t.Data, from[i].Data)
	}
	return nil
}

// resize returns m with the given shape, in its memory where that suffices. The
// elements are arbitrary.
func resize(m *contrastive.Matrix, rows, cols int) contrastive.Matrix {
	*m = contrastive.Matrix{Rows: rows, Cols: cols, Stride: cols, Data: slices.Grow(m.Data[:0], rows*cols)[:rows*cols]}
	return *m
}

// checkInput panics unless x is a matrix of so many columns.
func checkInput(layer string, x contrastive.Matrix, cols int) {
	if x.Cols != cols {
		panic(fmt.Sprintf("nn: %s: Forward of %d×%d, want %d columns", layer, x.Rows, x.Cols, cols))
	}
	checkMatrix(layer, "Forward", x)
}

// checkGradient panics unless dy has the shape of the outputs y.
func checkGradient(layer string, dy, y contrastive.Matrix) {
	if dy.Rows != y.Rows || dy.Cols != y.Cols {
		panic(fmt.Sprintf("nn: %s: Backward of %d×%d, the latest outputs are %d×%d", layer, dy.Rows, dy.Cols, y.Rows, y.Cols))
	}
	checkMatrix(layer, "Backward", dy)
}

func checkMatrix(layer, call string, m contrastive.Matrix) {
	if m.Rows < 0 || m.Cols < 0 || m.Rows > 0 && m.Stride < m.Cols {
		panic(fmt.Sprintf("nn: %s: %s of %d×%d with Stride %d", layer, call, m.Rows, m.Cols, m.Stride))
	}
	if m.Rows > 0 && m.Cols > 0 && len(m.Data) < (m.Rows-1)*m.Stride+m.Cols {
		panic(fmt.Sprintf("nn: %s: %s of %d×%d with Stride %d has %d elements", layer, call, m.Rows, m.Cols, m.Stride, len(m.Data)))
	}
}
