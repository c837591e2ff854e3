package contrastive

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/contrastive-go/contrastive/internal/engine"
)

// SupCon is the supervised contrastive loss. The anchors z are the rows of
// Query and, if given, those of Key, a second view with the same labels. With
// P(i) the other anchors of i's label, s the cosine, τ the temperature and τ₀
// the base temperature,
//
//	L = (τ/τ₀) · mean_i −1/|P(i)| · Σ_{p∈P(i)} log( exp(s(zᵢ,z_p)/τ) / Σ_{a≠i} exp(s(zᵢ,z_a)/τ) )
//
// in nats. An anchor without positives contributes 0 and counts in the mean.
// Without Labels every pair of views is a class, and the loss is [NTXent] times
// τ/τ₀. The keys of a Queue are compared with the anchors but are none: those
// with an anchor's label are positives, as in the cross-batch memory of Wang,
// Zhang, Huang and Scott (2020).
//
// It is equation 2 ("out") of Khosla et al., "Supervised Contrastive Learning"
// (2020), with the factor τ/τ₀ of its authors' code. TemperatureGrad includes
// that of the factor.
//
// Eval takes Query and Labels, and optionally Key and Queue; or Query and Key
// without Labels, of which one must be there: ErrShape. PositiveCosine and
// NegativeCosine are means over the pairs of equal and different labels. Negatives
// are ErrParameter; for other errors see [Loss].
type SupCon struct {
	// Temperature is τ, in units of the cosine. 0 means 0.07.
	Temperature float32

	// BaseTemperature is τ₀. 0 means 0.07. A ratio τ/τ₀ above 2¹⁴, or 2⁸⁰ where τ
	// is at least 1, is ErrParameter: weights would overflow.
	BaseTemperature float32

	Options
}

// Eval implements [Loss].
func (l SupCon) Eval(b Batch, g Gradients) (Result, error) {
	a := supPool.Get().(*supAnchors)
	defer a.release(&supPool, a)
	if err := a.begin("SupCon", b, g, l.Options, usesOptionalKey|usesQueue); err != nil {
		return Result{}, err
	}
	if b.Labels == nil && b.Key.isZero() {
		return Result{}, fmt.Errorf("SupCon: without Key there must be Labels: %w", ErrShape)
	}
	tau, err := a.setTemperature(l.Temperature, 0.07)
	if err != nil {
		return Result{}, err
	}
	base := orDefault(l.BaseTemperature, 0.07)
	if err := checkTemperature("SupCon", "BaseTemperature", base); err != nil {
		return Result{}, err
	}
	if err := a.list(); err != nil {
		return Result{}, err
	}
	a.factor = tau / float64(base)
	limit := maxFactor
	if tau >= 1 {
		limit = maxWarmFactor
	}
	if a.factor > limit {
		return Result{}, fmt.Errorf("SupCon: Temperature %v is %.3g times the BaseTemperature %v and must be at most %.3g times: %w", float32(tau), a.factor, base, limit, ErrParameter)
	}
	a.group()
	a.engine.Run(&a.problem, a)
	a.result.TemperatureGrad = a.result.Loss/tau - a.moment/tau
	a.setCosines(a.cosines())
	return a.result, nil
}

// Weights of pairs are τ/τ₀ over the sum of an anchor's exponentials, in float32 and
// with a gain of 2⁴⁰. The sum is at least 2⁻⁷², and 2⁻² for temperatures from 1 up.
const (
	maxFactor     = 0x1p14
	maxWarmFactor = 0x1p80
)

// supAnchors are anchors with labels.
type supAnchors struct {
	evaluation
	anchors int
	factor  float64 // τ/τ₀
	classes []supClass
	of      []int32   // class of each slot, or none
	order   []int32   // slots by label
	sums    []float64 // for each class, the sum of its vectors, then of its anchors
}

// A supClass is the slots of one label.
type supClass struct {
	members, anchors int
}

// none is the class of slots without a label.
const none = -1

var supPool = sync.Pool{New: func() any { return new(supAnchors) }}

// list makes the list of the anchors and, after them, the keys of the queue.
func (a *supAnchors) list() error {
	b, list := &a.batch, &a.engine.Rows
	if err := a.addTwoViews(list); err != nil {
		return err
	}
	a.anchors = list.Len()
	for i := range a.anchors {
		label := i % a.n
		if b.Labels != nil {
			label = b.Labels[label]
		}
		a.rowLabels = append(a.rowLabels, label)
	}
	if b.Queue != nil && b.Queue.Len() > 0 {
		list.Add(engine.Matrix(b.Queue.Keys()), engine.Matrix{}, false)
		if b.Labels != nil {
			a.rowLabels = append(a.rowLabels, b.Queue.Labels()...)
		}
	}
	a.problem.Rows, a.problem.Cols, a.problem.RowSlots = list, list, a.anchors
	a.problem.Mask.Exclude(0)
	return nil
}

// group sums the vectors of each class. The positives of an anchor enter its
// loss as their sum, which is that of its class without itself.
func (a *supAnchors) group() {
	list, dim := &a.engine.Rows, a.engine.Rows.Dim()
	a.of, a.order, a.classes = a.of[:0], a.order[:0], a.classes[:0]
	for i := range list.Len() {
		a.of = append(a.of, none)
		if i < len(a.rowLabels) {
			a.order = append(a.order, int32(i))
		}
	}
	labels := a.rowLabels
	slices.SortFunc(a.order, func(x, y int32) int {
		return cmp.Or(cmp.Compare(labels[x], labels[y]), cmp.Compare(x, y))
	})
	a.sums = a.sums[:0]
	a.vector = resizeVector(a.vector, dim)
	for k, slot := range a.order {
		if k == 0 || labels[slot] != labels[a.order[k-1]] {
			a.classes = append(a.classes, supClass{})
			a.sums = extend(a.sums, 2*dim)
		}
		class := len(a.classes) - 1
		c := &a.classes[class]
		a.of[slot] = int32(class)
		list.Vector(int(slot), a.vector)
		sums := a.sums[2*dim*class:]
		c.members++
		for d, v := range a.vector {
			sums[d] += float64(v)
		}
		if int(slot) < a.anchors {
			c.anchors++
			for d, v := range a.vector {
				sums[dim+d] += float64(v)
			}
		}
	}
}

// classSum returns the sum of the vectors of a class, or of its anchors.
func (a *supAnchors) classSum(class int32, anchors bool) []float64 {
	dim := a.engine.Rows.Dim()
	at := 2 * dim * int(class)
	if anchors {
		at += dim
	}
	return a.sums[at : at+dim]
}

// positiveSum returns the sum of the cosines of an anchor with its positives,
// and their number.
func (a *supAnchors) positiveSum(i int) (float64, int) {
	a.engine.Rows.Vector(i, a.vector)
	sum := 0.0
	for d, v := range a.classSum(a.of[i], false) {
		x := float64(a.vector[d])
		sum += x * (v - x)
	}
	return sum, a.classes[a.of[i]].members - 1
}

func (a *supAnchors) Row(i int, s engine.Stat) [2]float64 {
	sum, n := a.positiveSum(i)
	if n == 0 {
		return [2]float64{}
	}
	y, weight := sum/float64(n)*a.problem.Scale, a.factor/float64(a.anchors)
	a.result.Loss += weight * (s.LSE[0] - y)
	a.moment += weight * (s.Mean[0] - y)
	return [2]float64{weight}
}

func (a *supAnchors) Col(int, engine.Stat) [2]float64 { panic("contrastive: no column anchors") }

// AddRow adds the pull of the positives of anchor i, and that of the anchors
// whose positive it is.
func (a *supAnchors) AddRow(i int, g []float32, factor float64) {
	c := a.classes[a.of[i]]
	if c.members == 1 {
		return
	}
	weight := a.factor / float64(a.anchors) / float64(c.members-1)
	weight *= factor
	a.engine.Rows.AddScaled(2*weight, i, g) // the class sums contain the anchor itself
	all, anchors := a.classSum(a.of[i], false), a.classSum(a.of[i], true)
	for d := range g {
		g[d] -= float32(weight * (all[d] + anchors[d]))
	}
}

func (a *supAnchors) AddCol(int, []float32, float64) { panic("contrastive: no column anchors") }

// cosines returns the mean cosines of the pairs of equal and different labels.
func (a *supAnchors) cosines() (positive, negative float64) {
	list := &a.engine.Rows
	var sum, pairs float64
	for i := range a.anchors {
		s, n := a.positiveSum(i)
		sum += s
		pairs += float64(n)
	}
	all := float64(a.anchors) * float64(list.Len()-1)
	if pairs > 0 {
		positive = sum / pairs
	}
	if all > pairs {
		negative = (a.engine.PairMean(&a.problem)*all - sum) / (all - pairs)
	}
	return positive, negative
}

// extend appends n zeros to s.
func extend(s []float64, n int) []float64 {
	s = slices.Grow(s, n)
	s = s[:len(s)+n]
	clear(s[len(s)-n:])
	return s
}
