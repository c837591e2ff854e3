package contrastive

import (
	"fmt"
	"math"
	"slices"
)

// TopK returns, for each row of queries, the indices of the k rows of keys with
// the greatest cosines, and these, greatest first. Of equal cosines that of the
// lower index comes first. A row of zeros has cosine 0 with everything.
//
// It returns an error that wraps [ErrShape], [ErrEmpty], [ErrNotFinite], or
// [ErrParameter] unless k is from 1 to the number of keys.
func TopK(queries, keys Matrix, k int) (index [][]int, cosine [][]float32, err error) {
	return topK("TopK", "queries", queries, "keys", keys, k)
}

func topK(function, queryName string, queries Matrix, keyName string, keys Matrix, k int) ([][]int, [][]float32, error) {
	m := newMetric()
	defer m.release()
	if err := m.pair(function, queryName, queries, keyName, keys, false); err != nil {
		return nil, nil, err
	}
	if k < 1 || k > keys.Rows {
		return nil, nil, fmt.Errorf("%s: k is %d and must be from 1 to the %d rows of %s: %w", function, k, keys.Rows, keyName, ErrParameter)
	}
	t := topKVisitor{k: k, index: make([][]int, queries.Rows), cosine: make([][]float32, queries.Rows)}
	for i := range t.index {
		t.index[i], t.cosine[i] = make([]int, 0, k), make([]float32, 0, k)
	}
	m.engine.Similarities(&m.rows, &m.cols, m.workers, false, &t)
	return t.index, t.cosine, nil
}

// A topKVisitor keeps the greatest cosines of each row, in order.
type topKVisitor struct {
	k      int
	index  [][]int
	cosine [][]float32
}

func (t *topKVisitor) Visit(row0, rows, col0, cols int, block []float32, stride int, top []float32) {
	for r := range rows {
		index, cosine := t.index[row0+r], t.cosine[row0+r]
		if len(cosine) == t.k && top[r] <= cosine[t.k-1] {
			continue
		}
		for j, s := range block[r*stride : r*stride+cols] {
			if len(cosine) == t.k && s <= cosine[t.k-1] {
				continue // later columns lose ties
			}
			// Cosines are in descending order, and a new one goes after its equals.
			at, _ := slices.BinarySearchFunc(cosine, s, func(have, s float32) int {
				if have >= s {
					return -1
				}
				return 1
			})
			if len(cosine) == t.k {
				index, cosine = index[:t.k-1], cosine[:t.k-1]
			}
			index, cosine = slices.Insert(index, at, col0+j), slices.Insert(cosine, at, s)
		}
		t.index[row0+r], t.cosine[row0+r] = index, cosine
	}
}

// KNN classifies each row of test by its k nearest rows of train, whose labels
// vote with weights exp(cosine/temperature), and returns the labels that win. Of
// labels with equal votes the lower wins.
//
// It is the weighted kNN of Wu, Xiong, Yu and Lin, "Unsupervised Feature Learning
// via Non-Parametric Instance Discrimination" (2018), section 3.4, with k = 200 and
// a temperature of 0.07.
//
// It returns an error that wraps [ErrShape], [ErrEmpty], [ErrNotFinite], or
// [ErrParameter] unless k is from 1 to the number of rows of train and the
// temperature is positive and finite.
func KNN(train Matrix, labels []int, test Matrix, k int, temperature float64) ([]int, error) {
	if len(labels) != train.Rows {
		return nil, fmt.Errorf("KNN: labels has %d elements, train is %d×%d: %w", len(labels), train.Rows, train.Cols, ErrShape)
	}
	if !(temperature > 0) || math.IsInf(temperature, 1) {
		return nil, fmt.Errorf("KNN: temperature is %v and must be positive and finite: %w", temperature, ErrParameter)
	}
	index, cosine, err := topK("KNN", "test", test, "train", train, k)
	if err != nil {
		return nil, err
	}
	predicted := make([]int, test.Rows)
	votes := make(map[int]float64)
	for i := range predicted {
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
// keys with the same index, is among the k most similar of them. Keys that tie with
// a query's own count as one half each, so that keys that all coincide have no
// recall.
//
// It returns an error that wraps [ErrShape], [ErrEmpty], [ErrNotFinite], or
// [ErrParameter] unless every k is positive.
func RecallAt(queries, keys Matrix, ks ...int) ([]float64, error) {
	for _, k := range ks {
		if k < 1 {
			return nil, fmt.Errorf("RecallAt: k is %d and must be positive: %w", k, ErrParameter)
		}
	}
	ranks, err := ownRanks("RecallAt", queries, keys)
	if err != nil {
		return nil, err
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
// It returns an error that wraps [ErrShape], [ErrEmpty] or [ErrNotFinite].
func MRR(queries, keys Matrix) (float64, error) {
	ranks, err := ownRanks("MRR", queries, keys)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, r := range ranks {
		sum += 1 / r
	}
	return sum / float64(len(ranks)), nil
}

// ownRanks returns the rank of each query's own key.
func ownRanks(function string, queries, keys Matrix) ([]float64, error) {
	m := newMetric()
	defer m.release()
	if err := m.pair(function, "queries", queries, "keys", keys, false); err != nil {
		return nil, err
	}
	if queries.Rows > keys.Rows {
		return nil, fmt.Errorf("%s: queries is %d×%d, keys is %d×%d and has no key for the last: %w", function, queries.Rows, queries.Cols, keys.Rows, keys.Cols, ErrShape)
	}
	v := rankVisitor{own: make([]float32, queries.Rows), ranks: make([]float64, queries.Rows)}
	// The own similarities are those of the same kernel, so that equal keys tie.
	v.find = true
	m.engine.Similarities(&m.rows, &m.cols, m.workers, true, &v)
	v.find = false
	m.engine.Similarities(&m.rows, &m.cols, m.workers, false, &v)
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
