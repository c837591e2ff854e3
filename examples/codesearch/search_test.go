package main

import (
	"math"
	"testing"

	"github.com/contrastive-go/contrastive"
)

// TestScores computes the scores of three functions by hand. All rows of the index are
// zero but the first, which is the question's own direction, so that its cosine is 1.
func TestScores(t *testing.T) {
	e := NewEncoder(8, 64, 1, nil)
	x := &Index{
		Entries: []Entry{
			{Name: "p.A", Comment: "A zips."},
			{Name: "p.T.B", Uses: math.E - 1, Method: true},
			{Name: "q.C", Summary: "Zipping.", Package: "zipped zips zipper", Importers: 3},
		},
		keys: contrastive.NewMatrix(3, 8),
	}
	question := "zip"
	e.Encode(x.keys.Slice(0, 1), [][]Feature{e.Field(Words(question), Query)})
	length := 0.0
	for _, v := range x.keys.Row(0) {
		length += float64(v) * float64(v)
	}
	for j := range x.keys.Row(0) {
		x.keys.Row(0)[j] /= float32(math.Sqrt(length))
	}
	x.collectTexts()
	// The question's word is once in the first text, of p a zip, where a is a stop word,
	// not in the second, p t b, and in the third, of q c zipp zipp zip zipp, once.
	mean := (2.0 + 3 + 6) / 3
	bm25 := func(length float64) float64 {
		return (1 + textK1) / (1 + textK1*(1-textB+textB*length/mean)) / (1 + textK1)
	}
	want := []float64{
		1 + textWeight*bm25(2),
		useWeight - methodWeight,
		textWeight*bm25(6) + importWeight*math.Log(4),
	}
	for i, got := range x.scores(e, question) {
		// Cosines are float32, of 8 columns and with a normalisation.
		if math.Abs(got-want[i]) > 16*0x1p-24 {
			t.Errorf("%s scores %v, want %v", x.Entries[i].Name, got, want[i])
		}
	}
	if hits, err := x.Search(e, question, 2); err != nil || len(hits) != 2 || hits[0].Name != "p.A" || hits[1].Name != "q.C" {
		t.Errorf("Search returns %v, %v", hits, err)
	}
	for i, got := range x.scores(e, "the") { // a stop word, which BM25 does not count
		if math.IsNaN(got) {
			t.Errorf("%s scores NaN", x.Entries[i].Name)
		}
	}
}
