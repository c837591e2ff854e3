package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/simd"
)

// An Index finds functions by what they do.
type Index struct {
	Library // whose functions these are
	Entries []Entry

	// A row is codeWeight times the unit embedding of the code of a function, plus
	// commentWeight and packageWeight times those of the first sentences of its comment
	// and of its package's, which are encoded as queries are.
	keys contrastive.Matrix

	texts *Collection // of the names and comments
}

// An Entry is what an index says about a function.
type Entry struct {
	Name      string // path and name, as of Function.FullName
	Short     string // as of Function.String
	Summary   string
	Comment   string
	Package   string // first sentence of its comment
	File      string
	Line      int
	Uses      float64
	Importers int
	Method    bool
}

// A score is codeWeight, commentWeight and packageWeight times three cosines, plus
// textWeight times the share of the greatest score that BM25 can give, plus useWeight
// times log(1 + uses) and importWeight times log(1 + importers), minus methodWeight for a
// method: of two functions that do what is asked, the better known one comes first, that of
// a package which serves many others, and the one that needs no value to begin with.
// The weights were chosen on the development questions.
const (
	codeWeight    = 0.65
	commentWeight = 0.1
	packageWeight = 0.2
	textWeight    = 0.7
	useWeight     = 0.025
	importWeight  = 0.04
	methodWeight  = 0.12

	textK1 = 0.7
	textB  = 0.75
)

// NewIndex encodes the functions that a program for this system can call, or all.
func NewIndex(e *Encoder, c *Corpus, all bool) *Index {
	var functions []*Function
	for i := range c.Functions {
		if f := &c.Functions[i]; all || f.Built && f.Exported() {
			functions = append(functions, f)
		}
	}
	x := &Index{Library: c.Library, Entries: make([]Entry, len(functions))}
	code := make([][]Feature, len(functions))
	comments, packages := make([][]Feature, len(functions)), make([][]Feature, len(functions))
	parallel(len(functions), 32, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			f := functions[i]
			x.Entries[i] = Entry{f.FullName(), f.String(), f.Summary, f.Doc, c.Synopsis[f.Package], f.File, f.Line, f.Uses, f.Importers, f.Receiver != ""}
			code[i] = e.Code(CutIdentifier.CodeWords(f))
			comments[i] = e.Field(Words(f.Summary), Query)
			packages[i] = e.Field(Words(c.Synopsis[f.Package]), Query)
		}
	})
	x.keys = contrastive.NewMatrix(len(functions), e.Dim)
	part := contrastive.NewMatrix(len(functions), e.Dim)
	for _, p := range []struct {
		weight float32
		texts  [][]Feature
	}{{codeWeight, code}, {commentWeight, comments}, {packageWeight, packages}} {
		e.Encode(part, p.texts)
		for i := range functions {
			simd.Normalize(part.Row(i), part.Row(i))
			simd.Axpy(p.weight, part.Row(i), x.keys.Row(i))
		}
	}
	roundRows(x.keys)
	x.collectTexts()
	return x
}

// collectTexts prepares BM25 on the entries.
func (x *Index) collectTexts() {
	texts := make([]Bag, len(x.Entries))
	parallel(len(texts), 32, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			f := &x.Entries[i]
			texts[i] = textTerms(f.Name + " " + f.Summary + " " + f.Comment + " " + f.Package)
		}
	})
	x.texts = NewCollection(texts)
}

// textTerms returns the words of a question or a text about a function, without their
// endings.
func textTerms(text string) Bag {
	words := without(Words(text), stopWords)
	for i, w := range words {
		words[i] = withoutEnding(w)
	}
	return NewBag(words)
}

// A Hit is a function that was found.
type Hit struct {
	*Entry
	Score float64
}

var errNoWords = errors.New("the question has no word")

// Search returns the n functions that answer a question best.
func (x *Index) Search(e *Encoder, question string, n int) ([]Hit, error) {
	if len(Words(question)) == 0 {
		return nil, fmt.Errorf("%q: %w", question, errNoWords)
	}
	hits := make([]Hit, len(x.Entries))
	for i, score := range x.scores(e, question) {
		hits[i] = Hit{&x.Entries[i], score}
	}
	slices.SortStableFunc(hits, func(a, b Hit) int { return cmp.Compare(b.Score, a.Score) })
	return hits[:min(n, len(hits))], nil
}

// scores returns the score of every function.
func (x *Index) scores(e *Encoder, question string) []float64 {
	scores := x.cosines(e, question)
	terms := textTerms(question)
	if most := x.texts.most(terms, textK1); most > 0 {
		for i, s := range x.texts.BM25(terms, textK1, textB) {
			scores[i] += textWeight * s / most
		}
	}
	for i := range scores {
		f := &x.Entries[i]
		scores[i] += useWeight*math.Log1p(f.Uses) + importWeight*math.Log1p(float64(f.Importers))
		if f.Method {
			scores[i] -= methodWeight
		}
	}
	return scores
}

// cosines returns the part of the scores that the encoder gives.
func (x *Index) cosines(e *Encoder, question string) []float64 {
	q := contrastive.NewMatrix(1, e.Dim)
	e.Encode(q, [][]Feature{e.Field(Words(question), Query)})
	query := q.Row(0)
	simd.Normalize(query, query)
	cosines := make([]float64, len(x.Entries))
	for i := range cosines {
		cosines[i] = float64(simd.Dot(query, x.keys.Row(i)))
	}
	return cosines
}

// An Answerer prints answers.
type Answerer struct {
	*Index
	encoder *Encoder
	results int // functions in an answer
	width   int // of a line
}

// Print writes the answer to a question.
func (a Answerer) Print(w io.Writer, question string) error {
	hits, err := a.Search(a.encoder, question, a.results)
	if err != nil {
		return err
	}
	name := 0
	for _, h := range hits {
		name = max(name, utf8.RuneCountInString(h.Short))
	}
	fmt.Fprintf(w, "\n%s\n", question)
	for _, h := range hits {
		fmt.Fprintf(w, "  %.2f  %-*s  %s:%d\n", h.Score, name, h.Short, h.File, h.Line)
		if h.Summary != "" {
			fmt.Fprintf(w, "        %s\n", shorten(h.Summary, a.width-8))
		}
	}
	return nil
}

// shorten cuts a text to a number of columns.
func shorten(text string, columns int) string {
	r := []rune(text)
	if columns < 2 || len(r) <= columns {
		return text
	}
	return string(r[:columns-1]) + "…"
}
