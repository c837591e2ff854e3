package contrastive

import (
	"fmt"
	"math"
	"sync"

	"github.com/contrastive-go/contrastive/internal/engine"
)

// NTXent is the normalised temperature-scaled cross-entropy loss of SimCLR. The
// rows of Query and Key are two views of N examples, and all 2N of them, z, are
// anchors. With p(i) the other view of i, s the cosine and τ the temperature,
//
//	L = −1/2N · Σᵢ log( exp(s(zᵢ,z_p(i))/τ) / Σ_{a≠i} exp(s(zᵢ,z_a)/τ) )
//
// in nats: log(2N−1) when all cosines are equal. With Labels, examples of one
// label are no negatives of each other.
//
// It is equation 1 of Chen, Kornblith, Norouzi and Hinton, "A Simple Framework
// for Contrastive Learning of Visual Representations" (2020).
//
// Eval takes Query and Key, and optionally Labels. Other inputs are ErrParameter;
// for other errors see [Loss].
type NTXent struct {
	// Temperature is τ, in units of the cosine. 0 means 0.5.
	Temperature float32

	Options
}

// Eval implements [Loss].
func (l NTXent) Eval(b Batch, g Gradients) (Result, error) {
	a := viewPool.Get().(*viewAnchors)
	defer a.release(&viewPool, a)
	if err := a.beginViews("NTXent", b, g, l.Options, l.Temperature, 0.5); err != nil {
		return Result{}, err
	}
	if b.Labels != nil {
		a.colLabels = append(append(a.colLabels, b.Labels...), b.Labels...)
		a.problem.Mask.RowLabels, a.problem.Mask.ColLabels = a.colLabels, a.colLabels
	}
	a.term = (*viewAnchors).crossEntropy
	return a.run(), nil
}

// crossEntropy is log(1 + e^(R−y)), with R the log-sum-exp of the negatives and
// y the logit of the positive.
func (a *viewAnchors) crossEntropy(_ int, y float64, s engine.Stat) anchorTerm {
	loss, p := softplus(s.LSE[0] - y)
	return anchorTerm{loss: loss, lse: [2]float64{p}, positive: -p}
}

// DCL is the decoupled contrastive loss: [NTXent] without the positive pair in
// the denominator, and with Sigma its weighted form. The rows of Query and Key
// are two views of N examples, and all 2N of them, z, are anchors. With p(i) the
// other view of i, s the cosine and τ the temperature,
//
//	L = 1/2N · Σᵢ [ −wᵢ·s(zᵢ,z_p(i))/τ + log Σ_{a≠i,p(i)} exp(s(zᵢ,z_a)/τ) ]
//
// in nats. It has no lower bound of 0. The weights are 1, or, for Sigma σ > 0,
// those of DCLW, through which no gradient flows:
//
//	wᵢ = 2 − N · exp(s(zᵢ,z_p(i))/σ) / Σⱼ exp(s(zⱼ,z_p(j))/σ), j over the N pairs
//
// These are L_DC and L_DCW of Yeh, Hong, Hsu, Liu, Chen and LeCun, "Decoupled
// Contrastive Learning" (2022), section 3.
//
// Eval takes Query and Key, of at least two rows: one pair has no negatives, which
// is ErrShape. Other inputs are ErrParameter, except Labels, which mean nothing
// here; for other errors see [Loss].
type DCL struct {
	// Temperature is τ, in units of the cosine. 0 means 0.1.
	Temperature float32

	// Sigma is σ, in units of the cosine. 0 means that the pairs weigh the same;
	// the value in the paper is 0.5.
	Sigma float32

	Options
}

// Eval implements [Loss].
func (l DCL) Eval(b Batch, g Gradients) (Result, error) {
	a := viewPool.Get().(*viewAnchors)
	defer a.release(&viewPool, a)
	if err := a.beginViews("DCL", b, g, l.Options, l.Temperature, 0.1); err != nil {
		return Result{}, err
	}
	if err := checkNonNegative("DCL", "Sigma", l.Sigma); err != nil {
		return Result{}, err
	}
	if a.n < 2 {
		return Result{}, fmt.Errorf("DCL: Query has %d row, and a pair needs another for its negatives: %w", a.n, ErrShape)
	}
	a.term = (*viewAnchors).decoupled
	a.weighPairs(float64(l.Sigma))
	return a.run(), nil
}

func (a *viewAnchors) decoupled(i int, y float64, s engine.Stat) anchorTerm {
	w := a.weights[i%a.n]
	return anchorTerm{loss: s.LSE[0] - w*y, lse: [2]float64{1}, positive: -w}
}

// weighPairs computes the weights of DCLW, or sets them to 1 if sigma is 0.
func (a *viewAnchors) weighPairs(sigma float64) {
	a.weights = a.weights[:0]
	if sigma == 0 {
		for range a.n {
			a.weights = append(a.weights, 1)
		}
		return
	}
	top, sum := math.Inf(-1), 0.0
	for _, s := range a.positives {
		top = max(top, s)
	}
	for _, s := range a.positives {
		e := math.Exp((s - top) / sigma)
		a.weights = append(a.weights, e)
		sum += e
	}
	for i, e := range a.weights {
		a.weights[i] = 2 - float64(a.n)*e/sum
	}
}

// HardNegative is the contrastive loss with hard and debiased negatives. The
// rows of Query and Key are two views of N examples, and all 2N of them, z, are
// anchors. With p(i) the other view of i, s the cosine, τ the temperature and
// M = 2N−2 negatives n of an anchor,
//
//	L = −1/2N · Σᵢ log( e⁺ᵢ / (e⁺ᵢ + Gᵢ) ), e⁺ᵢ = exp(s(zᵢ,z_p(i))/τ)
//	Gᵢ = max( (Σₙ wₙ·exp(s(zᵢ,n)/τ) − τ⁺·M·e⁺ᵢ) / (1−τ⁺), M·exp(−1/τ) )
//	wₙ = exp(β·s(zᵢ,n)/τ) / meanₘ exp(β·s(zᵢ,m)/τ)
//
// in nats. The weights wₙ carry gradient, and TemperatureGrad includes that of the
// floor, M·exp(−1/τ).
//
// Beta > 0 weighs negatives by their hardness: the objective of Robinson,
// Chuang, Sra and Jegelka, "Contrastive Learning with Hard Negative Samples"
// (2021), section 3. Beta = 0 and TauPlus > 0 is the debiased loss: equation 8 of Chuang,
// Robinson, Yen-Chen, Torralba and Jegelka, "Debiased Contrastive Learning"
// (2020). With both 0 it is [NTXent], but for the floor of G.
//
// Eval takes Query and Key. Other inputs are ErrParameter, except Labels, which mean
// nothing here, and so are Beta and TauPlus out of range; for other errors see
// [Loss].
type HardNegative struct {
	// Temperature is τ, in units of the cosine. 0 means 0.5.
	Temperature float32

	// Beta is β, the concentration on hard negatives: at least 0.
	Beta float32

	// TauPlus is τ⁺, the probability that a negative is of the anchor's class:
	// at least 0 and less than 1.
	TauPlus float32

	Options
}

// Eval implements [Loss].
func (l HardNegative) Eval(b Batch, g Gradients) (Result, error) {
	a := viewPool.Get().(*viewAnchors)
	defer a.release(&viewPool, a)
	if err := a.beginViews("HardNegative", b, g, l.Options, l.Temperature, 0.5); err != nil {
		return Result{}, err
	}
	if err := checkNonNegative("HardNegative", "Beta", l.Beta); err != nil {
		return Result{}, err
	}
	if l.Beta > maxBeta {
		return Result{}, fmt.Errorf("HardNegative: Beta is %v and must be at most %v: %w", l.Beta, float64(maxBeta), ErrParameter)
	}
	if !(l.TauPlus >= 0 && l.TauPlus < 1) {
		return Result{}, fmt.Errorf("HardNegative: TauPlus is %v and must be at least 0 and less than 1: %w", l.TauPlus, ErrParameter)
	}
	a.tauPlus = float64(l.TauPlus)
	a.term = (*viewAnchors).hard
	if float64(l.Beta)*a.problem.Scale >= minBeta {
		a.problem.Terms, a.problem.Exponents = 2, [2]float64{1 + float64(l.Beta), float64(l.Beta)}
	}
	return a.run(), nil
}

const (
	maxBeta = 1 << 16 // keeps exponents, β·log₂e/τ, far from overflow
	minBeta = 0x1p-30 // below this β/τ the weights wₙ are 1 to the precision of float32
)

// hard computes in logarithms: G is e^log, from A = Σₙ wₙ·exp(sₙ/τ) = e^total
// and B = τ⁺·M·e⁺ = e^bias.
func (a *viewAnchors) hard(_ int, y float64, s engine.Stat) anchorTerm {
	m := float64(2*a.n - 2)
	if m == 0 {
		return anchorTerm{}
	}
	total := s.LSE[0]
	if a.problem.Terms == 2 {
		total += math.Log(m) - s.LSE[1]
	}
	bias := math.Log(a.tauPlus*m) + y
	floor := math.Log(m) - a.problem.Scale
	log, share := floor, 0.0 // share is ∂log G/∂total; ∂log G/∂bias is 1 − share
	if ratio := math.Exp(bias - total); ratio < 1 {
		if v := total + math.Log1p(-ratio) - math.Log1p(-a.tauPlus); v > floor {
			log, share = v, 1/(1-ratio)
		}
	}
	loss, p := softplus(log - y)
	t := anchorTerm{loss: loss, lse: [2]float64{p * share, -p * share}, positive: -p}
	if share > 0 {
		t.positive += p * (1 - share)
	} else {
		t.floor = p
	}
	return t
}

// viewAnchors are the rows of two views of a batch.
type viewAnchors struct {
	evaluation
	term    func(a *viewAnchors, i int, y float64, s engine.Stat) anchorTerm
	weights []float64 // of the positives, for each pair
	tauPlus float64
	pull    []float64 // ∂Loss/∂(logit of the positive pair), for each pair
}

// An anchorTerm is the loss of one anchor and its derivatives with respect to
// the log-sum-exps of the negatives, the logit of the positive, and −1/τ.
type anchorTerm struct {
	loss     float64
	lse      [2]float64
	positive float64
	floor    float64
}

var viewPool = sync.Pool{New: func() any { return new(viewAnchors) }}

// beginViews checks the call and lists the anchors: the queries, then the keys.
func (a *viewAnchors) beginViews(loss string, b Batch, g Gradients, o Options, temperature, ifZero float32) error {
	if err := a.begin(loss, b, g, o, usesKey); err != nil {
		return err
	}
	if _, err := a.setTemperature(temperature, ifZero); err != nil {
		return err
	}
	if err := a.addTwoViews(&a.engine.Rows); err != nil {
		return err
	}
	list := &a.engine.Rows
	a.problem.Rows, a.problem.Cols, a.problem.RowSlots = list, list, 2*a.n
	a.positives, a.pull = a.positives[:0], a.pull[:0]
	for i := range a.n {
		a.positives = append(a.positives, engine.Cosine(list, i, list, a.n+i))
		a.pull = append(a.pull, 0)
	}
	m := &a.problem.Mask
	m.Exclude(0)
	m.Exclude(a.n)
	m.Exclude(-a.n)
	m.Similarities[1], m.Similarities[2] = a.positives, a.positives
	return nil
}

func (a *viewAnchors) run() Result {
	a.engine.Run(&a.problem, a)
	for _, s := range a.positives {
		a.result.PositiveCosine += s / float64(a.n)
	}
	a.setCosines(a.result.PositiveCosine, a.engine.PairMean(&a.problem))
	a.result.TemperatureGrad = -a.moment * a.problem.Scale
	a.result.Accuracy = a.accuracy()
	return a.result
}

func (a *viewAnchors) Row(i int, s engine.Stat) [2]float64 {
	cosine := a.positives[i%a.n]
	a.countAccurate(cosine, s.Top)
	y, weight := cosine*a.problem.Scale, 1/float64(2*a.n)
	t := a.term(a, i, y, s)
	a.result.Loss += weight * t.loss
	a.pull[i%a.n] += weight * t.positive
	a.moment += weight * (t.lse[0]*s.Mean[0] + t.lse[1]*s.Mean[1] + t.positive*y - t.floor*a.problem.Scale)
	return [2]float64{weight * t.lse[0], weight * t.lse[1]}
}

func (a *viewAnchors) Col(int, engine.Stat) [2]float64 { panic("contrastive: no column anchors") }

// AddRow adds the pull of the positive pair, which both its anchors exert.
func (a *viewAnchors) AddRow(i int, g []float32, factor float64) {
	a.engine.Rows.AddScaled(factor*a.pull[i%a.n], (i+a.n)%(2*a.n), g)
}

func (a *viewAnchors) AddCol(int, []float32, float64) { panic("contrastive: no column anchors") }
