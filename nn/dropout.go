package nn

import (
	"fmt"
	"math"

	"github.com/contrastive-go/contrastive"
)

// Dropout sets elements to 0 with probability P in training, and divides the others by
// 1−P; otherwise it is the identity: Srivastava, Hinton, Krizhevsky, Sutskever and
// Salakhutdinov, "Dropout" (2014), in its inverted form. Two passes of one batch through
// dropout are SimCSE's positives: Gao, Yao and Chen (2021).
//
// What is dropped is a function of Seed, of how many training passes there were before,
// and of row and column: not of goroutines. The passes are a buffer, so that a checkpoint
// goes on where it was.
type Dropout struct {
	P    float64 // from 0 to below 1
	Seed uint64  // two layers of one net have different ones

	Workers int // as that of [Linear]

	draws        [2]float32 // how many training passes there were, in units of 2²⁴ and 1
	threshold    uint32     // of 2³²: below it an element is dropped
	scale        float32
	key          uint64
	passed       bool // the latest Forward was the identity
	x, y, dy, dx contrastive.Matrix
}

const drawUnit = 1 << 24

// Draws returns how many training passes there were.
func (l *Dropout) Draws() uint64 { return uint64(l.draws[0])*drawUnit + uint64(l.draws[1]) }

// Seek sets what Draws returns. A pass after Seek(n) drops what the pass with number n
// did, which a [contrastive.GradientCache] needs to encode a chunk again. It panics if n
// is 2⁴⁸ or more.
func (l *Dropout) Seek(n uint64) {
	if n >= drawUnit*drawUnit {
		panic(fmt.Sprintf("nn: Dropout: Seek(%d): must be below 2⁴⁸", n))
	}
	l.draws = [2]float32{float32(n / drawUnit), float32(n % drawUnit)}
}

// Forward implements [Layer]. It panics unless P is from 0 to below 1.
func (l *Dropout) Forward(x contrastive.Matrix, training bool) contrastive.Matrix {
	checkMatrix("Dropout", "Forward", x)
	if !(l.P >= 0 && l.P < 1) {
		panic(fmt.Sprintf("nn: Dropout: P is %v and must be from 0 to below 1", l.P))
	}
	l.passed = !training
	if !training {
		l.y.Rows, l.y.Cols = x.Rows, x.Cols
		return x
	}
	l.x = x
	l.key = mix(mix(l.Seed) + l.Draws())
	l.Seek((l.Draws() + 1) % (drawUnit * drawUnit))
	l.threshold, l.scale = uint32(l.P*(1<<32)), float32(1/(1-l.P))
	y := resize(&l.y, x.Rows, x.Cols)
	run((*dropoutForward)(l), x.Rows, rowGrain(x.Cols), l.Workers)
	return y
}

type dropoutForward Dropout

func (l *dropoutForward) part(lo, hi int) {
	for i := lo; i < hi; i++ {
		(*Dropout)(l).drop(l.y.Row(i), l.x.Row(i), i)
	}
}

// drop sets dst to what is left of row i, which is src. One draw is for two elements. No
// draw waits for the one before, and no branch depends on one.
func (l *Dropout) drop(dst, src []float32, i int) {
	row := mix(l.key + uint64(i))
	dst = dst[:len(src)]
	j := 0
	for ; j+2 <= len(src); j += 2 {
		draw := mix(row + uint64(j)*drawStep)
		dst[j], dst[j+1] = l.keep(uint32(draw), src[j]), l.keep(uint32(draw>>32), src[j+1])
	}
	if j < len(src) {
		dst[j] = l.keep(uint32(mix(row+uint64(j)*drawStep)), src[j])
	}
}

// keep returns v times the scale, or 0 if the draw is below the threshold.
func (l *Dropout) keep(draw uint32, v float32) float32 {
	below := uint32((int64(draw) - int64(l.threshold)) >> 63)
	return math.Float32frombits(math.Float32bits(v*l.scale) &^ below)
}

// drawStep is the distance of the states of SplitMix64 from each other.
const drawStep = 0x9e3779b97f4a7c15

// mix is one step of SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom
// Number Generators" (2014).
func mix(h uint64) uint64 {
	h += drawStep
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// Backward implements [Layer].
func (l *Dropout) Backward(dy contrastive.Matrix, wanted bool) contrastive.Matrix {
	checkGradient("Dropout", dy, l.y)
	switch {
	case !wanted:
		return contrastive.Matrix{}
	case l.passed:
		return dy
	}
	l.dy = dy
	dx := resize(&l.dx, dy.Rows, dy.Cols)
	run((*dropoutBackward)(l), dy.Rows, rowGrain(dy.Cols), l.Workers)
	return dx
}

type dropoutBackward Dropout

func (l *dropoutBackward) part(lo, hi int) {
	for i := lo; i < hi; i++ {
		(*Dropout)(l).drop(l.dx.Row(i), l.dy.Row(i), i)
	}
}

// Params implements [Module].
func (l *Dropout) Params() []*Param { return nil }

// Buffers implements [Module].
func (l *Dropout) Buffers() []Tensor { return []Tensor{{"draws", []int{2}, l.draws[:]}} }

// SetWorkers sets Workers.
func (l *Dropout) SetWorkers(n int) { l.Workers = n }
