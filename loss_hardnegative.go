package contrastive

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/engine"
)

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
// Eval takes Query and Key, and optionally Weights, which are those of both views, and
// gives Gradients.Losses. Beta and TauPlus out of range are ErrParameter, and other inputs
// [ErrUnused]; for other errors see [Loss].
type HardNegative struct {
	// Temperature is τ, in units of the cosine. 0 means 0.5.
	Temperature float32

	// Beta is β, the concentration on hard negatives: at least 0. It is taken as it
	// is: 0 means 0.
	Beta float32

	// TauPlus is τ⁺, the probability that a negative is of the anchor's class:
	// at least 0 and less than 1. It is taken as it is: 0 means 0.
	TauPlus float32

	Options
}

// Eval implements [Loss].
func (l HardNegative) Eval(b Batch, g Gradients) (Result, error) { return evaluate(l, b, g) }

func (l HardNegative) objective(Batch) (objective, error) {
	o := objective{name: "HardNegative", takes: takesKey | takesWeights | givesLosses, options: l.Options, layout: twoViews, tauPlus: float64(l.TauPlus), term: byLogistics, logistic: againstHard}
	o.parameters[0], o.tau = temperature(l.Temperature, 0.5)
	o.parameters[1] = parameter{"Beta", l.Beta, isBeta}
	o.parameters[2] = parameter{"TauPlus", l.TauPlus, isPrior}
	if float64(l.Beta)/o.tau >= minBeta {
		o.terms, o.exponents = 2, [2]float64{1 + float64(l.Beta), float64(l.Beta)}
	}
	return o, nil
}

const (
	maxBeta = 1 << 16 // keeps exponents, β·log₂e/τ, far from overflow
	minBeta = 0x1p-30 // below this β/τ the weights wₙ are 1 to the precision of float32
)

func isBeta(v float32) string {
	if v > maxBeta {
		return "at most 65536"
	}
	return isNonNegative(v)
}

func isPrior(v float32) string {
	if !(v >= 0 && v < 1) {
		return "at least 0 and less than 1"
	}
	return ""
}

// againstHard is log G − y, in logarithms: G is e^log, from A = Σₙ wₙ·exp(sₙ/τ) = e^total and
// B = τ⁺·M·e⁺ = e^bias. The floor of G depends on τ, but on no similarity.
func againstHard(l *logistic, o *objective, s *engine.Stat, _, y, _ float64) {
	if o.pairs == 1 {
		l.set(math.Inf(-1), 0, 0, 0)
		return
	}
	total := s.LSE[0]
	if o.terms == 2 {
		total += o.logM - s.LSE[1]
	}
	bias := o.logFalse + y
	log, floor, share := o.logM-1/o.tau, true, 0.0 // share is ∂log G/∂total; ∂log G/∂bias is 1 − share
	if ratio := math.Exp(bias - total); ratio < 1 {
		if v := total + math.Log1p(-ratio) - o.logTrue; v > log {
			log, floor, share = v, false, 1/(1-ratio)
		}
	}
	if floor {
		l.set(log-y, -1, 0, -(1/o.tau + y))
		return
	}
	l.set(log-y, -share, share, share*(s.Mean[0]-y))
	if o.terms == 2 {
		l.second = -share
		l.moment -= share * s.Mean[1]
	}
}
