package contrastive

import (
	"math"

	"github.com/contrastive-go/contrastive/internal/engine"
)

// The parts of the result that ranks add up.
const (
	partLoss   = iota
	partMoment // Σ ∂Loss/∂logit·logit, which is -τ·∂Loss/∂τ
	partBias
	partJudged   // anchors that have a negative
	partAccurate // those whose positive is more similar than every negative
	partPositive // sum of cosines
	partPositives
	partNegative
	partNegatives
	parts
)

// emptyStat is that of an anchor without pairs.
var emptyStat = engine.Stat{LSE: [2]float64{math.Inf(-1)}, Top: math.Inf(-1)}

// combine returns the Stat of the pairs of two. The log-sum-exp of both is
// log(e^a + e^b), and the mean under both softmaxes has their weights in that.
func combine(a, b engine.Stat) engine.Stat {
	c := engine.Stat{Top: max(a.Top, b.Top), Sum: a.Sum + b.Sum, Weight: a.Weight + b.Weight, Moment: a.Moment + b.Moment}
	if a.LSE[0] < b.LSE[0] {
		a, b = b, a
	}
	c.LSE[0], c.Mean[0] = a.LSE[0], a.Mean[0]
	if w := math.Exp(b.LSE[0] - a.LSE[0]); w > 0 { // not of two that are empty
		c.LSE[0] += math.Log1p(w)
		c.Mean[0] += (b.Mean[0] - a.Mean[0]) * (w / (1 + w))
	}
	return c
}

// run evaluates the loss. The gradients are left where storeGradients finds them.
func (a *shard) run() error {
	if a.travel && !a.ring {
		if err := a.gather(); err != nil {
			return err
		}
	}
	a.problem.Gain = 1 / float64(a.total)
	if a.kind == shardedSigmoid {
		a.problem.Form, a.problem.Bias = engine.Sigmoid, float64(a.parameter)
	}
	if a.direct || a.kind == shardedSigmoid {
		if err := a.walk(pass{sums: true, grads: a.wantAny}); err != nil {
			return err
		}
	} else if err := a.walkTwice(); err != nil {
		return err
	}
	for i, s := range a.rowStats {
		if a.kind == shardedSigmoid {
			a.addPairs(i, s)
		}
	}
	for _, s := range a.positives {
		if a.kind != shardedClasses {
			a.parts[partPositive] += s
			a.parts[partPositives]++
		}
	}
	return a.addUp()
}

// walkTwice is for weights that depend on the sums over all blocks.
func (a *shard) walkTwice() error {
	if err := a.walk(pass{sums: true}); err != nil {
		return err
	}
	message := a.own[a.knownAt(a.rank):]
	for i, s := range a.rowStats {
		a.known[i] = a.problem.Know(s, a.weigh(i, s))
		if a.oneList() {
			message[knownLen*i], message[knownLen*i+1] = a.known[i].Shift, a.known[i].Coef
		}
	}
	if a.symmetric {
		for j := range a.n {
			s := getStat(a.in[statLen*j:])
			k := a.problem.Know(s, a.crossEntropy(j, s))
			message[knownLen*j], message[knownLen*j+1] = k.Shift, k.Coef
		}
	}
	if !a.wantAny {
		return nil
	}
	if a.travel && !a.ring && (a.symmetric || a.oneList()) {
		if err := a.gatherKnown(); err != nil {
			return err
		}
	}
	return a.walk(pass{grads: true})
}

func (a *shard) Row(i int, s engine.Stat) [2]float64 {
	a.rowStats[i] = combine(a.rowStats[i], s)
	if a.direct {
		return [2]float64{a.weigh(i, s)}
	}
	return [2]float64{}
}

func (a *shard) Col(_ int, s engine.Stat) [2]float64 {
	a.colStats = append(a.colStats, s)
	return [2]float64{}
}

// What does not come from pairs of a block is added by storeGradients.
func (a *shard) AddRow(int, []float32, float64) {}
func (a *shard) AddCol(int, []float32, float64) {}

// weigh adds the loss of row anchor i and returns ∂Loss/∂LSE.
func (a *shard) weigh(i int, s engine.Stat) float64 {
	if a.kind == shardedClasses {
		return a.classTerm(i, s)
	}
	a.countAccurate(a.positives[i%a.n], s.Top)
	return a.crossEntropy(i%a.n, s)
}

// crossEntropy adds the loss of an anchor of an example, log(1 + e^(R−y)), with R
// the log-sum-exp of the negatives and y the logit of the positive.
func (a *shard) crossEntropy(example int, s engine.Stat) float64 {
	weight := 1 / float64(a.total)
	if a.symmetric || a.kind == shardedViews {
		weight /= 2
	}
	y := a.positives[example] * a.problem.Scale
	loss, p := softplus(s.LSE[0] - y)
	p *= weight
	a.parts[partLoss] += weight * loss
	a.parts[partMoment] += p * (s.Mean[0] - y)
	a.pull[example] -= p
	return p
}

// classTerm is SupCon's.
func (a *shard) classTerm(i int, s engine.Stat) float64 {
	sum, n := a.classes.positiveSum(i, a.rows()[i*a.dim:(i+1)*a.dim])
	if n == 0 {
		return 0
	}
	a.parts[partPositive] += sum
	a.parts[partPositives] += float64(n)
	y, weight := sum/float64(n)*a.problem.Scale, a.classWeight()
	a.parts[partLoss] += weight * (s.LSE[0] - y)
	a.parts[partMoment] += weight * (s.Mean[0] - y)
	return weight
}

func (a *shard) classWeight() float64 { return a.factor / float64(a.views*a.total) }

// addPairs adds what SigLIP's pairs of query i add up to.
func (a *shard) addPairs(i int, s engine.Stat) {
	gain, bias := a.problem.Gain, a.problem.Bias
	y := a.positives[i] * a.problem.Scale
	loss, slope := softplus(-(y + bias)) // of the positive pair
	a.pull[i] = -slope * gain
	a.parts[partLoss] += gain * (s.Sum + loss)
	a.parts[partBias] += gain * (s.Weight - slope)
	a.parts[partMoment] += gain * (s.Moment - slope*y)
	a.countAccurate(a.positives[i], s.Top)
}

// addUp adds the parts of all ranks in their order.
func (a *shard) addUp() error {
	a.parts[partJudged], a.parts[partAccurate] = float64(a.judged), float64(a.accurate)
	all, err := a.gatherSums(a.parts[:])
	if err != nil {
		return err
	}
	var sum [parts]float64
	for i, v := range all {
		sum[i%parts] += v
	}
	res := &a.result
	res.Loss, res.BiasGrad = sum[partLoss], sum[partBias]
	res.TemperatureGrad = -sum[partMoment] / a.tau
	if a.kind == shardedClasses {
		res.TemperatureGrad += res.Loss / a.tau
		sum[partNegative] -= sum[partPositive]
		sum[partNegatives] -= sum[partPositives]
	}
	res.Accuracy = share(sum[partAccurate], sum[partJudged])
	a.setCosines(share(sum[partPositive], sum[partPositives]), share(sum[partNegative], sum[partNegatives]))
	return nil
}

// storeGradients adds the pull of positives to the gradients of this rank's rows
// and takes them back through the normalisation.
func (a *shard) storeGradients() {
	keys := a.keyCount(a.rank)
	if a.oneList() {
		a.store(a.grads.Query, 0, a.rowGrad, 0)
		a.store(a.grads.Key, a.n, a.rowGrad, a.n)
		return
	}
	a.store(a.grads.Query, 0, a.rowGrad, 0)
	if keys > 0 {
		a.store(a.grads.Key, a.n, a.in, 0)
	} else {
		a.store(a.grads.Key, a.n, nil, 0)
	}
	a.store(a.grads.Negatives, 2*a.n, a.in, keys)
}

// store stores the gradients of the rows from slot first on of the local list.
// Those with respect to their vectors are in the rows of grad from row on; a nil
// grad is 0.
func (a *shard) store(dst Matrix, first int, grad []float32, row int) {
	local, d := &a.engine.Positives, a.dim
	a.vector = resizeVector(a.vector, d)
	for i := range dst.Rows {
		clear(a.vector)
		if grad != nil {
			copy(a.vector, grad[(row+i)*d:(row+i+1)*d])
		}
		slot := first + i
		switch {
		case slot >= 2*a.n: // negatives
		case a.kind == shardedClasses:
			a.classes.addPull(slot, a.problem.Scale*a.classWeight(), a.rows()[slot*d:(slot+1)*d], a.vector)
		default:
			local.AddScaled(a.problem.Scale*a.pull[slot%a.n], (slot+a.n)%(2*a.n), a.vector)
		}
		local.Store(slot, a.vector, 1)
	}
}
