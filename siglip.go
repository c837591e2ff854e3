package contrastive

import (
	"fmt"
	"sync"

	"github.com/contrastive-go/contrastive/internal/engine"
)

// SigLIP is the pairwise sigmoid loss. For N pairs with cosines s, the
// temperature τ and the bias b,
//
//	L = −1/N · Σᵢⱼ log σ( yᵢⱼ·(sᵢⱼ/τ + b) ), yᵢⱼ = 1 if i = j and −1 otherwise
//
// in nats: a sum over all N² pairs, divided by N. No pair needs another's
// similarity.
//
// It is the loss of section 3.2 of Zhai, Mustafa, Kolesnikov and Beyer, "Sigmoid
// Loss for Language Image Pre-Training" (2023), which starts at τ = 0.1 and b = −10 and
// learns log(1/τ), whose gradient is −τ·TemperatureGrad, and b, whose gradient
// is BiasGrad.
//
// Eval takes Query and Key. Accuracy is that of queries among keys. Other inputs are
// ErrParameter, except Labels, which mean nothing here; for other errors see [Loss].
type SigLIP struct {
	// Temperature is τ, in units of the cosine. 0 means 0.1.
	Temperature float32

	// Bias is b, in units of the logit. It is taken as it is: 0 means 0. Its magnitude
	// is at most 2^100.
	Bias float32

	Options
}

// Eval implements [Loss].
func (l SigLIP) Eval(b Batch, g Gradients) (Result, error) {
	a := sigmoidPool.Get().(*sigmoidAnchors)
	defer a.release(&sigmoidPool, a)
	if err := a.begin("SigLIP", b, g, l.Options, usesKey); err != nil {
		return Result{}, err
	}
	tau, err := a.setTemperature(l.Temperature, 0.1)
	if err != nil {
		return Result{}, err
	}
	if err := checkBias(l.Bias); err != nil {
		return Result{}, err
	}
	en := a.engine
	en.Rows.Reset(b.Query.Cols)
	en.Cols.Reset(b.Query.Cols)
	if err := a.add(&en.Rows, b.Query, g.Query, "Query"); err != nil {
		return Result{}, err
	}
	if err := a.add(&en.Cols, b.Key, g.Key, "Key"); err != nil {
		return Result{}, err
	}
	n := float64(a.n)
	a.problem.Rows, a.problem.Cols = &en.Rows, &en.Cols
	a.problem.Form, a.problem.Bias, a.problem.Gain = engine.Sigmoid, float64(l.Bias), 1/n
	a.problem.Mask.Exclude(0)
	a.pull = a.pull[:0]
	for i := range a.n {
		// The positive pair's term is log(1 + e^−z).
		s := engine.Cosine(&en.Rows, i, &en.Cols, i)
		y := s * a.problem.Scale
		z := y + a.problem.Bias
		loss, slope := softplus(-z)
		w := -slope / n
		a.positives = append(a.positives[:i], s)
		a.pull = append(a.pull, w)
		a.result.Loss += loss / n
		a.result.PositiveCosine += s / n
		a.result.BiasGrad += w
		a.moment += w * y
	}
	a.problem.Mask.Similarities[0] = a.positives
	en.Run(&a.problem, a)
	a.setCosines(a.result.PositiveCosine, en.PairMean(&a.problem))
	a.result.TemperatureGrad = -a.moment / tau
	a.result.Accuracy = a.accuracy()
	return a.result, nil
}

// maxBias keeps logits, of at most 2^100 without it, and their sums within float32.
const maxBias = 0x1p100

func checkBias(v float32) error {
	if !(v >= -maxBias && v <= maxBias) {
		return fmt.Errorf("SigLIP: Bias is %v and must be at most 2^100 (%.3g) in magnitude: %w", v, maxBias, ErrParameter)
	}
	return nil
}

// sigmoidAnchors are pairs that count one by one.
type sigmoidAnchors struct {
	evaluation
	pull []float64 // ∂Loss/∂(logit of the positive pair)
}

var sigmoidPool = sync.Pool{New: func() any { return new(sigmoidAnchors) }}

func (a *sigmoidAnchors) Row(i int, s engine.Stat) [2]float64 {
	a.countAccurate(a.positives[i], s.Top)
	a.result.Loss += a.problem.Gain * s.Sum
	a.result.BiasGrad += a.problem.Gain * s.Weight
	a.moment += a.problem.Gain * s.Moment
	return [2]float64{}
}

func (a *sigmoidAnchors) Col(int, engine.Stat) [2]float64 { panic("contrastive: no column anchors") }

func (a *sigmoidAnchors) AddRow(i int, g []float32, factor float64) {
	a.engine.Cols.AddScaled(factor*a.pull[i], i, g)
}

func (a *sigmoidAnchors) AddCol(j int, g []float32, factor float64) {
	a.engine.Rows.AddScaled(factor*a.pull[j], j, g)
}
