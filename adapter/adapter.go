// Package adapter trains small maps of embeddings that some model has made, so that
// queries find what they are meant to find. The model is frozen: it may be behind an API,
// and only its vectors are needed.
//
//	a, err := adapter.Fit(ctx, adapter.Data{
//		Queries:   queries,   // N×D
//		Documents: documents, // M×D
//		Relevant:  retrieval.Relevance{Keys: clicked}, // N lists of rows of documents
//	}, adapter.Config{})
//	…
//	err = a.Query.Apply(vector, vector) // and search the old index with it
//
// An adapter begins as the identity, and [Fit] returns the best that it has seen on
// queries that are held out, so that these are found no worse than before.
//
// # The map
//
// With x̂ the vector scaled to unit length, a [Transform] is
//
//	y = x̂ + f(x̂),  scaled to unit length
//
//	Linear   f(x) = x·W + b                     W is D×D, and 0 at the start
//	LowRank  f(x) = x·A·B + b                   A is D×r, B is r×D, and 0 at the start
//	MLP      f(x) = GELU(x·W₁ + b₁)·W₂ + b₂     W₁ is D×h, W₂ is h×D, and 0 at the start
//
// A linear map of queries for a frozen index is the method of Sanjeev and Troynikov,
// "Embedding Adapters" (Chroma technical report, 2024); the product of two thin matrices
// that begins as 0 is that of Hu et al., "LoRA" (2022), equation 3.
//
// # Errors
//
// They begin with "adapter: ", name the argument, the row and the numbers, and wrap
// [contrastive.ErrShape], [contrastive.ErrEmpty], [contrastive.ErrNotFinite],
// [contrastive.ErrParameter], or [ErrFormat] for files. Destinations are untouched.
package adapter

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
	"github.com/contrastive-go/contrastive/simd"
)

// A Kind is the form of the map.
type Kind uint8

const (
	Linear  Kind = iota // one matrix
	LowRank             // the product of two thin ones
	MLP                 // two layers
)

var kinds = [...]string{"linear", "low-rank", "mlp"}

// String returns the name of k in files and on command lines.
func (k Kind) String() string { return name(kinds[:], int(k), "Kind") }

// Sides says which embeddings are mapped.
type Sides uint8

const (
	Queries Sides = iota // the index stays as it is
	Both                 // queries and documents, each by a map of its own
	Shared               // queries and documents by one map
)

var sides = [...]string{"queries", "both", "shared"}

// String returns the name of s in files and on command lines.
func (s Sides) String() string { return name(sides[:], int(s), "Sides") }

func name(names []string, i int, typ string) string {
	if i >= len(names) {
		return fmt.Sprintf("%s(%d)", typ, i)
	}
	return names[i]
}

// An Adapter maps queries and documents of D dimensions to where they find each other.
// It is safe for concurrent use.
type Adapter struct {
	Query    *Transform
	Document *Transform // copies vectors as they are if Sides is Queries

	Kind     Kind
	Sides    Sides
	Training Training // how it has come about

	dim   int
	width int // of what is between two layers: the rank, or that of the hidden layer
}

// Dim returns D.
func (a *Adapter) Dim() int { return a.dim }

// newAdapter returns the identity.
func newAdapter(kind Kind, sides Sides, dim, width int, seed uint64) *Adapter {
	a := &Adapter{Kind: kind, Sides: sides, dim: dim, width: width}
	rng := rand.New(rand.NewPCG(seed, seed2(streamInitial, 0)))
	a.Query = newTransform(kind, dim, width, rng)
	switch sides {
	case Queries:
		a.Document = &Transform{dim: dim}
	case Both:
		a.Document = newTransform(kind, dim, width, rng)
	case Shared:
		a.Document = a.Query
	}
	return a
}

// modules returns what is trained.
func (a *Adapter) modules() []nn.Sequential {
	if a.Sides == Both {
		return []nn.Sequential{a.Query.layers, a.Document.layers}
	}
	return []nn.Sequential{a.Query.layers}
}

// tensors returns the parameters by their names in files, sharing their storage.
func (a *Adapter) tensors() []nn.Tensor {
	tensors := shapes(a.Kind, a.Sides, a.dim, a.width)
	i := 0
	for _, m := range a.modules() {
		for _, p := range m.Params() {
			tensors[i].Data = p.Value
			i++
		}
	}
	return tensors
}

// shapes returns the names and shapes of parameters, in the order of those of modules.
func shapes(kind Kind, s Sides, dim, width int) []nn.Tensor {
	inner := [...][]nn.Tensor{
		Linear:  {{Name: "weight", Shape: []int{dim, dim}}, {Name: "bias", Shape: []int{dim}}},
		LowRank: {{Name: "down", Shape: []int{dim, width}}, {Name: "up", Shape: []int{width, dim}}, {Name: "bias", Shape: []int{dim}}},
		MLP: {
			{Name: "hidden.weight", Shape: []int{dim, width}}, {Name: "hidden.bias", Shape: []int{width}},
			{Name: "output.weight", Shape: []int{width, dim}}, {Name: "output.bias", Shape: []int{dim}},
		},
	}[kind]
	outer := [...][]string{Queries: {"query"}, Both: {"query", "document"}, Shared: {"shared"}}[s]
	var tensors []nn.Tensor
	for _, side := range outer {
		for _, t := range inner {
			tensors = append(tensors, nn.Tensor{Name: side + "." + t.Name, Shape: t.Shape})
		}
	}
	return tensors
}

// clone returns an adapter with parameters of its own.
func (a *Adapter) clone() *Adapter {
	c := newAdapter(a.Kind, a.Sides, a.dim, a.width, 0)
	c.Training = a.Training
	c.set(a)
	return c
}

// set gives a the parameters of b, which is of the same form.
func (a *Adapter) set(b *Adapter) {
	from := b.tensors()
	for i, t := range a.tensors() {
		copy(t.Data, from[i].Data)
	}
}

// A Transform maps vectors.
type Transform struct {
	dim    int
	layers nn.Sequential // nil for what copies vectors
	// Layers keep what they compute, so that each call takes some for itself.
	networks sync.Pool
}

func newTransform(kind Kind, dim, width int, rng *rand.Rand) *Transform {
	t := &Transform{dim: dim}
	first := nn.NewLinear(dim, dim, true, rng)
	switch kind {
	case Linear:
		t.layers = nn.Sequential{first}
	case LowRank:
		t.layers = nn.Sequential{nn.NewLinear(dim, width, false, rng), nn.NewLinear(width, dim, true, rng)}
	case MLP:
		t.layers = nn.Sequential{nn.NewLinear(dim, width, true, rng), new(nn.GELU), nn.NewLinear(width, dim, true, rng)}
	}
	last := t.layers[len(t.layers)-1].(*nn.Linear)
	clear(last.Weight.Value)
	return t
}

// A network is layers with memory of their own, whose parameters are those of a
// Transform.
type network struct {
	layers  nn.Sequential
	input   contrastive.Matrix // of unit rows
	vectors [][]float32        // outputs of layers, of a single vector
}

func (t *Transform) newNetwork() *network {
	n := new(network)
	for _, l := range t.layers {
		switch l := l.(type) {
		case *nn.Linear:
			own := *l
			n.layers = append(n.layers, &own)
		case *nn.GELU:
			n.layers = append(n.layers, new(nn.GELU))
		}
	}
	return n
}

// forward returns x + f(x) for the rows of the input, valid until the next call. They
// are not of unit length: losses and rankings by cosine make no difference.
func (n *network) forward(training bool) contrastive.Matrix {
	y := n.layers.Forward(n.input, training)
	for i := range y.Rows {
		simd.Axpy(1, n.input.Row(i), y.Row(i))
	}
	return y
}

// forwardVector returns u + f(u), valid until the next call.
func (n *network) forwardVector(u []float32) []float32 {
	x := u
	for i, l := range n.layers {
		switch l := l.(type) {
		case *nn.Linear:
			y := n.vector(i, l.Weight.Shape[1])
			if l.Bias == nil {
				clear(y)
			} else {
				copy(y, l.Bias.Value)
			}
			simd.AxpyRows(x, l.Weight.Value, len(y), y)
			x = y
		case *nn.GELU:
			simd.GELU(x, x)
		}
	}
	simd.Axpy(1, u, x)
	return x
}

// vector returns memory for the output of a layer.
func (n *network) vector(layer, size int) []float32 {
	if len(n.vectors) <= layer {
		n.vectors = append(n.vectors, make([][]float32, len(n.layers)-len(n.vectors))...)
	}
	if n.vectors[layer] == nil {
		n.vectors[layer] = make([]float32, size)
	}
	return n.vectors[layer]
}

// resize gives the input rows of arbitrary elements.
func (n *network) resize(rows, cols int) {
	if cap(n.input.Data) < rows*cols {
		n.input.Data = make([]float32, rows*cols)
	}
	n.input = contrastive.Matrix{Rows: rows, Cols: cols, Stride: cols, Data: n.input.Data[:rows*cols]}
}

// Apply stores in dst the map of x, both of D elements; they may be the same. It
// allocates nothing once it has been called. A vector of zeros has no direction, and is
// mapped as it is.
func (t *Transform) Apply(dst, x []float32) error {
	switch {
	case len(x) != t.dim:
		return fmt.Errorf("adapter: Apply: x has %d elements, the adapter is for %d: %w", len(x), t.dim, contrastive.ErrShape)
	case len(dst) != t.dim:
		return fmt.Errorf("adapter: Apply: dst has %d elements, the adapter is for %d: %w", len(dst), t.dim, contrastive.ErrShape)
	}
	if i := indexNotFinite(x); i >= 0 {
		return fmt.Errorf("adapter: Apply: x[%d] is %v: %w", i, x[i], contrastive.ErrNotFinite)
	}
	if t.layers == nil {
		copy(dst, x)
		return nil
	}
	n := t.acquire()
	n.resize(1, t.dim)
	simd.Normalize(n.input.Row(0), x)
	simd.Normalize(dst, n.forwardVector(n.input.Row(0)))
	t.networks.Put(n)
	return nil
}

func (t *Transform) acquire() *network {
	if n, ok := t.networks.Get().(*network); ok {
		return n
	}
	return t.newNetwork()
}

// matrix returns rows of cols elements.
func matrix(data []float32, cols int) contrastive.Matrix {
	return contrastive.Matrix{Rows: len(data) / cols, Cols: cols, Stride: cols, Data: data}
}

// rowsAtOnce bounds the memory of a map of many vectors, and is enough for products to
// run at full speed.
const rowsAtOnce = 1024

// ApplyMatrix stores in the rows of dst the map of those of x, both N×D; they may be the
// same. It takes GOMAXPROCS goroutines, and memory for 1,024 rows. Rows differ from what
// Apply returns by rounding, as it sums in another order.
func (t *Transform) ApplyMatrix(dst, x contrastive.Matrix) error { return t.applyMatrix(dst, x, 0) }

func (t *Transform) applyMatrix(dst, x contrastive.Matrix, workers int) error {
	if err := t.checkMatrices(dst, x); err != nil {
		return fmt.Errorf("adapter: ApplyMatrix: %w", err)
	}
	n := t.acquire()
	n.layers.SetWorkers(workers)
	for lo := 0; lo < x.Rows; lo += rowsAtOnce {
		hi := min(lo+rowsAtOnce, x.Rows)
		t.apply(n, dst.Slice(lo, hi), x.Slice(lo, hi))
	}
	t.networks.Put(n)
	return nil
}

func (t *Transform) checkMatrices(dst, x contrastive.Matrix) error {
	for _, m := range [...]struct {
		argument string
		contrastive.Matrix
	}{{"x", x}, {"dst", dst}} {
		if err := checkMatrix(m.argument, m.Matrix); err != nil {
			return err
		}
		if m.Cols != t.dim {
			return fmt.Errorf("%s is %d×%d, the adapter is for %d columns: %w", m.argument, m.Rows, m.Cols, t.dim, contrastive.ErrShape)
		}
	}
	if dst.Rows != x.Rows {
		return fmt.Errorf("dst is %d×%d, x is %d×%d: %w", dst.Rows, dst.Cols, x.Rows, x.Cols, contrastive.ErrShape)
	}
	return checkFinite("x", x)
}

func (t *Transform) apply(n *network, dst, x contrastive.Matrix) {
	if t.layers == nil {
		for i := range x.Rows {
			copy(dst.Row(i), x.Row(i))
		}
		return
	}
	n.resize(x.Rows, x.Cols)
	for i := range x.Rows {
		simd.Normalize(n.input.Row(i), x.Row(i))
	}
	y := n.forward(false)
	for i := range y.Rows {
		simd.Normalize(dst.Row(i), y.Row(i))
	}
}

// checkMatrix returns an error unless m is a matrix.
func checkMatrix(argument string, m contrastive.Matrix) error {
	switch {
	case m.Rows < 0 || m.Cols < 0 || m.Rows > 0 && m.Stride < m.Cols:
		return fmt.Errorf("%s is %d×%d with Stride %d: %w", argument, m.Rows, m.Cols, m.Stride, contrastive.ErrShape)
	case m.Rows > 0 && m.Cols > 0 && (len(m.Data) < m.Cols || (len(m.Data)-m.Cols)/m.Stride < m.Rows-1):
		return fmt.Errorf("%s is %d×%d with Stride %d and has %d elements: %w", argument, m.Rows, m.Cols, m.Stride, len(m.Data), contrastive.ErrShape)
	}
	return nil
}

func checkFinite(argument string, m contrastive.Matrix) error {
	for i := range m.Rows {
		if j := indexNotFinite(m.Row(i)); j >= 0 {
			return &contrastive.NotFiniteError{Argument: argument, Row: i, Col: j, Value: m.Row(i)[j]}
		}
	}
	return nil
}

// indexNotFinite returns the index of the first NaN or infinity, or -1.
func indexNotFinite(x []float32) int {
	for i, v := range x {
		if v-v != 0 {
			return i
		}
	}
	return -1
}
