package retrieval

import (
	"fmt"
	"math"
	"slices"

	"github.com/contrastive-go/contrastive"
)

// Relevance says which keys answer the queries.
type Relevance struct {
	// Keys holds, for each of the N queries, the rows of keys that are relevant to it,
	// in any order and without repeats. A query with an empty list does not count.
	Keys [][]int

	// Grades optionally holds a grade for each element of Keys, finite and not
	// negative. A key of grade 0 is not relevant. Nil means 1.
	Grades [][]float32
}

// A Ranking is how well queries find their relevant keys: means over the queries that
// have any. The slices have an element for each cut, that is, a number k of keys that
// are looked at.
type Ranking struct {
	At []int // the cuts, as they were asked for

	Hit       []float64 // share of queries with a relevant key among the first k
	Recall    []float64 // relevant keys among the first k, over all relevant keys
	Precision []float64 // relevant keys among the first k, over k
	MRR       []float64 // 1 over the rank of the first relevant key, 0 beyond k
	MAP       []float64 // average precision: Σ P@r over the ranks r ≤ k of relevant keys, over min(k, R)
	NDCG      []float64 // normalised discounted cumulative gain

	RPrecision float64 // precision at R, the number of relevant keys of the query
	MAPAtR     float64 // Σ P@r over the ranks r ≤ R of relevant keys, over R

	Queries int // number of queries with a relevant key
}

// Rank ranks the K×D keys for each of the N×D queries by descending cosine, and compares
// the first of them with the keys that are relevant, at each of the cuts. Ties rank by
// the lower row. A cut may exceed the number of keys; precision still divides by it.
//
// NDCG is that of Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR
// techniques" (2002), with the grade for gain and the discount 1/log₂(r+1) at rank r,
// over that of the best order of all grades, cut at k. MAPAtR is that of Musgrave,
// Belongie and Lim, "A Metric Learning Reality Check" (2020), section 3.2. The others are
// those of sentence-transformers' InformationRetrievalEvaluator.
//
// It takes O(N·k) memory, with k the greatest cut or number of relevant keys.
//
// It returns an error that wraps [contrastive.ErrShape]; [contrastive.ErrEmpty] also if
// no query has a relevant key; [contrastive.ErrNotFinite]; or [contrastive.ErrParameter]
// unless cuts are positive, lists are of rows of keys, once each, and no grade is
// negative.
func Rank(queries, keys contrastive.Matrix, relevant Relevance, o Options, at ...int) (Ranking, error) {
	r, err := rank(queries, keys, relevant, o, at)
	return r, wrap("Rank", err)
}

func rank(queries, keys contrastive.Matrix, relevant Relevance, o Options, at []int) (Ranking, error) {
	if err := checkSizes(queries, keys); err != nil {
		return Ranking{}, err
	}
	if err := relevant.check(queries, keys); err != nil {
		return Ranking{}, err
	}
	depth := 0
	for n, k := range at {
		if k < 1 {
			return Ranking{}, fmt.Errorf("at[%d] is %d and must be positive: %w", n, k, contrastive.ErrParameter)
		}
		depth = max(depth, k)
	}
	found := 0
	for i := range queries.Rows {
		if n := relevant.count(i); n > 0 {
			found++
			depth = max(depth, n)
		}
	}
	if found == 0 {
		return Ranking{}, fmt.Errorf("no query has a relevant key: %w", contrastive.ErrEmpty)
	}
	index, _, err := o.nearest(queries, keys, depth, nil)
	if err != nil {
		return Ranking{}, err
	}
	r := newRanking(at)
	grades := make([]float32, keys.Rows)
	for i, order := range index {
		if relevant.count(i) == 0 {
			continue
		}
		for n, j := range relevant.Keys[i] {
			grades[j] = relevant.grade(i, n)
		}
		r.add(order, grades, relevant.ideal(i))
		for _, j := range relevant.Keys[i] {
			grades[j] = 0
		}
	}
	r.divide()
	return r, nil
}

func (v Relevance) check(queries, keys contrastive.Matrix) error {
	if err := checkLists("relevant.Keys", v.Keys, queries, keys); err != nil {
		return err
	}
	if v.Grades == nil {
		return nil
	}
	if len(v.Grades) != queries.Rows {
		return fmt.Errorf("relevant.Grades has %d elements, queries is %d×%d: %w", len(v.Grades), queries.Rows, queries.Cols, contrastive.ErrShape)
	}
	for i, grades := range v.Grades {
		if len(grades) != len(v.Keys[i]) {
			return fmt.Errorf("relevant.Grades[%d] has %d elements, relevant.Keys[%d] has %d: %w", i, len(grades), i, len(v.Keys[i]), contrastive.ErrShape)
		}
		for n, g := range grades {
			if g-g != 0 {
				return &contrastive.NotFiniteError{Argument: "relevant.Grades", Row: i, Col: n, Value: g}
			}
			if g < 0 {
				return fmt.Errorf("relevant.Grades[%d][%d] is %v and must not be negative: %w", i, n, g, contrastive.ErrParameter)
			}
		}
	}
	return nil
}

func (v Relevance) grade(query, n int) float32 {
	if v.Grades == nil {
		return 1
	}
	return v.Grades[query][n]
}

// count returns the number of keys that are relevant to a query.
func (v Relevance) count(query int) (n int) {
	for k := range v.Keys[query] {
		if v.grade(query, k) > 0 {
			n++
		}
	}
	return n
}

// ideal returns the grades of the keys that are relevant to a query, greatest first.
func (v Relevance) ideal(query int) []float32 {
	var grades []float32
	for k := range v.Keys[query] {
		if g := v.grade(query, k); g > 0 {
			grades = append(grades, g)
		}
	}
	slices.Sort(grades)
	slices.Reverse(grades)
	return grades
}

func newRanking(at []int) Ranking {
	r := Ranking{At: slices.Clone(at)}
	for _, m := range r.perCut() {
		*m = make([]float64, len(at))
	}
	return r
}

func (r *Ranking) perCut() [6]*[]float64 {
	return [...]*[]float64{&r.Hit, &r.Recall, &r.Precision, &r.MRR, &r.MAP, &r.NDCG}
}

// add adds a query, the order of whose first keys is given, with the grades of all keys
// and, in the best order, those of the relevant ones.
func (r *Ranking) add(order []int, grades, ideal []float32) {
	r.Queries++
	relevant := len(ideal)
	for c, k := range r.At {
		s := scan(order[:min(k, len(order))], grades)
		if s.first > 0 {
			r.Hit[c]++
			r.MRR[c] += 1 / float64(s.first)
		}
		r.Recall[c] += float64(s.hits) / float64(relevant)
		r.Precision[c] += float64(s.hits) / float64(k)
		r.MAP[c] += s.precisions / float64(min(k, relevant))
		best := 0.0
		for n, g := range ideal[:min(k, relevant)] {
			best += discounted(g, n+1)
		}
		r.NDCG[c] += s.gain / best
	}
	s := scan(order[:relevant], grades)
	r.RPrecision += float64(s.hits) / float64(relevant)
	r.MAPAtR += s.precisions / float64(relevant)
}

func (r *Ranking) divide() {
	n := float64(r.Queries)
	for _, m := range r.perCut() {
		for c := range *m {
			(*m)[c] /= n
		}
	}
	r.RPrecision /= n
	r.MAPAtR /= n
}

// A tally is what the first keys of a query amount to.
type tally struct {
	first      int // rank of the first relevant key, 0 if there is none
	hits       int
	precisions float64 // Σ of the precisions at the ranks of relevant keys
	gain       float64 // discounted and cumulated
}

func scan(order []int, grades []float32) (t tally) {
	for n, j := range order {
		if grades[j] == 0 {
			continue
		}
		rank := n + 1
		if t.hits == 0 {
			t.first = rank
		}
		t.hits++
		t.precisions += float64(t.hits) / float64(rank)
		t.gain += discounted(grades[j], rank)
	}
	return t
}

func discounted(grade float32, rank int) float64 { return float64(grade) / math.Log2(float64(rank)+1) }
