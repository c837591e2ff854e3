package main

import (
	_ "embed"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// A Question is what a Go programmer might ask, with the functions that answer it.
type Question struct {
	Split Split
	Text  string
	Right map[string]bool // by Function.FullName
}

//go:embed questions.tsv
var questionList string

// Questions returns the questions of a split. They were written down before any was
// tried, and dealt to the development and test splits in turn; the last ones were added
// to the development split later, and ask for functions that answer no test question.
func Questions(split Split) (questions []Question) {
	for line := range strings.Lines(questionList) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if fields[0] == split.String() {
			questions = append(questions, Question{split, fields[1], set(strings.Fields(fields[2]))})
		}
	}
	return questions
}

// rank returns the rank of the first right function, if entries are ordered by
// scores, or 0 if none is there. A function that ties with it is before it.
func (q Question) rank(entries []Entry, scores []float64) int {
	best := math.Inf(-1)
	for i := range entries {
		if q.Right[entries[i].Name] {
			best = max(best, scores[i])
		}
	}
	if math.IsInf(best, -1) {
		return 0
	}
	rank := 1
	for i, score := range scores {
		if score >= best && !q.Right[entries[i].Name] {
			rank++
		}
	}
	return rank
}

// EvaluateQuestions prints how many questions have a right function among the first
// ones, of all that a program can call: by BM25, without comments and with them, by
// the model alone, and as it answers. Unlike the pools, the questions ask for
// packages that the model may have been trained on.
func EvaluateQuestions(w io.Writer, c *Corpus, m *Model, split Split) error {
	x := NewIndex(m.Encoder, c, false)
	questions := Questions(split)
	fmt.Fprintf(w, "\n%d questions about %d functions      R@1   R@5  R@10\n", len(questions), len(x.Entries))
	for _, method := range []struct {
		name  string
		score func(string) []float64
	}{
		{"BM25", bm25Index(c, false)},
		{"BM25 with comments", bm25Index(c, true)},
		{"trained model, cosines alone", func(q string) []float64 { return x.cosines(m.Encoder, q) }},
		{"trained model", func(q string) []float64 { return x.scores(m.Encoder, q) }},
	} {
		ranks := make([]int, len(questions))
		parallel(len(questions), 1, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				ranks[i] = questions[i].rank(x.Entries, method.score(questions[i].Text))
			}
		})
		fmt.Fprintf(w, "  %-36s", method.name)
		for _, k := range []int{1, 5, 10} {
			n := 0
			for _, r := range ranks {
				if r > 0 && r <= k {
					n++
				}
			}
			fmt.Fprintf(w, " %5d", n)
		}
		fmt.Fprintln(w)
	}
	return nil
}

// bm25Index returns the scores by BM25 of the functions that a program can call.
func bm25Index(c *Corpus, comments bool) func(question string) []float64 {
	l := lexical{prefixes: true}
	var docs []Bag
	for i := range c.Functions {
		f := &c.Functions[i]
		if !f.Built || !f.Exported() {
			continue
		}
		fields := CutIdentifier.CodeWords(f)
		words := slices.Concat(fields[:]...)
		for range bm25NameTimes - 1 {
			words = append(words, fields[Name]...)
		}
		if comments {
			words = append(words, Words(f.Doc)...)
		}
		docs = append(docs, l.terms(words))
	}
	collection := NewCollection(docs)
	return func(question string) []float64 { return collection.BM25(l.terms(Words(question)), bm25K1, bm25B) }
}
