package main

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"

	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack/lapack64"
	"gonum.org/v1/gonum/mat"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/blas"
	"github.com/contrastive-go/contrastive/simd"
)

// An encoder embeds texts by latent semantic analysis (Deerwester et al., 1990): the
// (1 + log tf)·idf of hashed words, in the space of the greatest singular vectors of a
// collection of texts. It knows nothing of which comment belongs to which function.
type encoder struct {
	idf     []float32
	vectors contrastive.Matrix // words × dimensions
}

const hashedWords = 1 << 14

// A weight is that of a word in a text.
type weight struct {
	word  int
	value float32
}

func hashWord(w string) int {
	h := fnv.New32a()
	h.Write([]byte(w))
	return int(h.Sum32() % hashedWords)
}

// newEncoder learns a space of dim dimensions, by randomised subspace iteration: Halko,
// Martinsson and Tropp, "Finding Structure with Randomness" (2011), algorithm 4.4, with
// QR and eigenvalues by gonum.
func newEncoder(texts [][]string, dim int, seed uint64) (*encoder, error) {
	e := &encoder{idf: make([]float32, hashedWords)}
	seen := make([]int, hashedWords)
	for i, text := range texts {
		for _, w := range text {
			if h := hashWord(w); seen[h] != i+1 {
				seen[h] = i + 1
				e.idf[h]++
			}
		}
	}
	for h, n := range e.idf {
		e.idf[h] = float32(math.Log(float64(1+len(texts)) / float64(1+n)))
	}
	rows := make([][]weight, len(texts))
	each(len(texts), func(i int) { rows[i] = e.weights(texts[i]) })

	const oversampling, iterations = 16, 3
	width := dim + oversampling
	rng := rand.New(rand.NewPCG(seed, 0x6c73_6100))
	basis := contrastive.NewMatrix(hashedWords, width)
	for i := range basis.Data {
		basis.Data[i] = float32(rng.NormFloat64())
	}
	projected := contrastive.NewMatrix(len(texts), width)
	project := func() {
		each(len(texts), func(i int) { combine(projected.Row(i), rows[i], basis) })
	}
	for range iterations {
		project()
		clear(basis.Data)
		for i, row := range rows {
			for _, w := range row {
				simd.Axpy(w.value, projected.Row(i), basis.Row(w.word))
			}
		}
		orthonormalise(basis)
	}
	project()
	// The eigenvectors of the Gram matrix turn the basis to the singular vectors.
	var eigen mat.EigenSym
	if !eigen.Factorize(gram(projected), true) {
		return nil, fmt.Errorf("the singular vectors of %d texts do not converge", len(texts))
	}
	var turn mat.Dense
	eigen.VectorsTo(&turn) // in ascending order
	multiply(basis, &turn)
	e.vectors = contrastive.NewMatrix(hashedWords, dim)
	for i := range e.vectors.Rows {
		copy(e.vectors.Row(i), basis.Row(i)[width-dim:])
	}
	return e, nil
}

// weights returns those of the words of a text, in the order of the words.
func (e *encoder) weights(text []string) []weight {
	counts := map[int]int{}
	for _, w := range text {
		counts[hashWord(w)]++
	}
	weights := make([]weight, 0, len(counts))
	norm := 0.0
	for word, n := range counts {
		v := (1 + math.Log(float64(n))) * float64(e.idf[word])
		weights = append(weights, weight{word, float32(v)})
	}
	slices.SortFunc(weights, func(a, b weight) int { return cmp.Compare(a.word, b.word) })
	for _, w := range weights {
		norm += float64(w.value) * float64(w.value)
	}
	for i := range weights {
		weights[i].value /= float32(math.Sqrt(max(norm, 1e-12)))
	}
	return weights
}

func combine(dst []float32, weights []weight, vectors contrastive.Matrix) {
	clear(dst)
	for _, w := range weights {
		simd.Axpy(w.value, vectors.Row(w.word), dst)
	}
}

// encode returns a row for each text.
func (e *encoder) encode(texts [][]string) contrastive.Matrix {
	m := contrastive.NewMatrix(len(texts), e.vectors.Cols)
	each(len(texts), func(i int) { combine(m.Row(i), e.weights(texts[i]), e.vectors) })
	return m
}

// orthonormalise replaces the columns of m by an orthonormal basis of what they span: by
// Cholesky decompositions of their Gram matrix, the second of which takes away what
// rounding has left of the first (Yamamoto et al., "Roundoff error analysis of the
// CholeskyQR2 algorithm", 2015), or, if the columns are too near to dependent, by QR.
func orthonormalise(m contrastive.Matrix) {
	const times = 2
	for range times {
		var cholesky mat.Cholesky
		if !cholesky.Factorize(gram(m)) {
			qr(m)
			return
		}
		var upper, inverse mat.TriDense
		cholesky.UTo(&upper)
		if err := inverse.InverseTri(&upper); err != nil {
			qr(m)
			return
		}
		multiply(m, &inverse)
	}
}

func qr(m contrastive.Matrix) {
	q := toFloat64(m).RawMatrix()
	tau := make([]float64, m.Cols)
	size := make([]float64, 1)
	lapack64.Geqrf(q, tau, size, -1)
	work := make([]float64, int(size[0]))
	lapack64.Geqrf(q, tau, work, len(work))
	lapack64.Orgqr(q, tau, size, -1)
	if n := int(size[0]); n > len(work) {
		work = make([]float64, n)
	}
	lapack64.Orgqr(q, tau, work, len(work))
	fromFloat64(m, q)
}

// gram returns mᵀ·m.
func gram(m contrastive.Matrix) *mat.SymDense {
	n := m.Cols
	product := make([]float32, n*n)
	blas.Sgemm(true, false, n, n, m.Rows, 1, m.Data, m.Stride, m.Data, m.Stride, 0, product, n, 0)
	g := mat.NewSymDense(n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			g.SetSym(i, j, float64(product[i*n+j]))
		}
	}
	return g
}

// multiply replaces m by its product with a square matrix.
func multiply(m contrastive.Matrix, by mat.Matrix) {
	n := m.Cols
	right := make([]float32, n*n)
	for i := range n {
		for j := range n {
			right[i*n+j] = float32(by.At(i, j))
		}
	}
	product := contrastive.NewMatrix(m.Rows, n)
	blas.Sgemm(false, false, m.Rows, n, n, 1, m.Data, m.Stride, right, n, 0, product.Data, n, 0)
	for i := range m.Rows {
		copy(m.Row(i), product.Row(i))
	}
}

func toFloat64(m contrastive.Matrix) *mat.Dense {
	d := mat.NewDense(m.Rows, m.Cols, nil)
	for i := range m.Rows {
		row := d.RawRowView(i)
		for j, v := range m.Row(i) {
			row[j] = float64(v)
		}
	}
	return d
}

func fromFloat64(dst contrastive.Matrix, src blas64.General) {
	for i := range dst.Rows {
		row := dst.Row(i)
		for j := range row {
			row[j] = float32(src.Data[i*src.Stride+j])
		}
	}
}

// each calls f for 0…n-1, by as many goroutines as there are processors.
func each(n int, f func(i int)) {
	var group sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), n)
	for w := range workers {
		group.Go(func() {
			for i := w * n / workers; i < (w+1)*n/workers; i++ {
				f(i)
			}
		})
	}
	group.Wait()
}
