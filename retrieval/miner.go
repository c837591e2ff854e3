package retrieval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/simd"
)

// A Miner finds hard negatives: keys that are near a query and no positives of it. Of the
// Depth nearest of these it takes those that Filter, Min and Max keep, leaves out the
// first Skip, and returns the first Count of the rest.
//
// It is the procedure of sentence-transformers' mine_hard_negatives. Filters by the
// positive's cosine are those of Moreira et al., "NV-Retriever" (2024):
// RelativeMargin with −0.05 is their TopK-PercPos of 95 %.
type Miner struct {
	// Count is the number of negatives of each query. It must be positive.
	Count int

	// Skip is the number of nearest candidates that are left out: the most likely to be
	// positives that nobody has listed.
	Skip int

	// Depth is the number of nearest keys that are looked at, positives aside, and
	// exceeds Skip. Zero means Skip + Count, and 10·Count more with a Filter, Min or Max.
	Depth int

	// Filter leaves out keys whose cosine is greater than a limit, by FilterMargin from
	// the least cosine of the query's positives: a margin of −0.1 asks for negatives that
	// are that much less similar. A query without positives has no such limit.
	Filter       contrastive.Filter
	FilterMargin float32

	// Min and Max are the least and the greatest cosine of a negative. Zero means no
	// bound.
	Min, Max float32

	// Random chooses Count of the candidates at random, with equal chances, instead of
	// the first. They are returned nearest first, too. Seed makes another choice.
	Random bool
	Seed   uint64

	Options
}

// Mine returns, for each of the N×D queries, rows of the K×D keys that are negatives of
// it, nearest first, in the form of [contrastive.Batch]'s lists. There may be fewer than
// Count. Keys of equal cosine come in the order of their rows.
//
// There are N lists of positives, rows of keys in any order and without repeats. Nil
// means that key i is the positive of query i, and that there are as many keys as
// queries, or more.
//
// It takes O(N·Depth) memory besides queries, keys and positives.
//
// It returns an error that wraps [contrastive.ErrShape], [contrastive.ErrEmpty],
// [contrastive.ErrNotFinite], or [contrastive.ErrParameter] where a field or a list is
// out of range.
func (m Miner) Mine(queries, keys contrastive.Matrix, positives [][]int) ([][]int, error) {
	mined, err := m.mine(queries, keys, positives)
	return mined, wrap("Mine", err)
}

func (m Miner) mine(queries, keys contrastive.Matrix, positives [][]int) ([][]int, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	if err := checkSizes(queries, keys); err != nil {
		return nil, err
	}
	if positives == nil {
		if queries.Rows > keys.Rows {
			return nil, fmt.Errorf("queries is %d×%d, keys is %d×%d and has no positive for the last: %w", queries.Rows, queries.Cols, keys.Rows, keys.Cols, contrastive.ErrShape)
		}
		positives = make([][]int, queries.Rows)
		for i := range positives {
			positives[i] = []int{i}
		}
	} else if err := checkLists("positives", positives, queries, keys); err != nil {
		return nil, err
	}
	index, cosine, err := m.nearest(queries, keys, m.depth(keys.Rows), positives)
	if err != nil {
		return nil, err
	}
	for i := range index {
		limit := m.limit(queries.Row(i), keys, positives[i])
		kept := index[i][:0]
		for n, j := range index[i] {
			if m.keeps(cosine[i][n], limit) {
				kept = append(kept, j)
			}
		}
		index[i] = m.choose(kept[min(m.Skip, len(kept)):], i)
	}
	return index, nil
}

func (m Miner) check() error {
	for _, p := range [...]struct {
		name         string
		value, least int
		must         string
	}{{"Count", m.Count, 1, "be positive"}, {"Skip", m.Skip, 0, "not be negative"}, {"Depth", m.Depth, 0, "not be negative"}} {
		if p.value < p.least {
			return fmt.Errorf("%s is %d and must %s: %w", p.name, p.value, p.must, contrastive.ErrParameter)
		}
	}
	if m.Depth > 0 && m.Depth <= m.Skip {
		return fmt.Errorf("Depth is %d and must exceed Skip, which is %d: %w", m.Depth, m.Skip, contrastive.ErrParameter)
	}
	for _, p := range [...]struct {
		name  string
		value float32
	}{{"FilterMargin", m.FilterMargin}, {"Min", m.Min}, {"Max", m.Max}} {
		if p.value-p.value != 0 {
			return fmt.Errorf("%s is %v and must be finite: %w", p.name, p.value, contrastive.ErrParameter)
		}
	}
	switch {
	case m.Filter > contrastive.RelativeMargin:
		return fmt.Errorf("Filter is %d, which is none of NoFilter, AbsoluteMargin and RelativeMargin: %w", m.Filter, contrastive.ErrParameter)
	case m.Filter == contrastive.NoFilter && m.FilterMargin != 0:
		return fmt.Errorf("FilterMargin is %v without a Filter: %w", m.FilterMargin, contrastive.ErrParameter)
	case m.Min != 0 && m.Max != 0 && m.Min > m.Max:
		return fmt.Errorf("Min is %v and must not exceed Max, which is %v: %w", m.Min, m.Max, contrastive.ErrParameter)
	}
	return nil
}

// depth returns the number of keys to look at, of which there are as many as said.
func (m Miner) depth(keys int) int {
	if m.Depth > 0 {
		return m.Depth
	}
	count := min(m.Count, keys)
	if m.Filter != contrastive.NoFilter || m.Min != 0 || m.Max != 0 {
		count += 10 * count
	}
	return min(m.Skip, keys) + count
}

// limit returns the greatest cosine that Filter keeps.
func (m Miner) limit(query []float32, keys contrastive.Matrix, positives []int) float64 {
	least := math.Inf(1)
	if m.Filter == contrastive.NoFilter || len(positives) == 0 {
		return least
	}
	for _, j := range positives {
		least = min(least, cosine(query, keys.Row(j)))
	}
	if m.Filter == contrastive.RelativeMargin {
		return least + float64(m.FilterMargin)*math.Abs(least)
	}
	return least + float64(m.FilterMargin)
}

// keeps reports whether a cosine is within the limit and the bounds.
func (m Miner) keeps(cosine float32, limit float64) bool {
	return float64(cosine) <= limit && (m.Min == 0 || cosine >= m.Min) && (m.Max == 0 || cosine <= m.Max)
}

// choose returns Count of the candidates of a query.
func (m Miner) choose(candidates []int, query int) []int {
	count := min(m.Count, len(candidates))
	if m.Random && count < len(candidates) {
		places := rand.New(rand.NewPCG(m.Seed, uint64(query))).Perm(len(candidates))[:count]
		slices.Sort(places)
		for n, p := range places { // n ≤ p: nothing is overwritten before it is read
			candidates[n] = candidates[p]
		}
	}
	return slices.Clone(candidates[:count]) // which lets go of the rest of Depth
}

// cosine returns that of two rows in float64, or 0 if one counts as a row of zeros.
func cosine(x, y []float32) float64 {
	const least = 0x1p-252 // square of the least norm of a row that is not of zeros
	xx, yy := simd.DotFloat64(x, x), simd.DotFloat64(y, y)
	if xx < least || yy < least {
		return 0
	}
	return simd.DotFloat64(x, y) / math.Sqrt(xx) / math.Sqrt(yy)
}
