package contrastive

import (
	"fmt"
	"math"
	"runtime"
	"sync"

	"github.com/contrastive-go/contrastive/internal/engine"
)

// An evaluation is the state of one call of Eval. It is part of a value that
// implements engine.Anchors for a family of losses, and is pooled with it, so
// that a loss allocates nothing once it has seen its largest batch.
type evaluation struct {
	engine  *engine.Engine
	problem engine.Problem
	loss    string // name, for errors
	batch   Batch
	grads   Gradients
	n       int // queries

	rowLabels, colLabels []int
	vector               []float32

	result    Result
	moment    float64 // Σ ∂Loss/∂logit·logit, which is -τ·∂Loss/∂τ
	rounding  float64 // error of a similarity
	judged    int     // anchors that have a negative
	accurate  int     // those of them whose positive is more similar than every negative
	positives []float64
}

// uses says what a loss takes besides queries.
type uses uint8

const (
	usesKey uses = 1 << iota
	usesOptionalKey
	usesNegatives
	usesQueue
)

// begin checks everything about a call but the values of the embeddings.
func (e *evaluation) begin(loss string, b Batch, g Gradients, o Options, u uses) error {
	e.engine = engines.Get().(*engine.Engine)
	e.loss, e.batch, e.grads, e.n = loss, b, g, b.Query.Rows
	e.problem = engine.Problem{Workers: o.workers(), Pieces: o.Precision.pieces(), Terms: 1, Exponents: [2]float64{1, 1}}
	e.result, e.moment, e.judged, e.accurate = Result{}, 0, 0, 0
	e.rowLabels, e.colLabels = e.rowLabels[:0], e.colLabels[:0]
	if o.Workers < 0 {
		return fmt.Errorf("%s: Workers is %d and must not be negative: %w", loss, o.Workers, ErrParameter)
	}
	if o.Precision > Medium {
		return fmt.Errorf("%s: Precision is %d, which is none of Highest, High and Medium: %w", loss, o.Precision, ErrParameter)
	}
	e.rounding = o.Precision.rounding()
	return e.checkBatch(u)
}

// pieces is the number of bfloat16 values that are to stand for a float32.
func (p Precision) pieces() int { return engine.MaxPieces - int(p) }

// rounding is more than the error of a similarity from the roundings to bfloat16, or,
// of the Highest precision, in float32 for a few thousand dimensions, which is rarely
// a tenth of what it can be.
func (p Precision) rounding() float64 { return [...]float64{0x1p-20, 0x1p-14, 0x1p-6}[p] }

// maxWorkers bounds the goroutines of an evaluation, each of which has scratch
// memory of up to a MiB. No sweep over pairs has more than 32 tasks at a time.
const maxWorkers = 256

// workers returns the number of goroutines to use.
func (o Options) workers() int {
	if o.Workers == 0 {
		return min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	return min(o.Workers, maxWorkers)
}

func (e *evaluation) checkBatch(u uses) error {
	b, loss := &e.batch, e.loss
	if err := b.Query.check(loss, "Query"); err != nil {
		return err
	}
	if u&usesKey != 0 || u&usesOptionalKey != 0 && !b.Key.isZero() {
		if err := b.Key.checkLike(loss, "Key", b.Query, "Query"); err != nil {
			return err
		}
	} else if !b.Key.isZero() {
		return fmt.Errorf("%s takes no Key: %w", loss, ErrParameter)
	}
	if !b.Negatives.isZero() {
		if u&usesNegatives == 0 {
			return fmt.Errorf("%s takes no Negatives: %w", loss, ErrParameter)
		}
		if err := b.Negatives.check(loss, "Negatives"); err != nil {
			return err
		}
		if b.Negatives.Cols != b.Query.Cols {
			return fmt.Errorf("%s: Negatives is %d×%d, Query is %d×%d: %w", loss, b.Negatives.Rows, b.Negatives.Cols, b.Query.Rows, b.Query.Cols, ErrShape)
		}
	}
	if b.Queue != nil {
		if u&usesQueue == 0 {
			return fmt.Errorf("%s takes no Queue: %w", loss, ErrParameter)
		}
		if b.Queue.Dim() != b.Query.Cols {
			return fmt.Errorf("%s: Queue holds keys of %d dimensions, Query is %d×%d: %w", loss, b.Queue.Dim(), b.Query.Rows, b.Query.Cols, ErrShape)
		}
	}
	if b.Labels != nil && len(b.Labels) != b.Query.Rows {
		return fmt.Errorf("%s: Labels has %d elements, Query is %d×%d: %w", loss, len(b.Labels), b.Query.Rows, b.Query.Cols, ErrShape)
	}
	return e.checkGradients()
}

func (e *evaluation) checkGradients() error {
	inputs := [...]Matrix{e.batch.Query, e.batch.Key, e.batch.Negatives, {}}
	if e.batch.Queue != nil && e.batch.Queue.Len() > 0 {
		inputs[3] = e.batch.Queue.Keys()
	}
	outputs := [...]Matrix{e.grads.Query, e.grads.Key, e.grads.Negatives}
	names := [...]string{"Query", "Key", "Negatives", "Queue"}
	arguments := [...]string{"Gradients.Query", "Gradients.Key", "Gradients.Negatives"}
	for i, out := range outputs {
		if out.isZero() {
			continue
		}
		if inputs[i].isZero() {
			return fmt.Errorf("%s: %s is wanted, but the batch has no %s: %w", e.loss, arguments[i], names[i], ErrShape)
		}
		if err := out.checkLike(e.loss, arguments[i], inputs[i], names[i]); err != nil {
			return err
		}
		for j, in := range inputs {
			if !in.isZero() && overlaps(out, in) {
				return fmt.Errorf("%s: %s overlaps %s: %w", e.loss, arguments[i], names[j], ErrShape)
			}
		}
		for j, other := range outputs[:i] {
			if !other.isZero() && overlaps(out, other) {
				return fmt.Errorf("%s: %s overlaps %s: %w", e.loss, arguments[i], arguments[j], ErrShape)
			}
		}
	}
	return nil
}

// add appends the rows of m to a list of vectors, normalised.
func (e *evaluation) add(p *engine.Panels, m, grad Matrix, name string) error {
	return addRows(e.loss, p, m, grad, name, true)
}

// addRows appends the rows of m to a list of vectors, normalised or as they are.
func addRows(function string, p *engine.Panels, m, grad Matrix, name string, unit bool) error {
	if bad, ok := p.Add(engine.Matrix(m), engine.Matrix(grad), unit); !ok {
		return fmt.Errorf("%s: %s row %d column %d is %v: %w", function, name, bad.Row, bad.Col, bad.Value, ErrNotFinite)
	}
	return nil
}

// addTwoViews appends the queries and then the keys, if there are any.
func (e *evaluation) addTwoViews(p *engine.Panels) error {
	p.Reset(e.batch.Query.Cols)
	if err := e.add(p, e.batch.Query, e.grads.Query, "Query"); err != nil {
		return err
	}
	if e.batch.Key.isZero() {
		return nil
	}
	return e.add(p, e.batch.Key, e.grads.Key, "Key")
}

// setTemperature sets what cosines are multiplied by.
func (e *evaluation) setTemperature(v, ifZero float32) (float64, error) {
	v = orDefault(v, ifZero)
	e.problem.Scale = 1 / float64(v)
	return float64(v), checkTemperature(e.loss, "Temperature", v)
}

// countAccurate counts an anchor that has a negative, and whether its positive is
// more similar than the most similar of them by more than the rounding error of
// similarities, so that collapsed embeddings are not accurate by chance.
func (e *evaluation) countAccurate(positive, top float64) {
	if math.IsInf(top, -1) {
		return
	}
	e.judged++
	if positive > top+e.rounding {
		e.accurate++
	}
}

// accuracy is the share of the accurate among the anchors that have a negative.
func (e *evaluation) accuracy() float64 { return share(float64(e.accurate), float64(e.judged)) }

// setCosines sets the mean cosines of positive and negative pairs.
func (e *evaluation) setCosines(positive, negative float64) {
	e.result.PositiveCosine, e.result.NegativeCosine = clampCosine(positive), clampCosine(negative)
}

// clampCosine returns s without the rounding error by which it is no cosine.
func clampCosine(s float64) float64 { return max(-1, min(s, 1)) }

// share returns part/whole, 0 of nothing.
func share(part, whole float64) float64 {
	if whole == 0 {
		return 0
	}
	return part / whole
}

// release forgets the caller's data and returns v, which e is part of, to pool.
func (e *evaluation) release(pool *sync.Pool, v any) {
	e.batch, e.grads = Batch{}, Gradients{}
	e.problem = engine.Problem{}
	releaseEngine(e.engine)
	e.engine = nil
	pool.Put(v)
}

// engines are shared by all losses and metrics: most of the scratch memory is
// theirs.
var engines = sync.Pool{New: func() any { return engine.New() }}

func releaseEngine(e *engine.Engine) {
	e.Rows.Reset(0)
	e.Cols.Reset(0)
	e.Positives.Reset(0)
	engines.Put(e)
}

// softplus returns log(1 + e^x) and its derivative, 1/(1 + e^-x), without overflow
// and with the relative accuracy of float64 for negative x.
func softplus(x float64) (value, derivative float64) {
	e := math.Exp(-math.Abs(x))
	if x < 0 {
		return math.Log1p(e), e / (1 + e)
	}
	return x + math.Log1p(e), 1 / (1 + e)
}
