package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/adapter"
)

type evalCommand struct {
	Adapter string `required:"" placeholder:"FILE" help:"What train has saved."`
	dataFlags
	Report  string `default:"none" help:"Folder for a report; none is no report."`
	Seed    uint64 `default:"1" help:"Of the bootstrap."`
	Workers int    `default:"0" help:"Goroutines; 0 is one for each processor."`
}

func (e *evalCommand) Run(ctx context.Context, c console) error {
	if e.Workers < 0 {
		return usageError{fmt.Errorf("--workers=%d: must not be negative", e.Workers)}
	}
	a, err := adapter.Load(e.Adapter)
	if err != nil {
		return err
	}
	if err := makeFolder(e.Report); err != nil {
		return usageError{fmt.Errorf("--report: %w", err)}
	}
	d, err := e.read()
	if err != nil {
		return err
	}
	if n := d.queries.vectors.Cols; n != a.Dim() {
		return fmt.Errorf("%s has vectors of %d elements, the adapter is for %d", e.Queries, n, a.Dim())
	}
	s := session{console: c, flags: trainingFlags{Seed: e.Seed, Workers: e.Workers}, data: d, test: d.answered(), adapter: a}
	if len(s.test) == 0 {
		return errors.New("no query has a relevant document")
	}
	s.settings = []detail{{"adapter", e.Adapter}, {"queries", e.Queries}, {"documents", e.Documents}, {"relevant", e.Relevant}}
	if err := s.evaluate(a); err != nil {
		return err
	}
	return s.report(e.Report)
}

// An evaluation is the rankings of the test queries before and after, and what pictures
// need.
type evaluation struct {
	comparison
	pictured []picturedPair
	random   similarities // of documents that do not answer
	relevant similarities
}

// A picturedPair is a query, before and after, and a document that answers it.
type picturedPair struct{ queryBefore, queryAfter, documentBefore, documentAfter []float32 }

// similarities are cosines before and after.
type similarities struct{ before, after []float64 }

// evaluate ranks all documents for the test queries. If the adapter maps documents, they
// are mapped where they are, for there may be no room for others.
func (s *session) evaluate(a *adapter.Adapter) error {
	d := s.data
	queries := gatherRows(d.queries.vectors, s.test)
	keys, grades := make([][]int, len(s.test)), make([][]float32, len(s.test))
	for n, i := range s.test {
		keys[n], grades[n] = d.relevant.keys[i], d.relevant.grades[i]
	}
	order, err := nearest(queries, d.documents.vectors, s.flags.Workers)
	if err != nil {
		return err
	}
	e := &evaluation{}
	before := measure(order, keys, grades)
	sample := s.samplePairs(keys, grades)
	for _, p := range sample {
		e.pictured = append(e.pictured, picturedPair{
			queryBefore: clone(queries.Row(p.query)), documentBefore: clone(d.documents.vectors.Row(p.document)),
		})
		e.relevant.before = append(e.relevant.before, cosine(queries.Row(p.query), d.documents.vectors.Row(p.document)))
		e.random.before = append(e.random.before, cosine(queries.Row(p.query), d.documents.vectors.Row(p.other)))
	}
	mapped := contrastive.NewMatrix(queries.Rows, queries.Cols)
	if err := a.Query.ApplyMatrix(mapped, queries); err != nil {
		return err
	}
	if a.Sides != adapter.Queries {
		if err := a.Document.ApplyMatrix(d.documents.vectors, d.documents.vectors); err != nil {
			return err
		}
	}
	if order, err = nearest(mapped, d.documents.vectors, s.flags.Workers); err != nil {
		return err
	}
	after := measure(order, keys, grades)
	for n, p := range sample {
		e.pictured[n].queryAfter, e.pictured[n].documentAfter = clone(mapped.Row(p.query)), clone(d.documents.vectors.Row(p.document))
		e.relevant.after = append(e.relevant.after, cosine(mapped.Row(p.query), d.documents.vectors.Row(p.document)))
		e.random.after = append(e.random.after, cosine(mapped.Row(p.query), d.documents.vectors.Row(p.other)))
	}
	e.comparison = compare(before, after, s.flags.Seed)
	s.evaluation = e
	return s.printTable(s.out)
}

func clone(x []float32) []float32 { return append([]float32(nil), x...) }

func gatherRows(m contrastive.Matrix, rows []int) contrastive.Matrix {
	g := contrastive.NewMatrix(len(rows), m.Cols)
	for n, i := range rows {
		copy(g.Row(n), m.Row(i))
	}
	return g
}

// printTable prints the metrics before and after.
func (s *session) printTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\tbefore\tafter\tdifference\n")
	for m, name := range metricNames {
		d := s.difference[m]
		fmt.Fprintf(w, "%s\t%.3f\t%.3f\t%+.3f  %+.3f … %+.3f%s\n", name, s.before[m].mean, s.after[m].mean, d.mean, d.low, d.high, star(d))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, b := range s.baselines {
		fmt.Fprintf(out, "%s: nDCG@10 %s, MRR %s, %s\n", b.name, figure(b.ndcg), figure(b.mrr), b.note)
	}
	_, err := fmt.Fprintf(out, "%d queries, %d documents; 95 %% bootstrap intervals, * where 0 is outside\n", s.queries, s.data.documents.vectors.Rows)
	return err
}

func meanOf(queries []queryMetrics) (mean queryMetrics) {
	for _, q := range queries {
		for m, v := range q {
			mean[m] += v / float64(len(queries))
		}
	}
	return mean
}

// star marks what is not by the choice of the queries.
func star(d interval) string {
	if d.low > 0 || d.high < 0 {
		return " *"
	}
	return ""
}
