// Codesearch learns to find functions of the Go standard library by what they do,
// from nothing but the library's own source.
//
// It pairs every function with its doc comment, trains an encoder for both with the
// contrastive loss of CLIP, and answers questions:
//
//	go run -C examples ./codesearch read a file line by line
//
// With -eval it keeps packages from training, looks for their functions by the first
// sentence of their comments, beside BM25 and TF-IDF, and prints how well it does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/contrastive-go/contrastive/examples/internal/cli"
	"github.com/contrastive-go/contrastive/simd"
)

func main() { cli.Main("codesearch", run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (err error) {
	s, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	if connect != nil {
		ranks, part, failed := connect()
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, part()) }()
		if s.training.Ranks = ranks; !s.training.first() {
			stdout, stderr = io.Discard, io.Discard
		}
	}
	library, err := NewLibrary(s.goroot)
	if err != nil {
		return err
	}
	var m *Model
	if s.load != "" {
		m, err = s.loaded(library, stderr)
	} else {
		m, err = s.trained(ctx, library, stderr)
	}
	if err != nil || !s.training.first() {
		return err
	}
	if s.save != "" {
		if err := SaveModel(s.save, m.Encoder, m.Index, m.Provenance); err != nil {
			return err
		}
	}
	if s.smoke {
		if err := checkRoundTrip(m); err != nil {
			return err
		}
	}
	if s.eval != NoSplit {
		if err := s.evaluate(stdout, m, library); err != nil {
			return err
		}
	}

	a := Answerer{m.Index, m.Encoder, s.results, cli.Width(stdout)}
	for _, q := range s.questions {
		if err := a.Print(stdout, q); err != nil {
			return err
		}
	}
	if len(s.questions) > 0 || s.save != "" || s.smoke || s.eval != NoSplit {
		return nil
	}
	return a.Converse(stdin, stdout)
}

// A Model is an encoder, what it has seen, and an index to search.
type Model struct {
	*Encoder
	Index *Index
	Provenance
	untrained *Encoder // nil for a loaded one
}

// settings are the flags. The defaults were chosen on the development split.
type settings struct {
	goroot          string
	eval            Split
	pools, poolSize int
	dim, buckets    int
	training        Training
	save, load      string
	smoke, all      bool
	questions       []string
	results         int
}

// forTraining are the flags that a loaded model has no use for.
var forTraining = []string{"dim", "buckets", "epochs", "batch", "rate", "weightrate", "scalerate", "seed", "smoke"}

func parseFlags(args []string, stderr io.Writer) (*settings, error) {
	s := &settings{eval: NoSplit}
	f := flag.NewFlagSet("codesearch", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintln(stderr, "usage: codesearch [flags] [question]\n\n"+
			"Answers a question, or those of standard input, a line each, or those that are\n"+
			"typed at a terminal. Trains a model first, unless -load names one.")
		f.PrintDefaults()
	}
	f.StringVar(&s.goroot, "goroot", "", "Go installation whose source to read (default: that of the go command)")
	f.Func("eval", "keep the packages of a `split` from training, and measure on them: dev or test", func(v string) error {
		i := slices.Index([]string{DevSplit.String(), TestSplit.String()}, v)
		if i < 0 {
			return errors.New("must be dev or test")
		}
		s.eval = DevSplit + Split(i)
		return nil
	})
	f.IntVar(&s.pools, "pools", 10, "largest number of pools to measure on")
	f.IntVar(&s.poolSize, "pool", 1000, "candidates in a pool")
	f.IntVar(&s.dim, "dim", 512, "dimensions of the embeddings")
	f.IntVar(&s.buckets, "buckets", 1<<15, "rows of the embedding table")
	f.IntVar(&s.training.Epochs, "epochs", 3, "passes over the training pairs")
	f.IntVar(&s.training.Batch, "batch", 512, "pairs in a batch")
	f.Float64Var(&s.training.Rate, "rate", 0.6, "learning rate of the embeddings")
	f.Float64Var(&s.training.WeightRate, "weightrate", 0.15, "learning rate of the weights of words")
	f.Float64Var(&s.training.ScaleRate, "scalerate", 0.05, "learning rate of the logarithm of the temperature")
	f.Uint64Var(&s.training.Seed, "seed", 1, "seed of all random choices")
	f.StringVar(&s.save, "save", "", "write the model to `file`")
	f.StringVar(&s.load, "load", "", "read the model from `file` instead of training one")
	f.Func("q", "answer a `question`; may be repeated", func(v string) error {
		s.questions = append(s.questions, v)
		return nil
	})
	f.IntVar(&s.results, "n", 5, "functions in an answer")
	f.BoolVar(&s.all, "all", false, "search also unexported functions, internal packages, commands and other systems")
	f.BoolVar(&s.smoke, "smoke", false, "try everything in seconds, with a model too small to be good")
	words, err := parseAnywhere(f, args)
	if err != nil {
		return nil, err
	}
	if len(words) > 0 {
		s.questions = append(s.questions, strings.Join(words, " "))
	}
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	return s, s.check(given)
}

// parseAnywhere parses flags that stand before, between and after other arguments,
// and returns those. What follows two hyphens is no flag.
func parseAnywhere(f *flag.FlagSet, args []string) (others []string, err error) {
	for {
		if err := cli.Parse(f, args); err != nil {
			return nil, err
		}
		rest := f.Args()
		if len(rest) == 0 {
			return others, nil
		}
		if before := len(args) - len(rest); before > 0 && args[before-1] == "--" {
			return append(others, rest...), nil
		}
		others, args = append(others, rest[0]), rest[1:]
	}
}

// check reports what is wrong with the flags before anything is trained. It makes the
// settings of -smoke.
func (s *settings) check(given map[string]bool) error {
	for _, q := range s.questions {
		if len(Words(q)) == 0 {
			return cli.Usage("%q: %w", q, errNoWords)
		}
	}
	for _, c := range []struct {
		name     string
		v, least int
	}{
		{"pools", s.pools, 1}, {"pool", s.poolSize, 2}, {"dim", s.dim, 1}, {"buckets", s.buckets, 1},
		{"epochs", s.training.Epochs, 1}, {"batch", s.training.Batch, 2}, {"n", s.results, 1},
	} {
		if c.v < c.least {
			return cli.Usage("-%s is %d and must be at least %d", c.name, c.v, c.least)
		}
	}
	if s.dim > maxTable/s.buckets {
		return cli.Usage("-dim %d times -buckets %d is more than %d", s.dim, s.buckets, maxTable)
	}
	for _, c := range []struct {
		name string
		v    float64
	}{
		{"rate", s.training.Rate}, {"weightrate", s.training.WeightRate}, {"scalerate", s.training.ScaleRate},
	} {
		if !(c.v >= 0 && c.v <= math.MaxFloat32) {
			return cli.Usage("-%s is %v and must be at least 0 and finite", c.name, c.v)
		}
	}
	if s.load != "" {
		for _, name := range forTraining {
			if given[name] {
				return cli.Usage("-%s is for training, and -load reads a model that is trained", name)
			}
		}
		if info, err := os.Stat(s.load); err != nil {
			return cli.Usage("-load: %w", err)
		} else if info.IsDir() {
			return cli.Usage("-load: %s is a directory", s.load)
		}
	}
	if s.eval == NoSplit && (given["pool"] || given["pools"]) {
		return cli.Usage("-pool and -pools are for -eval")
	}
	if s.save != "" {
		if err := cli.CheckWritable(s.save); err != nil {
			return cli.Usage("-save: %w", err)
		}
	}
	if s.smoke {
		s.dim, s.buckets, s.pools, s.poolSize = 64, 1<<12, 1, 200
		s.training.Batch, s.training.Steps = 64, 8
	}
	return nil
}

// loaded reads a model. If its index is of another library, it makes one anew.
func (s *settings) loaded(library Library, stderr io.Writer) (*Model, error) {
	e, x, was, err := LoadModel(s.load)
	if err != nil {
		return nil, err
	}
	if s.all || x.Library != library || library.Version == "" {
		fmt.Fprintf(stderr, "reading the source of %s in %s\n", library.Release(), library.Root)
		corpus, err := LoadCorpus(library)
		if err != nil {
			return nil, err
		}
		x = NewIndex(e, corpus, s.all)
	}
	return &Model{e, x, was, nil}, nil
}

// trained trains a model.
func (s *settings) trained(ctx context.Context, library Library, stderr io.Writer) (*Model, error) {
	start := time.Now()
	corpus, err := LoadCorpus(library)
	if err != nil {
		return nil, err
	}
	paired := corpus.Paired(s.eval.trainedOn()...)
	fmt.Fprintf(stderr, "%s: %d functions, %d of them with comments to train on; read in %v\n",
		corpus.Release(), corpus.Counts.Functions, len(paired), since(start))
	examples := Featurizer{s.buckets}.Examples(paired)
	code := make([][]Feature, len(examples))
	for i := range examples {
		code[i] = examples[i].Code[CutIdentifier]
	}
	e := NewEncoder(s.dim, s.buckets, s.training.Seed, code)
	t, err := NewTrainer(e, examples, s.training)
	if err != nil {
		return nil, cli.Usage("%w", err)
	}
	start = time.Now()
	progress := cli.NewProgress(stderr, "training", 0, t.Total())
	defer progress.Close()
	for !t.Done() {
		if ctx.Err() != nil {
			return nil, cli.Interrupted(ctx.Err(), "stopped before step %d of %d", t.step, t.Total())
		}
		result, err := t.Step()
		if err != nil {
			return nil, err
		}
		progress.Step(t.step, fmt.Sprintf("loss %.3f", result.Loss), fmt.Sprintf("accuracy %.3f", result.Accuracy), fmt.Sprintf("τ %.4f", e.Temperature()))
	}
	e.Round()
	fmt.Fprintf(stderr, "%d steps of %d pairs in %v, on %d processors (%s)\n",
		t.Total(), s.training.Batch, since(start), runtime.GOMAXPROCS(0), simd.Level())
	return &Model{e, NewIndex(e, corpus, s.all), Provenance{corpus.Release(), corpus.Fingerprint(), s.eval},
		NewEncoder(s.dim, s.buckets, s.training.Seed, code)}, nil
}

// evaluate prints how well a model does on what it has not seen.
func (s *settings) evaluate(w io.Writer, m *Model, library Library) error {
	corpus, err := LoadCorpus(library)
	if err != nil {
		return err
	}
	now := Provenance{corpus.Release(), corpus.Fingerprint(), s.eval}
	if m.Provenance != now {
		return fmt.Errorf("%s was trained on %s (corpus %016x) with the %v split held out. This is %s (corpus %016x) and the %v split: "+
			"the model may have seen what it would be asked for", s.load, m.Release, m.Fingerprint, m.HeldOut, now.Release, now.Fingerprint, now.HeldOut)
	}
	pools, err := NewPools(corpus, s.eval, s.poolSize, s.pools)
	if err != nil {
		return cli.Usage("%w", err)
	}
	methods := Baselines()
	if m.untrained != nil {
		methods = append(methods, encoderMethod("untrained model", m.untrained))
	}
	methods = append(methods, encoderMethod("trained model", m.Encoder))
	fmt.Fprintf(w, "%s\nτ is %.4f\n\nEach function is to be found among %d by the first sentence of its comment.\nMeans over pools of the %v split (number of pools: %d); ± is the standard deviation.\n",
		&corpus.Counts, m.Temperature(), s.poolSize, s.eval, len(pools))
	if err := Evaluate(w, pools, methods); err != nil {
		return err
	}
	return EvaluateQuestions(w, corpus, m, s.eval)
}

// checkRoundTrip saves a model, loads it, and compares.
func checkRoundTrip(m *Model) error {
	dir, err := os.MkdirTemp("", "codesearch")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "model")
	if err := SaveModel(path, m.Encoder, m.Index, m.Provenance); err != nil {
		return err
	}
	e, x, was, err := LoadModel(path)
	if err != nil {
		return err
	}
	if was != m.Provenance || !slices.Equal(e.Embedding.Data, m.Embedding.Data) || !slices.Equal(e.Weight, m.Weight) ||
		e.Gain != m.Gain || e.LogScale != m.LogScale ||
		x.Library != m.Index.Library || !slices.Equal(x.Entries, m.Index.Entries) || !slices.Equal(x.keys.Data, m.Index.keys.Data) {
		return errors.New("the saved model differs from the one in memory")
	}
	return nil
}

func since(t time.Time) time.Duration { return time.Since(t).Round(100 * time.Millisecond) }
