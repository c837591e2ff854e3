package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/contrastive-go/contrastive"
)

// A Pool is a set of candidates, among which each function is to be found by the
// first sentence of its doc comment. CodeSearchNet's pools have 1,000.
type Pool []*Function

// NewPools draws disjoint pools of size functions from split, at most count, and
// the same ones every time.
func NewPools(c *Corpus, split Split, size, count int) ([]Pool, error) {
	all := c.Paired(split)
	count = min(count, len(all)/size)
	if count == 0 {
		return nil, fmt.Errorf("the %v split has %d pairs, too few for a pool of %d", split, len(all), size)
	}
	r := rand.New(rand.NewPCG(1909, 9436))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	pools := make([]Pool, count)
	for i := range pools {
		pools[i] = all[i*size : (i+1)*size]
	}
	return pools, nil
}

// A Score is a mean over queries.
type Score struct {
	MRR            float64 // mean reciprocal rank of the right function
	At1, At5, At10 float64 // share of queries with the right function among the first
}

// scoreRows ranks all candidates of query i, of which candidate i is the right
// one, by scores(i). It counts as contrastive.MRR does: a candidate that ties with
// the right one is half before it.
func scoreRows(n int, scores func(i int) []float64) (s Score) {
	ranks := make([]float64, n)
	parallel(n, 16, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := scores(i)
			ranks[i] = 0.5 // the right one ties with itself
			for _, x := range row {
				switch {
				case x > row[i]:
					ranks[i]++
				case x == row[i]:
					ranks[i] += 0.5
				}
			}
		}
	})
	within := func(k float64) float64 {
		hits := 0
		for _, r := range ranks {
			if r <= k {
				hits++
			}
		}
		return float64(hits) / float64(n)
	}
	for _, r := range ranks {
		s.MRR += 1 / r / float64(n)
	}
	s.At1, s.At5, s.At10 = within(1), within(5), within(10)
	return s
}

// scoreEncoder measures an encoder on a pool.
func scoreEncoder(e *Encoder, t Task, p Pool) (s Score, err error) {
	examples := e.Examples(p)
	queries, keys := make([][]Feature, len(p)), make([][]Feature, len(p))
	for i := range examples {
		queries[i], keys[i] = examples[i].Summary[t], examples[i].Code[t]
	}
	q, k := contrastive.NewMatrix(len(p), e.Dim), contrastive.NewMatrix(len(p), e.Dim)
	e.Encode(q, queries)
	e.Encode(k, keys)
	if s.MRR, err = contrastive.MRR(q, k); err != nil {
		return s, err
	}
	recall, err := contrastive.RecallAt(q, k, 1, 5, 10)
	if err != nil {
		return s, err
	}
	s.At1, s.At5, s.At10 = recall[0], recall[1], recall[2]
	return s, nil
}

// A lexical is a baseline's choice of terms: BM25 and TF-IDF see the same words
// as the encoder. What is set here was chosen on the development split, in
// favour of the baselines.
type lexical struct {
	prefixes  bool
	nameTimes [tasks]int // how often the name of a function counts
}

// stopWords are English ones and those that stand in most Go functions. The
// baselines gain by leaving them out; the encoder learns their weights.
var stopWords = set(strings.Fields(`a an the of to is are if in on for and or it its that this with
	as by be not from which when any all at into no than then was has have will can may
	func return nil err error string int bool byte var range else type struct`))

const (
	bm25K1        = 2
	bm25B         = 0.9
	bm25NameTimes = 5
)

func (l lexical) terms(words []string) Bag {
	words = without(words, stopWords)
	if l.prefixes {
		words = withPrefixes(words)
	}
	return NewBag(words)
}

// collection returns the documents and the queries of a pool.
func (l lexical) collection(t Task, p Pool) (*Collection, []Bag) {
	docs, queries := make([]Bag, len(p)), make([]Bag, len(p))
	parallel(len(p), 16, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			fields := t.CodeWords(p[i])
			var words []string
			for range l.nameTimes[t] {
				words = append(words, fields[Name]...)
			}
			words = append(words, fields[Signature]...)
			words = append(words, fields[Body]...)
			docs[i] = l.terms(words)
			queries[i] = l.terms(t.QueryWords(p[i], p[i].Summary))
		}
	})
	return NewCollection(docs), queries
}

func (l lexical) bm25(t Task, p Pool) (Score, error) {
	c, queries := l.collection(t, p)
	return scoreRows(len(p), func(i int) []float64 { return c.BM25(queries[i], bm25K1, bm25B) }), nil
}

func (l lexical) tfidf(t Task, p Pool) (Score, error) {
	c, queries := l.collection(t, p)
	return scoreRows(len(p), func(i int) []float64 { return c.TFIDF(queries[i]) }), nil
}

// A Method is something that ranks functions.
type Method struct {
	Name  string
	Score func(Task, Pool) (Score, error)
}

func encoderMethod(name string, e *Encoder) Method {
	return Method{name, func(t Task, p Pool) (Score, error) { return scoreEncoder(e, t, p) }}
}

// Baselines returns the methods that learn nothing.
func Baselines() []Method {
	return []Method{
		{"TF-IDF", lexical{nameTimes: [tasks]int{2, 1, 1}}.tfidf},
		{"BM25", lexical{nameTimes: [tasks]int{bm25NameTimes, 1, 1}}.bm25},
		{"BM25, also prefixes", lexical{prefixes: true, nameTimes: [tasks]int{bm25NameTimes, 1, 1}}.bm25},
	}
}

// Evaluate prints the scores of the methods, as means over the pools and, for
// the MRR, with their standard deviation.
func Evaluate(w io.Writer, pools []Pool, methods []Method) error {
	for t := range tasks {
		fmt.Fprintf(w, "\n%-32s %13s   %5s %5s %5s\n", t, "MRR      ", "R@1", "R@5", "R@10")
		for _, m := range methods {
			var mean Score
			var sum, squares float64
			n := float64(len(pools))
			for _, p := range pools {
				s, err := m.Score(t, p)
				if err != nil {
					return fmt.Errorf("%s: %w", m.Name, err)
				}
				sum += s.MRR
				squares += s.MRR * s.MRR
				mean.At1 += s.At1 / n
				mean.At5 += s.At5 / n
				mean.At10 += s.At10 / n
			}
			mean.MRR = sum / n
			sd := math.Sqrt(max(squares-sum*sum/n, 0) / max(n-1, 1))
			fmt.Fprintf(w, "  %-30s %.3f ± %.3f   %.3f %.3f %.3f\n", m.Name, mean.MRR, sd, mean.At1, mean.At5, mean.At10)
		}
	}
	return nil
}
