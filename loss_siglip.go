package contrastive

import "github.com/contrastive-go/contrastive/internal/engine"

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
// Eval takes Query and Key, and optionally Positives, Labels, KeyLabels, Exclude and
// Weights, and gives Gradients.Losses. The listed pairs of Positives are the ones with
// yᵢⱼ = 1, whatever their Labels; other pairs of one label, and those of Exclude, are left
// out. Accuracy is that of queries among keys. Other inputs are [ErrUnused]; for other
// errors see [Loss].
type SigLIP struct {
	// Temperature is τ, in units of the cosine. 0 means 0.1.
	Temperature float32

	// Bias is b, in units of the logit. It is taken as it is: 0 means 0, not the −10 of
	// the paper. Its magnitude is at most 2^100.
	Bias float32

	Options
}

// Eval implements [Loss].
func (l SigLIP) Eval(b Batch, g Gradients) (Result, error) { return evaluate(l, b, g) }

func (l SigLIP) objective(Batch) (objective, error) {
	o := objective{name: "SigLIP", takes: takesKey | takesPositives | takesLabels | takesKeyLabels | takesExclude | takesWeights | givesLosses, options: l.Options, inBatch: true, excludesLabels: true, form: engine.Sigmoid, bias: float64(l.Bias), term: byLogistics, logistic: ofPositive}
	o.parameters[0], o.tau = temperature(l.Temperature, 0.1)
	o.parameters[1] = parameter{"Bias", l.Bias, isBias}
	return o, nil
}

// maxBias keeps logits, of at most 2^100 without it, and their sums within float32.
const maxBias = 0x1p100

func isBias(v float32) string {
	if !(v >= -maxBias && v <= maxBias) {
		return "at most 2^100 in magnitude"
	}
	return ""
}

// ofPositive is −z of a positive pair, whose loss is log(1 + e^−z), with z the biased logit.
// Those of the others are log(1 + e^z).
func ofPositive(l *logistic, o *objective, _ *engine.Stat, _, y, _ float64) {
	l.set(-(y + o.bias), -1, 0, -y)
	l.bias = -1
}
