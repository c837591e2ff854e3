// Package draw draws losses and batches for them at random: all that package ref has
// on what batches hold, in every legal combination, and the cases at the edge. All
// numbers are those of float32.
package draw

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/contrastive-go/contrastive/internal/ref"
)

// A Case is a loss and a batch that it takes.
type Case struct {
	Loss  ref.Loss
	Batch ref.Batch
	rows  string // their kind
}

// New draws a case whose inputs have at most the given number of rows each, and of
// columns. No filter compares what is closer to its threshold than two errors of
// cosines in float32.
func New(r *rand.Rand, rows, cols int) Case {
	for {
		d := drawer{Rand: r, rows: rows, cols: cols}
		d.draw()
		if d.c.Loss.Eval(d.c.Batch).Kink > 2*float64(len(d.c.Batch.Query[0])+8)*0x1p-24 {
			return d.c
		}
	}
}

// String names the loss and what the batch holds.
func (c Case) String() string {
	b := &c.Batch
	parts := []string{fmt.Sprintf("%T%+v N=%d K=%d D=%d %s", c.Loss, c.Loss, len(b.Query), len(b.Key), len(b.Query[0]), c.rows)}
	for _, input := range [...]struct {
		name string
		rows [][]float64
	}{
		{"Negatives", b.Negatives}, {"Hard", b.Hard}, {"Queue", b.Queue},
		{"GuideQuery", b.GuideQuery}, {"GuideNegatives", b.GuideNegatives},
	} {
		if input.rows != nil {
			parts = append(parts, fmt.Sprintf("%s %d×%d", input.name, len(input.rows), len(input.rows[0])))
		}
	}
	for _, list := range [...]struct {
		name  string
		given bool
	}{
		{"HardCounts", b.HardCounts != nil}, {"Positives", b.Positives != nil}, {"PositiveWeights", b.PositiveWeights != nil},
		{"Exclude", b.Exclude != nil}, {"Labels", b.Labels != nil}, {"KeyLabels", b.KeyLabels != nil},
		{"NegativeLabels", b.NegativeLabels != nil}, {"QueueLabels", b.QueueLabels != nil}, {"Weights", b.Weights != nil},
		{"KeyLogQ", b.KeyLogQ != nil}, {"NegativeLogQ", b.NegativeLogQ != nil},
	} {
		if list.given {
			parts = append(parts, list.name)
		}
	}
	return strings.Join(parts, " ")
}

type drawer struct {
	*rand.Rand
	rows, cols int
	c          Case
}

func (d *drawer) chance(p float64) bool { return d.Float64() < p }

// between returns a float32.
func (d *drawer) between(low, high float64) float64 {
	return float64(float32(low + (high-low)*d.Float64()))
}

// size returns a number from 1 to most: every other time a small one, or one at the
// edge of what a tile may be.
func (d *drawer) size(most int) int {
	switch d.IntN(4) {
	case 0:
		most = min(most, 3)
	case 1:
		return min(most, max(1, []int{8, 16, 32, 64}[d.IntN(4)]+d.IntN(3)-1))
	}
	return 1 + d.IntN(most)
}

func pick[T any](d *drawer, from ...T) T { return from[d.IntN(len(from))] }

func (d *drawer) temperature() float64 {
	return float64(float32(pick(d, 0.01, 0.019, 0.021, 0.05, 0.07, 0.1, 0.5, 1, 10)))
}

func (d *drawer) draw() {
	switch d.IntN(12) {
	default:
		d.drawQueriesAmongKeys(d.among(true, d.size(d.rows)))
	case 0, 1:
		d.drawTwoViews(d.twoView())
	case 2:
		d.drawClasses(true)
	case 3:
		switch d.IntN(6) {
		case 0:
			d.drawTwoViews(d.twoView())
		case 1:
			d.drawClasses(false)
		case 2:
			d.drawSum(false)
		default:
			d.drawQueriesAmongKeys(d.among(false, d.size(d.rows)))
		}
		d.c.Loss = d.matryoshka(d.c.Loss)
	case 4:
		d.drawSum(true)
	}
}

// plan is what a loss of queries among keys leaves to its batch.
type plan struct {
	loss                        ref.Loss
	n                           int
	negatives, hard, queue      bool
	positives, positiveWeights  bool
	weights, logQ, guide, dot   bool
	needsPairs                  bool // K = N
	labels, excludes            bool
	negativeLabels, queueLabels bool
}

// among draws a loss of queries among keys for n queries.
func (d *drawer) among(queue bool, n int) plan {
	p := plan{
		n: n, positives: d.chance(0.6), weights: d.chance(0.4), labels: d.chance(0.35), excludes: d.chance(0.3),
		negativeLabels: d.chance(0.6), queueLabels: d.chance(0.6),
	}
	form := pick(d, ref.Separate, ref.Shared, ref.Any)
	filter, margin := ref.NoFilter, 0.0
	if d.chance(0.35) {
		filter, margin = pick(d, ref.AbsoluteMargin, ref.RelativeMargin), d.between(-0.3, 0.3)
	}
	switch d.IntN(8) {
	case 0:
		p.loss = ref.SigLIP{Temperature: d.temperature(), Bias: d.between(-10, 2)}
		return p
	case 1:
		p.loss = ref.CLIP{Temperature: d.temperature(), Form: form, Filter: filter, FilterMargin: margin}
		p.weights = p.weights && !p.positives
	default:
		l := ref.InfoNCE{
			Temperature: d.temperature(), Symmetric: d.chance(0.25), InBatch: d.chance(0.5), Form: form,
			Filter: filter, FilterMargin: margin, Dot: d.chance(0.2),
		}
		if l.Dot {
			p.dot = true
			l.Temperature = d.between(0.25, 4)
		}
		if d.chance(0.25) {
			l.Margin = d.between(0, 0.5)
		}
		if d.chance(0.25) {
			l.Hardness = d.between(0, 9)
		}
		p.negatives, p.hard, p.queue = d.chance(0.3), d.chance(0.4), queue && d.chance(0.3)
		p.logQ = d.chance(0.25)
		if l.Symmetric {
			l.InBatch = l.InBatch || p.negatives || p.hard || p.queue
			p.weights = p.weights && !p.positives
		}
		p.loss = l
	}
	p.positiveWeights = p.positives && form != ref.Any && d.chance(0.5)
	p.guide = filter != ref.NoFilter && d.chance(0.5)
	return p
}

// drawQueriesAmongKeys draws what a plan has.
func (d *drawer) drawQueriesAmongKeys(p plan) {
	b := &d.c.Batch
	d.c.Loss = p.loss
	n, k, dim := p.n, p.n, d.size(d.cols)
	if p.positives && !p.needsPairs && d.chance(0.7) {
		k = d.size(d.rows)
	}
	b.Query, b.Key = d.normal(n, dim), d.normal(k, dim)
	if p.positives {
		b.Positives = d.lists(n, k)
	}
	if p.positiveWeights {
		for _, list := range b.Positives {
			b.PositiveWeights = append(b.PositiveWeights, d.weights(len(list), nil))
		}
	}
	if p.excludes {
		b.Exclude = d.excluded(n, k)
	}
	if p.negatives {
		b.Negatives = d.normal(d.size(d.rows), dim)
	}
	if p.hard {
		d.drawHard(n, dim)
	}
	if p.queue {
		b.Queue = d.normal(d.size(d.rows), dim)
	}
	if p.labels {
		b.Labels = d.labels(n)
		if d.chance(0.5) {
			b.KeyLabels = d.labels(k)
		}
		if p.negatives && p.negativeLabels {
			b.NegativeLabels = d.labels(len(b.Negatives))
		}
		if p.queue && p.queueLabels {
			b.QueueLabels = d.labels(len(b.Queue))
		}
	}
	if p.weights {
		b.Weights = d.weights(n, func(i int) bool { return b.Positives == nil || len(b.Positives[i]) > 0 })
	}
	if p.logQ {
		which := d.IntN(3)
		if which > 0 || !p.negatives {
			b.KeyLogQ = d.logQ(k)
		}
		if which < 2 && p.negatives {
			b.NegativeLogQ = d.logQ(len(b.Negatives))
		}
	}
	if p.guide {
		dim := d.size(d.cols)
		b.GuideQuery, b.GuideKey = d.normal(n, dim), d.normal(k, dim)
		if p.negatives && d.chance(0.7) {
			b.GuideNegatives = d.normal(len(b.Negatives), dim)
		}
	}
	d.dress(p.dot)
}

// twoView draws a loss of two views for at least two pairs.
func (d *drawer) twoView() (ref.Loss, int) {
	n := min(1+d.size(d.rows), max(2, d.rows))
	switch d.IntN(3) {
	case 0:
		return ref.NTXent{Temperature: d.temperature()}, n
	case 1:
		return ref.DCL{Temperature: d.temperature(), Sigma: pick(d, 0, 0.5)}, n
	}
	return ref.HardNegative{Temperature: d.temperature(), Beta: pick(d, 0, 0.5, 1), TauPlus: pick(d, 0, 0.0625)}, n
}

func (d *drawer) drawTwoViews(l ref.Loss, n int) {
	b, dim := &d.c.Batch, d.size(d.cols)
	d.c.Loss = l
	b.Query, b.Key = d.normal(n, dim), d.normal(n, dim)
	if _, ok := l.(ref.NTXent); ok && d.chance(0.5) {
		b.Labels = d.labels(n)
	}
	if d.chance(0.6) {
		b.Weights = d.weights(n, nil)
	}
	d.dress(false)
}

func (d *drawer) drawClasses(queue bool) {
	b, n, dim := &d.c.Batch, d.size(d.rows), d.size(d.cols)
	d.c.Loss = ref.SupCon{Temperature: d.temperature(), BaseTemperature: 0.25}
	b.Query, b.Labels = d.normal(n, dim), d.labels(n)
	if d.chance(0.6) {
		b.Key = d.normal(n, dim)
	}
	if queue && d.chance(0.4) {
		b.Queue = d.normal(d.size(d.rows), dim)
		if d.chance(0.7) {
			b.QueueLabels = d.labels(len(b.Queue))
		}
	}
	if d.chance(0.6) {
		b.Weights = d.weights(n, nil)
	}
	d.dress(false)
}

// matryoshka draws dimensions for a loss.
func (d *drawer) matryoshka(l ref.Loss) ref.Loss {
	dim := len(d.c.Batch.Query[0])
	dims := d.Perm(dim)[:1+d.IntN(min(dim, 3))]
	for k := range dims {
		dims[k]++
	}
	m := ref.Matryoshka{Loss: l, Dims: dims}
	if d.chance(0.5) {
		m.Weights = d.weights(len(dims), nil)
	}
	return m
}

// drawSum draws a sum whose first loss can use all that the batch holds.
func (d *drawer) drawSum(queue bool) {
	p := d.among(queue, max(2, d.size(d.rows)))
	first, ok := p.loss.(ref.InfoNCE)
	p.needsPairs = true
	d.drawQueriesAmongKeys(p)
	sum := ref.Sum{Losses: []ref.Loss{d.c.Loss}}
	for range 1 + d.IntN(2) {
		tau := d.temperature()
		switch d.IntN(4) {
		case 0:
			if ok {
				first.Temperature, first.Margin, first.Hardness = max(tau, 0.5), 0.25, 0
				sum.Losses = append(sum.Losses, first)
			}
		case 1:
			if !p.positives || !p.weights { // keys have no weights
				sum.Losses = append(sum.Losses, ref.CLIP{Temperature: tau})
			}
		case 2:
			sum.Losses = append(sum.Losses, ref.SigLIP{Temperature: tau, Bias: -2})
		default:
			l, _ := d.twoView()
			sum.Losses = append(sum.Losses, l)
		}
	}
	if d.chance(0.5) {
		sum.Weights = d.weights(len(sum.Losses), nil)
	}
	d.c.Loss = sum
}

func (d *drawer) normal(rows, cols int) [][]float64 {
	m := make([][]float64, rows)
	for i := range m {
		m[i] = make([]float64, cols)
		for j := range m[i] {
			m[i][j] = d.NormFloat64()
		}
	}
	return m
}

// labels draws class ids that are seldom or often equal, or all one.
func (d *drawer) labels(n int) []int {
	classes := pick(d, 1, 2, 1+n/2, 1+3*n)
	ids := make([]int, n)
	for i := range ids {
		ids[i] = d.IntN(classes) - 2
	}
	return ids
}

// weights draws weights some of which are 0, but not all of those that count.
func (d *drawer) weights(n int, counts func(i int) bool) []float64 {
	w := make([]float64, n)
	for i := range w {
		if !d.chance(0.2) {
			w[i] = d.between(0.1, 3)
		}
	}
	for i := range w {
		if counts == nil || counts(i) {
			w[i] = max(w[i], 0.25)
			break
		}
	}
	return w
}

func (d *drawer) logQ(n int) []float64 {
	q, least := make([]float64, n), pick(d, -8, -30, -200.0)
	for i := range q {
		q[i] = d.between(least, 1)
	}
	return q
}

// lists draws rows of Key for each query, none for some, but not for all.
func (d *drawer) lists(n, k int) [][]int {
	lists := make([][]int, n)
	for i := range lists {
		count := 1 + d.IntN(3)
		switch d.IntN(12) {
		case 0:
			count = k
		case 1, 2:
			count = 0
		}
		lists[i] = d.Perm(k)[:min(count, k)]
	}
	if i := d.IntN(n); len(lists[i]) == 0 {
		lists[i] = []int{d.IntN(k)}
	}
	return lists
}

// excluded draws rows of Key that no query lists, all of them for some.
func (d *drawer) excluded(n, k int) [][]int {
	lists := d.lists(n, k)
	for i := range lists {
		lists[i] = slices.DeleteFunc(lists[i], func(j int) bool {
			if d.c.Batch.Positives == nil {
				return i == j
			}
			return slices.Contains(d.c.Batch.Positives[i], j)
		})
	}
	return lists
}

// drawHard draws as many negatives for each query, or any number.
func (d *drawer) drawHard(n, dim int) {
	b, total := &d.c.Batch, 0
	if d.chance(0.4) {
		total = n * (1 + d.IntN(3))
	} else {
		b.HardCounts = make([]int, n)
		for i := range b.HardCounts {
			b.HardCounts[i] = max(0, d.IntN(6)-1)
			total += b.HardCounts[i]
		}
		if total == 0 {
			b.HardCounts[d.IntN(n)], total = 2, 2
		}
	}
	b.Hard = d.normal(total, dim)
}

// dress gives the rows of a batch their kind and rounds them. With dot products, norms
// are near 1 or, seldom, near 8: then the greatest logits are in the hundreds.
func (d *drawer) dress(dot bool) {
	b := &d.c.Batch
	inputs := [...][][]float64{b.Query, b.Key, b.Negatives, b.Hard, b.Queue, b.GuideQuery, b.GuideKey, b.GuideNegatives}
	each := func(f func(row []float64)) {
		for _, m := range inputs {
			for _, row := range m {
				f(row)
			}
		}
	}
	move := func(noise float64) {
		for j, row := range b.Key {
			for c := range row {
				row[c] = b.Query[j%len(b.Query)][c] + noise*row[c]
			}
		}
	}
	switch d.IntN(9) {
	case 0:
		d.c.rows = "mixed norms"
		if !dot {
			each(func(row []float64) { scale(row, math.Exp2(float64(d.IntN(20)-10))) })
		}
	case 1:
		d.c.rows = "near"
		move(0.1)
	case 2:
		d.c.rows = "same"
		move(0)
	case 3:
		d.c.rows = "one direction"
		first := slices.Clone(b.Query[0])
		each(func(row []float64) { copy(row, first) })
	case 4:
		d.c.rows = "opposite"
		move(0)
		for _, row := range b.Key {
			scale(row, -1)
		}
	case 5:
		d.c.rows = "some zeros"
		each(func(row []float64) {
			if d.chance(0.2) {
				clear(row)
			}
		})
	default:
		d.c.rows = "normal"
	}
	if dot {
		norm := pick(d, 1, 1, 1, 8.0)
		each(func(row []float64) { scale(row, norm*d.between(0.5, 2)/math.Sqrt(float64(len(row)))) })
	}
	each(func(row []float64) {
		for c, x := range row {
			row[c] = float64(float32(x))
		}
	})
	for _, row := range b.Queue { // unit vectors
		norm := 0.0
		for _, x := range row {
			norm += x * x
		}
		if norm > 0 {
			scale(row, 1/math.Sqrt(norm))
		}
	}
}

func scale(row []float64, f float64) {
	for c := range row {
		row[c] *= f
	}
}
