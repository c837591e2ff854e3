package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/contrastive-go/contrastive"
)

// An Index finds functions by what they do. They need no comment for it.
type Index struct {
	encoder   *Encoder
	functions []*Function
	keys      contrastive.Matrix
}

// NewIndex encodes the functions that every program can call, or all.
func NewIndex(e *Encoder, c *Corpus, all bool) *Index {
	x := &Index{encoder: e}
	for i := range c.Functions {
		if f := &c.Functions[i]; all || f.Exported() {
			x.functions = append(x.functions, f)
		}
	}
	code := make([][]Feature, len(x.functions))
	parallel(len(code), 32, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			code[i] = e.Code(CutIdentifier.CodeWords(x.functions[i]))
		}
	})
	x.keys = contrastive.NewMatrix(len(code), e.Dim)
	e.Encode(x.keys, code)
	return x
}

// A Hit is a function that was found.
type Hit struct {
	*Function
	Cosine float32
}

var errNoWords = errors.New("the query has no word")

// Search returns the n functions that are nearest to a query.
func (x *Index) Search(query string, n int) ([]Hit, error) {
	words := Words(query)
	if len(words) == 0 {
		return nil, fmt.Errorf("%q: %w", query, errNoWords)
	}
	q := contrastive.NewMatrix(1, x.encoder.Dim)
	x.encoder.Encode(q, [][]Feature{x.encoder.Field(words, Query)})
	index, cosine, err := contrastive.TopK(q, x.keys, min(n, len(x.functions)))
	if err != nil {
		return nil, err
	}
	var hits []Hit
	for i, j := range index[0] {
		hits = append(hits, Hit{x.functions[j], cosine[0][i]})
	}
	return hits, nil
}

// Print writes the answer to a query.
func (x *Index) Print(w io.Writer, query string, n int) error {
	hits, err := x.Search(query, n)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%s\n", query)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, h := range hits {
		fmt.Fprintf(t, "  %.3f\t%s\t%s\t%s:%d\n", h.Cosine, h, h.Package, h.File, h.Line)
	}
	return t.Flush()
}
