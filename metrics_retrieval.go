package contrastive

import (
	"fmt"
	"math"
	"slices"
)

// A Search compares queries with keys by the cosines of their rows. The zero Search is
// what the functions with the names of its methods use.
type Search struct {
	// ExcludeSelf leaves key i out for query i: where queries and keys are one set,
	// every row would find itself. There must be a key for each query.
	ExcludeSelf bool

	// Exclude optionally holds, for each query, rows of keys that are left out for it,
	// in any order and without repeats: known answers, or items that a user has.
	Exclude [][]int

	Options
}

// TopK returns, for each row of queries, the indices of the k rows of keys with the
// greatest cosines, and these, greatest first. Of equal cosines that of the lower
// index comes first. A row of zeros has cosine 0 with everything. By rounding a cosine
// may exceed 1; it counts as it is for the order, and is returned as 1.
//
// Where Exclude leaves fewer than k keys to a query, its lists are shorter.
//
// It takes O(k) memory a query, 8 bytes a key, and a copy of a few MiB of either; and
// time for the query's M cosines and O(M·log k) steps.
//
// It returns an error that wraps [ErrShape], [ErrEmpty], [ErrNotFinite], or
// [ErrParameter] unless k is from 1 to the number of keys, less one with ExcludeSelf,
// and Exclude lists rows of keys, once each.
func (s Search) TopK(queries, keys Matrix, k int) (index [][]int, cosine [][]float32, err error) {
	m := newMetric()
	defer m.release()
	index, cosine, err = s.topK(m, "queries", queries, "keys", keys, k)
	return index, cosine, wrap("TopK", err)
}

// KNN classifies each row of test by its k nearest rows of train, whose labels
// vote with weights exp(cosine/temperature), and returns the labels that win. If
// votes are equal, the smaller label wins. With ExcludeSelf, and train for test, each
// row is classified by the others.
//
// It is the weighted kNN of Wu, Xiong, Yu and Lin, "Unsupervised Feature Learning
// via Non-Parametric Instance Discrimination" (2018), section 3.4, with k = 200 and
// a temperature of 0.07.
//
// It returns an error that wraps [ErrShape], [ErrEmpty], [ErrNotFinite], or
// [ErrParameter] unless k is from 1 to the number of rows of train, less one with
// ExcludeSelf, every row of test has a neighbour that Exclude leaves to it, and the
// temperature is positive and finite.
func (s Search) KNN(train Matrix, labels []int, test Matrix, k int, temperature float64) ([]int, error) {
	m := newMetric()
	defer m.release()
	predicted, err := s.knn(m, train, labels, test, k, temperature)
	return predicted, wrap("KNN", err)
}

func (s Search) knn(m *metric, train Matrix, labels []int, test Matrix, k int, temperature float64) ([]int, error) {
	if len(labels) != train.Rows {
		return nil, fmt.Errorf("labels has %d elements, train is %d×%d: %w", len(labels), train.Rows, train.Cols, ErrShape)
	}
	if !(temperature > 0) || math.IsInf(temperature, 1) {
		return nil, fmt.Errorf("temperature is %v and must be positive and finite: %w", temperature, ErrParameter)
	}
	index, cosine, err := s.topK(m, "test", test, "train", train, k)
	if err != nil {
		return nil, err
	}
	predicted := make([]int, test.Rows)
	votes := make(map[int]float64)
	for i := range predicted {
		if len(index[i]) == 0 {
			return nil, fmt.Errorf("Exclude[%d] leaves test row %d no row of train: %w", i, i, ErrParameter)
		}
		clear(votes)
		for n, j := range index[i] {
			votes[labels[j]] += math.Exp((float64(cosine[i][n]) - float64(cosine[i][0])) / temperature)
		}
		best := -1.0
		for label, v := range votes {
			if v > best || v == best && label < predicted[i] {
				predicted[i], best = label, v
			}
		}
	}
	return predicted, nil
}

// RecallAt returns, for each of ks, the share of queries whose own key, the row of
// keys with the same index, is among the k most similar of them. It is the hit rate
// at k, which is the recall where one key is relevant to a query. Keys that tie with a
// query's own count as one half each, so that keys that all coincide have no recall. A k
// may exceed the number of keys, so that the same ks serve all sizes: the recall is 1.
//
// It returns an error that wraps [ErrShape], [ErrEmpty], [ErrNotFinite], or
// [ErrParameter] unless every k is positive, or with ExcludeSelf or Exclude, which
// leave out what is to be found.
func (s Search) RecallAt(queries, keys Matrix, ks ...int) ([]float64, error) {
	for _, k := range ks {
		if k < 1 {
			return nil, wrap("RecallAt", fmt.Errorf("k is %d and must be positive: %w", k, ErrParameter))
		}
	}
	m := newMetric()
	defer m.release()
	ranks, err := s.ownRanks(m, queries, keys)
	if err != nil {
		return nil, wrap("RecallAt", err)
	}
	recall := make([]float64, len(ks))
	for n, k := range ks {
		for _, r := range ranks {
			if r <= float64(k) {
				recall[n]++
			}
		}
		recall[n] /= float64(len(ranks))
	}
	return recall, nil
}

// MRR returns the mean reciprocal rank of the own keys of queries, the rows of keys
// with the same indices, by descending cosine: 1 if each is the most similar. Keys
// that tie with a query's own count as one half each.
//
// It returns an error that wraps [ErrShape], [ErrEmpty], [ErrNotFinite], or
// [ErrParameter] with ExcludeSelf or Exclude, which leave out what is to be found.
func (s Search) MRR(queries, keys Matrix) (float64, error) {
	m := newMetric()
	defer m.release()
	ranks, err := s.ownRanks(m, queries, keys)
	if err != nil {
		return 0, wrap("MRR", err)
	}
	sum := 0.0
	for _, r := range ranks {
		sum += 1 / r
	}
	return sum / float64(len(ranks)), nil
}

// TopK is [Search.TopK] of the zero Search: the k nearest keys of each query, and their
// cosines.
func TopK(queries, keys Matrix, k int) (index [][]int, cosine [][]float32, err error) {
	return Search{}.TopK(queries, keys, k)
}

// KNN is [Search.KNN] of the zero Search: the labels of the rows of test by those of
// their k nearest rows of train.
func KNN(train Matrix, labels []int, test Matrix, k int, temperature float64) ([]int, error) {
	return Search{}.KNN(train, labels, test, k, temperature)
}

// RecallAt is [Search.RecallAt] of the zero Search: the share of queries whose own key
// is among the k nearest.
func RecallAt(queries, keys Matrix, ks ...int) ([]float64, error) {
	return Search{}.RecallAt(queries, keys, ks...)
}

// MRR is [Search.MRR] of the zero Search: the mean reciprocal rank of the queries' own
// keys.
func MRR(queries, keys Matrix) (float64, error) { return Search{}.MRR(queries, keys) }

// begin checks s and lists the rows of queries and keys.
func (s Search) begin(m *metric, queryName string, queries Matrix, keyName string, keys Matrix) error {
	if err := s.check(); err != nil {
		return err
	}
	m.workers, m.pieces = s.workers(), s.Precision.pieces()
	return m.pair(queryName, queries, keyName, keys, false)
}

func (s Search) topK(m *metric, queryName string, queries Matrix, keyName string, keys Matrix, k int) ([][]int, [][]float32, error) {
	if err := s.begin(m, queryName, queries, keyName, keys); err != nil {
		return nil, nil, err
	}
	available, own := keys.Rows, ""
	if s.ExcludeSelf {
		if queries.Rows > keys.Rows {
			return nil, nil, fmt.Errorf("with ExcludeSelf there must be a row of %s, which is %d×%d, for each of %s, which is %d×%d: %w",
				keyName, keys.Rows, keys.Cols, queryName, queries.Rows, queries.Cols, ErrShape)
		}
		available, own = keys.Rows-1, " but its own"
	}
	if k < 1 || k > available {
		return nil, nil, fmt.Errorf("k is %d and must be from 1 to the %d rows of %s%s: %w", k, available, keyName, own, ErrParameter)
	}
	if s.Exclude != nil {
		if err := checkRowLists("Exclude", s.Exclude, queryName, queries, listedRows{argument: keyName, total: keys.Rows, cols: keys.Cols}); err != nil {
			return nil, nil, err
		}
	}
	t := topKVisitor{keys: keys.Rows, excludeSelf: s.ExcludeSelf, exclude: ascending(s.Exclude), nearest: make([]farthestFirst, queries.Rows), limit: make([]float32, queries.Rows)}
	for i := range t.nearest {
		n := min(k, t.left(i))
		t.nearest[i] = farthestFirst{make([]int, 0, n), make([]float32, 0, n)}
		t.limit[i] = t.nearest[i].limit()
	}
	m.show(false, &t)
	index, cosine := make([][]int, queries.Rows), make([][]float32, queries.Rows)
	for i, h := range t.nearest {
		index[i], cosine[i] = h.index, h.cosine
	}
	return index, cosine, nil
}

// ascending returns lists in ascending order, those that are not as copies.
func ascending(lists [][]int) [][]int {
	sorted := slices.Clone(lists)
	for i, list := range sorted {
		if !slices.IsSorted(list) {
			sorted[i] = slices.Sorted(slices.Values(list))
		}
	}
	return sorted
}

// A topKVisitor keeps the nearest keys of each row, as many as there is capacity for.
type topKVisitor struct {
	keys        int
	excludeSelf bool
	exclude     [][]int // in ascending order
	nearest     []farthestFirst
	limit       []float32 // of each row, what a cosine must exceed to be kept
}

// left returns the number of keys that are not left out for query i.
func (t *topKVisitor) left(i int) int {
	n := t.keys
	if t.exclude != nil {
		n -= len(t.exclude[i])
	}
	if t.excludeSelf && !t.isListed(i, i) {
		n--
	}
	return n
}

func (t *topKVisitor) excludes(i, key int) bool {
	return t.excludeSelf && key == i || t.isListed(i, key)
}

func (t *topKVisitor) isListed(i, key int) bool {
	if t.exclude == nil {
		return false
	}
	_, found := slices.BinarySearch(t.exclude[i], key)
	return found
}

func (t *topKVisitor) Visit(row0, rows, col0, cols int, block []float32, stride int, top []float32) {
	limit := t.limit[row0 : row0+rows]
	for r, s := range top[:rows] {
		if s > limit[r] {
			t.offer(row0+r, col0, block[r*stride:r*stride+cols])
		}
	}
	if col0+cols == t.keys {
		for i := row0; i < row0+rows; i++ {
			t.nearest[i].sort()
			for n, s := range t.nearest[i].cosine {
				t.nearest[i].cosine[n] = float32(clampCosine(float64(s)))
			}
		}
	}
}

// offer offers row i the columns from col0 on. Later ones lose ties.
func (t *topKVisitor) offer(i, col0 int, cosines []float32) {
	h := &t.nearest[i]
	for j, s := range cosines {
		if s > t.limit[i] && !t.excludes(i, col0+j) {
			h.offer(col0+j, s)
			t.limit[i] = h.limit()
		}
	}
}

// farthestFirst holds keys, and once it is full it is a binary heap whose first key is
// the farthest from the query: that of the least cosine, and of the greatest index
// among equals.
type farthestFirst struct {
	index  []int
	cosine []float32
}

// limit returns the cosine that a key must exceed to be among the nearest.
func (h *farthestFirst) limit() float32 {
	switch {
	case cap(h.cosine) == 0:
		return float32(math.Inf(1))
	case len(h.cosine) < cap(h.cosine):
		return float32(math.Inf(-1))
	}
	return h.cosine[0]
}

// offer adds a key, which is not as far as the farthest, in whose place it goes if there
// is no capacity left.
func (h *farthestFirst) offer(index int, cosine float32) {
	k := cap(h.cosine)
	if len(h.index) == k {
		h.index[0], h.cosine[0] = index, cosine
		h.sink(0, k)
		return
	}
	h.index, h.cosine = append(h.index, index), append(h.cosine, cosine)
	if len(h.index) == k {
		for i := k/2 - 1; i >= 0; i-- {
			h.sink(i, k)
		}
	}
}

// sort makes the nearest of a full heap the first, and so on.
func (h *farthestFirst) sort() {
	for n := len(h.index) - 1; n > 0; n-- {
		h.swap(0, n)
		h.sink(0, n)
	}
}

// sink moves key i down to its place among the first n.
func (h *farthestFirst) sink(i, n int) {
	for {
		child := 2*i + 1
		if child+1 < n && h.farther(child+1, child) {
			child++
		}
		if child >= n || !h.farther(child, i) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

func (h *farthestFirst) farther(i, j int) bool {
	return h.cosine[i] < h.cosine[j] || h.cosine[i] == h.cosine[j] && h.index[i] > h.index[j]
}

func (h *farthestFirst) swap(i, j int) {
	h.index[i], h.index[j] = h.index[j], h.index[i]
	h.cosine[i], h.cosine[j] = h.cosine[j], h.cosine[i]
}

// ownRanks returns the rank of each query's own key.
func (s Search) ownRanks(m *metric, queries, keys Matrix) ([]float64, error) {
	if err := s.begin(m, "queries", queries, "keys", keys); err != nil {
		return nil, err
	}
	if s.ExcludeSelf {
		return nil, fmt.Errorf("ExcludeSelf leaves out the keys that are to be found: %w", ErrParameter)
	}
	if s.Exclude != nil {
		return nil, fmt.Errorf("Exclude may leave out the keys that are to be found: %w", ErrParameter)
	}
	if queries.Rows > keys.Rows {
		return nil, fmt.Errorf("queries is %d×%d, keys is %d×%d and has no key for the last: %w", queries.Rows, queries.Cols, keys.Rows, keys.Cols, ErrShape)
	}
	v := rankVisitor{own: make([]float32, queries.Rows), ranks: make([]float64, queries.Rows)}
	// The own similarities are those of the same kernel, so that equal keys tie.
	v.find = true
	m.show(true, &v)
	v.find = false
	m.show(false, &v)
	return v.ranks, nil
}

// A rankVisitor finds the similarity of each row's own column, and then counts the
// columns that are more similar.
type rankVisitor struct {
	find  bool
	own   []float32
	ranks []float64
}

func (v *rankVisitor) Visit(row0, rows, col0, cols int, block []float32, stride int, top []float32) {
	for r := range rows {
		i, row := row0+r, block[r*stride:r*stride+cols]
		if v.find {
			if i >= col0 && i < col0+cols {
				v.own[i] = row[i-col0]
			}
			continue
		}
		own, greater, equal := v.own[i], 0, 0
		if col0 == 0 {
			v.ranks[i] = 0.5 // one half for itself makes 1
		}
		if top[r] < own {
			continue
		}
		for _, s := range row {
			if s > own {
				greater++
			} else if s == own {
				equal++
			}
		}
		v.ranks[i] += float64(greater) + 0.5*float64(equal)
	}
}
