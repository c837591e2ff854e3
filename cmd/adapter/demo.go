package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/contrastive-go/contrastive"
)

type demoCommand struct {
	GoRoot        string `name:"goroot" placeholder:"DIR" help:"Go installation; the default is that of the go command."`
	Dim           int    `default:"512" help:"Dimensions of the encoder."`
	Pool          int    `default:"1000" help:"Functions that each is to be found among."`
	Report        string `default:"adapter-demo" help:"Folder for the report; none is no report."`
	Out           string `short:"o" placeholder:"FILE" help:"Where the adapter goes, if it is to be kept."`
	trainingFlags `embed:""`
}

func (d *demoCommand) Run(ctx context.Context, c console) error {
	switch {
	case d.Dim < 2 || d.Dim > 1024:
		return usageError{fmt.Errorf("--dim=%d: must be from 2 to 1024", d.Dim)}
	case d.Pool < 10:
		return usageError{fmt.Errorf("--pool=%d: must be at least 10", d.Pool)}
	}
	if err := d.trainingFlags.check(); err != nil {
		return err
	}
	if err := makeFolder(d.Report); err != nil {
		return usageError{fmt.Errorf("--report: %w", err)}
	}
	if d.Out != "" {
		if err := checkWritable(d.Out); err != nil {
			return usageError{fmt.Errorf("--out: %w", err)}
		}
	}
	root := d.GoRoot
	if root == "" {
		var err error
		if root, err = goRoot(ctx); err != nil {
			return err
		}
	}
	begun := time.Now()
	functions, err := readCorpus(root)
	if err != nil {
		return err
	}
	parts := map[part][]function{}
	for _, f := range functions {
		parts[partOf(f.pkg)] = append(parts[partOf(f.pkg)], f)
	}
	test := parts[testPart]
	if len(test) < d.Pool || len(parts[validationPart]) < 10 || len(parts[trainPart]) < 10 {
		return fmt.Errorf("%s: has %d test functions, too few for a pool of %d", root, len(test), d.Pool)
	}
	rng := rand.New(rand.NewPCG(1909, 9436))
	rng.Shuffle(len(test), func(i, j int) { test[i], test[j] = test[j], test[i] })
	test = test[:d.Pool]
	fmt.Fprintf(c.err, "read %d functions with comments from %s in %.1f s\n", len(functions), root, time.Since(begun).Seconds())

	begun = time.Now()
	learned := append(append([]function(nil), parts[trainPart]...), parts[validationPart]...)
	comments, code := textsOf(learned)
	e, err := newEncoder(append(append([][]string(nil), comments...), code...), d.Dim, d.Seed)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.err, "embedded hashed tf-idf in %d dimensions by its singular vectors in %.1f s\n", d.Dim, time.Since(begun).Seconds())
	if err := ctx.Err(); err != nil {
		return err
	}

	s := session{console: c, flags: d.trainingFlags, title: "Adapter: comments and functions of the Go standard library"}
	if s.data, err = pairs(e, comments, code); err != nil {
		return err
	}
	s.train = s.data.answered()
	for i := range learned {
		if i >= len(parts[trainPart]) {
			s.validation = append(s.validation, i)
		}
	}
	a, err := s.fit(ctx)
	if a == nil {
		return err
	}
	interrupted := err
	if interrupted != nil && !errors.Is(interrupted, context.Canceled) {
		return interrupted
	}
	if d.Out != "" {
		if err := a.Save(d.Out); err != nil {
			return err
		}
	}
	comments, code = textsOf(test)
	if s.data, err = pairs(e, comments, code); err != nil {
		return err
	}
	s.test = s.data.answered()
	lexical := meanOf(measure(bm25(comments, code), s.data.relevant.keys, s.data.relevant.grades))
	s.baselines = []baseline{
		{"BM25", "of the same words", lexical[metricNDCG10], lexical[metricMRR]},
		// Of examples/README.md, of the same split.
		{"examples/codesearch", "by its README, in other pools", math.NaN(), 0.642},
	}
	s.settings = []detail{
		{"task", fmt.Sprintf("find a function among %d by the first sentence of its comment, without its name", len(test))},
		{"split", "packages as a whole: 3/5 to train on, 1/5 for validation, 1/5 for the test"},
		{"encoder", "tf-idf of hashed words, by its greatest singular vectors; not trained for the task"},
	}
	fmt.Fprintf(c.out, "find a function among %d of packages not seen,\nby the first sentence of its comment, without its name:\n", len(test))
	if err := s.evaluate(a); err != nil {
		return err
	}
	if err := s.report(d.Report); err != nil {
		return err
	}
	return interrupted
}

func textsOf(functions []function) (comments, code [][]string) {
	for _, f := range functions {
		comments, code = append(comments, f.comment), append(code, f.code)
	}
	return comments, code
}

// pairs has comments for queries, which the functions of the same rows answer.
func pairs(e *encoder, comments, code [][]string) (*dataset, error) {
	set := func(path string, vectors contrastive.Matrix) *vectorSet {
		s := &vectorSet{path: path, row: map[string]int{}, vectors: vectors}
		for i := range vectors.Rows {
			s.ids = append(s.ids, strconv.Itoa(i))
			s.row[s.ids[i]] = i
		}
		return s
	}
	d := &dataset{queries: set("comments", e.encode(comments)), documents: set("functions", e.encode(code))}
	var err error
	d.relevant, err = identityRelevance(d.queries, d.documents)
	return d, err
}
