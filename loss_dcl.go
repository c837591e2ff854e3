package contrastive

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/engine"
)

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
// is ErrShape. It takes Weights, which are those of both views, and gives
// Gradients.Losses. Other inputs are [ErrUnused]; for other errors see [Loss].
type DCL struct {
	// Temperature is τ, in units of the cosine. 0 means 0.1.
	Temperature float32

	// Sigma is σ, in units of the cosine. 0 means that the pairs weigh the same;
	// the value in the paper is 0.5.
	Sigma float32

	Options
}

// Eval implements [Loss].
func (l DCL) Eval(b Batch, g Gradients) (Result, error) { return evaluate(l, b, g) }

func (l DCL) objective(Batch) (objective, error) {
	o := objective{name: "DCL", takes: takesKey | takesWeights | givesLosses, options: l.Options, layout: twoViews, minRows: 2, sigma: float64(l.Sigma), term: byLogistics, logistic: decoupled, linear: true}
	o.parameters[0], o.tau = temperature(l.Temperature, 0.1)
	o.parameters[1] = parameter{"Sigma", l.Sigma, isNonNegative}
	return o, nil
}

// decoupled is R − w·y, with R the log-sum-exp of the negatives, y the logit of the
// positive and w the weight of the pair.
func decoupled(l *logistic, o *objective, s *engine.Stat, cosine, y, _ float64) {
	w := 1.0
	if o.sigma > 0 {
		w = 2 - o.pairs*math.Exp((cosine-o.pairTop)/o.sigma)/o.pairTotal
	}
	y *= w
	l.set(s.LSE[0]-y, -w, 1, s.Mean[0]-y)
}
