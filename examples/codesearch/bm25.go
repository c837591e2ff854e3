package main

import (
	"math"
	"slices"
)

// A Bag is the words of a text with their counts, in alphabetical order.
type Bag []WordCount

type WordCount struct {
	Word  string
	Count float64
}

// NewBag counts words.
func NewBag(words []string) Bag {
	words = slices.Sorted(slices.Values(words))
	var b Bag
	for i, w := range words {
		if i == 0 || w != words[i-1] {
			b = append(b, WordCount{Word: w})
		}
		b[len(b)-1].Count++
	}
	return b
}

// A Collection is an inverted index: what the lexical baselines know of the
// documents that they rank.
type Collection struct {
	postings   map[string][]posting
	length     []float64 // words in a document
	meanLength float64
	norm       []float64 // Euclidean, of the TF-IDF vector of a document
}

type posting struct {
	doc   int
	count float64
}

// NewCollection indexes docs.
func NewCollection(docs []Bag) *Collection {
	c := &Collection{postings: map[string][]posting{}}
	for i, d := range docs {
		n := 0.0
		for _, w := range d {
			n += w.Count
			c.postings[w.Word] = append(c.postings[w.Word], posting{i, w.Count})
		}
		c.length = append(c.length, n)
		c.meanLength += n / float64(len(docs))
	}
	for _, d := range docs {
		c.norm = append(c.norm, c.tfidfNorm(d))
	}
	return c
}

// idf is the inverse document frequency of Robertson and Zaragoza, "The
// Probabilistic Relevance Framework: BM25 and Beyond" (2009), with 1 added inside
// the logarithm so that it is positive for every word.
func (c *Collection) idf(word string) float64 {
	n := float64(len(c.postings[word]))
	return math.Log(1 + (float64(len(c.length))-n+0.5)/(n+0.5))
}

// BM25 returns the scores of all documents for a query, by the formula of
// Robertson and Zaragoza with the parameters k1 and b.
func (c *Collection) BM25(query Bag, k1, b float64) []float64 {
	scores := make([]float64, len(c.length))
	for _, w := range query {
		idf := c.idf(w.Word)
		for _, p := range c.postings[w.Word] {
			scores[p.doc] += idf * p.count * (k1 + 1) / (p.count + k1*(1-b+b*c.length[p.doc]/c.meanLength))
		}
	}
	return scores
}

// most is what no document's BM25 reaches: each word of the query without end.
func (c *Collection) most(query Bag, k1 float64) (sum float64) {
	for _, w := range query {
		sum += c.idf(w.Word) * (k1 + 1)
	}
	return sum
}

// TFIDF returns the scores of all documents for a query: the cosines of the
// vectors of (1 + log count)·idf.
func (c *Collection) TFIDF(query Bag) []float64 {
	scores := make([]float64, len(c.length))
	for _, w := range query {
		idf := c.idf(w.Word)
		for _, p := range c.postings[w.Word] {
			scores[p.doc] += (1 + math.Log(w.Count)) * (1 + math.Log(p.count)) * idf * idf
		}
	}
	norm := c.tfidfNorm(query)
	for i := range scores {
		if scores[i] > 0 {
			scores[i] /= norm * c.norm[i]
		}
	}
	return scores
}

func (c *Collection) tfidfNorm(b Bag) float64 {
	sum := 0.0
	for _, w := range b {
		x := (1 + math.Log(w.Count)) * c.idf(w.Word)
		sum += x * x
	}
	return math.Sqrt(sum)
}
