package main

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func bag(text string) Bag { return NewBag(strings.Fields(text)) }

func TestNewBag(t *testing.T) {
	want := Bag{{"a", 1}, {"b", 2}, {"c", 1}}
	if got := bag("b c b a"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := NewBag(nil); len(got) != 0 {
		t.Errorf("no words make %v", got)
	}
}

// The three documents have 3, 1 and 2 words, 2 on average. Of the query's words
// a is in one document and b in two:
//
//	idf(a) = log(1 + 2.5/1.5) = log(8/3),  idf(b) = log(1 + 1.5/2.5) = log(8/5).
func collection() (*Collection, float64, float64) {
	return NewCollection([]Bag{bag("a a b"), bag("c"), bag("b d")}), math.Log(8. / 3), math.Log(8. / 5)
}

// relative is a bound on the rounding error of a score, whose computation has
// fewer than 64 operations on positive numbers.
const relative = 64 * 0x1p-53

func checkScores(t *testing.T, got, want []float64) {
	t.Helper()
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= relative*want[i]) {
			t.Errorf("document %d scores %v, want %v", i, got[i], want[i])
		}
	}
}

func TestBM25(t *testing.T) {
	c, a, b := collection()
	// With k1 = 2 and b = 1/2 the length norms k1·(1/2 + length/4) are 5/2, 3/2, 2.
	checkScores(t, c.BM25(bag("a b x"), 2, 0.5), []float64{
		a*2*3/(2+2.5) + b*1*3/(1+2.5),
		0,
		b * 1 * 3 / (1 + 2),
	})
}

// With b = 0 the length of a document has no part, and a word that it repeats without
// end comes as near to the most as it likes.
func TestMost(t *testing.T) {
	c, a, b := collection()
	x := math.Log(1 + 3.5/0.5) // of a word in no document
	checkScores(t, []float64{c.most(bag("a b b x"), 2), c.most(nil, 2)}, []float64{3 * (a + b + x), 0})

	c = NewCollection([]Bag{{{"a", 1e9}}, bag("b")})
	if score, most := c.BM25(bag("a"), 2, 0)[0], c.most(bag("a"), 2); !(score < most && score > most*(1-3e-9)) {
		t.Errorf("the score is %v, the most %v", score, most)
	}
}

func TestTFIDF(t *testing.T) {
	c, a, b := collection()
	d := a                     // idf of d, which is in one document like a
	x := math.Log(1 + 3.5/0.5) // of a word in no document
	two := 1 + math.Ln2
	query := math.Sqrt(a*a + two*two*b*b + x*x)
	checkScores(t, c.TFIDF(bag("a b b x")), []float64{
		(two*a*a + two*b*b) / (query * math.Sqrt(two*two*a*a+b*b)),
		0,
		two * b * b / (query * math.Sqrt(b*b+d*d)),
	})
	for i, s := range c.TFIDF(nil) {
		if s != 0 {
			t.Errorf("the empty query gives document %d a score of %v", i, s)
		}
	}
}
