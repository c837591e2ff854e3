// Codesearch learns to find functions of the Go standard library by what they
// do, from nothing but the library's own source, and measures how well it does.
//
// It pairs every function with its doc comment, trains an encoder for both with
// the contrastive loss of CLIP, and looks for held-out functions by the first
// sentence of their comments, beside BM25 and TF-IDF. Then it answers queries:
//
//	go run -C examples ./codesearch -q "read a file line by line"
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/contrastive-go/contrastive/simd"
)

func main() {
	err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "codesearch:", err)
		os.Exit(1)
	}
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) (err error) {
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

	// The corpus, and the functions to be found in the end.
	start := time.Now()
	corpus, err := LoadCorpus(s.goroot)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %v\n", corpus.Release, &corpus.Counts)
	pools, err := NewPools(corpus, s.heldOut, s.poolSize, s.pools)
	if err != nil {
		return err
	}
	paired := corpus.Paired(s.heldOut.trainedOn()...)
	fmt.Fprintf(stdout, "%d pairs to train on, %d held out in packages of their own; read in %v\n",
		len(paired), len(corpus.Paired(s.heldOut)), since(start))

	// The model.
	methods := Baselines()
	now := Provenance{corpus.Release, corpus.Fingerprint(), s.heldOut}
	model, seen, err := s.model(paired, now, &methods, stdout, stderr)
	if err != nil || !s.training.first() {
		return err
	}

	// The measurement.
	if seen == now {
		fmt.Fprintf(stdout, "\nEach function is to be found among %d by the first sentence of its comment.\nMeans over pools of the %v split (number of pools: %d); ± is the standard deviation.\n",
			s.poolSize, s.heldOut, len(pools))
		if err := Evaluate(stdout, pools, methods); err != nil {
			return err
		}
	}
	if s.save != "" {
		if err := SaveModel(s.save, model, seen); err != nil {
			return err
		}
	}
	if s.smoke {
		if err := checkRoundTrip(model, seen); err != nil {
			return err
		}
	}

	// The use.
	return s.answer(NewIndex(model, corpus, s.all), stdin, stdout)
}

// settings are the flags. The defaults were chosen on the development split.
type settings struct {
	goroot          string
	heldOut         Split
	pools, poolSize int
	dim, buckets    int
	training        Training
	save, load      string
	smoke           bool
	queries         []string
	results         int
	all             bool
}

func parseFlags(args []string, stderr io.Writer) (*settings, error) {
	s := &settings{heldOut: TestSplit}
	f := flag.NewFlagSet("codesearch", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintln(stderr, "usage: codesearch [flags] [query ...]")
		f.PrintDefaults()
	}
	f.StringVar(&s.goroot, "goroot", "", "Go installation whose source to read (default: that of the go command)")
	f.Func("eval", "`split` to measure on: dev or test (default test; its model is also trained on dev)", func(v string) error {
		i := slices.Index([]string{DevSplit.String(), TestSplit.String()}, v)
		if i < 0 {
			return errors.New("must be dev or test")
		}
		s.heldOut = DevSplit + Split(i)
		return nil
	})
	f.IntVar(&s.pools, "pools", 10, "largest number of pools to measure on")
	f.IntVar(&s.poolSize, "pool", 1000, "candidates in a pool")
	f.IntVar(&s.dim, "dim", 1024, "dimensions of the embeddings")
	f.IntVar(&s.buckets, "buckets", 1<<15, "rows of the embedding table")
	f.IntVar(&s.training.Epochs, "epochs", 3, "passes over the training pairs")
	f.IntVar(&s.training.Batch, "batch", 512, "pairs in a batch")
	f.Float64Var(&s.training.Rate, "rate", 0.6, "learning rate of the embeddings")
	f.Float64Var(&s.training.WeightRate, "weightrate", 0.15, "learning rate of the weights of words")
	f.Float64Var(&s.training.ScaleRate, "scalerate", 0.05, "learning rate of the logarithm of the temperature")
	f.Uint64Var(&s.training.Seed, "seed", 1, "seed of all random choices")
	f.StringVar(&s.save, "save", "", "write the model to `file`")
	f.StringVar(&s.load, "load", "", "read the model from `file` instead of training one")
	f.Func("q", "answer `query`; may be repeated, and follow as arguments", func(v string) error {
		s.queries = append(s.queries, v)
		return nil
	})
	f.IntVar(&s.results, "n", 5, "answers to a query")
	f.BoolVar(&s.all, "all", false, "search also unexported functions, internal packages and commands")
	f.BoolVar(&s.smoke, "smoke", false, "try everything in seconds, with a model too small to be good")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	s.queries = append(s.queries, f.Args()...)
	if s.smoke {
		s.dim, s.buckets, s.pools, s.poolSize = 64, 1<<12, 1, 200
		s.training.Batch, s.training.Steps = 64, 8
	}
	for name, v := range map[string]int{"pools": s.pools, "pool": s.poolSize, "dim": s.dim, "buckets": s.buckets, "epochs": s.training.Epochs, "n": s.results} {
		if v < 1 {
			return nil, fmt.Errorf("-%s is %d and must be positive", name, v)
		}
	}
	if s.goroot == "" {
		var err error
		if s.goroot, err = goroot(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// model trains a model or loads one, and adds it to methods. It returns where the
// model comes from: unless that is now, it may not be measured.
func (s *settings) model(paired []*Function, now Provenance, methods *[]Method, stdout, stderr io.Writer) (*Encoder, Provenance, error) {
	if s.load != "" {
		e, was, err := LoadModel(s.load)
		if err != nil {
			return nil, now, err
		}
		*methods = append(*methods, encoderMethod("trained model", e))
		if was != now {
			fmt.Fprintf(stdout, "%s was trained on %s (corpus %016x) with the %v split held out. This is %s (corpus %016x) and the %v split, "+
				"so the model answers queries, but is not measured: it may have seen what it would be asked for.\n",
				s.load, was.Release, was.Fingerprint, was.HeldOut, now.Release, now.Fingerprint, now.HeldOut)
		}
		return e, was, nil
	}

	examples := Featurizer{s.buckets}.Examples(paired)
	code := make([][]Feature, len(examples))
	for i := range examples {
		code[i] = examples[i].Code[CutIdentifier]
	}
	untrained := NewEncoder(s.dim, s.buckets, s.training.Seed, code)
	e := NewEncoder(s.dim, s.buckets, s.training.Seed, code)
	*methods = append(*methods, encoderMethod("untrained model", untrained), encoderMethod("trained model", e))

	t, err := NewTrainer(e, examples, s.training)
	if err != nil {
		return nil, now, err
	}
	start := time.Now()
	progress := NewProgress(stderr, t.Total())
	for !t.Done() {
		result, err := t.Step()
		if err != nil {
			return nil, now, err
		}
		progress.Step(result, e.Temperature())
	}
	fmt.Fprintf(stdout, "trained in %v, %d steps of %d pairs, on %d processors (%s); τ is now %.4f\n",
		since(start), t.Total(), s.training.Batch, runtime.GOMAXPROCS(0), simd.Level(), e.Temperature())
	return e, now, nil
}

// checkRoundTrip saves a model, loads it, and compares.
func checkRoundTrip(e *Encoder, p Provenance) error {
	dir, err := os.MkdirTemp("", "codesearch")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "model")
	if err := SaveModel(path, e, p); err != nil {
		return err
	}
	again, was, err := LoadModel(path)
	if err != nil {
		return err
	}
	if was != p || !slices.Equal(again.Embedding.Data, e.Embedding.Data) || !slices.Equal(again.Weight, e.Weight) ||
		again.Gain != e.Gain || again.LogScale != e.LogScale {
		return errors.New("the saved model differs from the one in memory")
	}
	return nil
}

// answer answers the queries of the flags, or else those typed at a terminal,
// or else a few of our own.
func (s *settings) answer(x *Index, stdin io.Reader, stdout io.Writer) error {
	queries := s.queries
	if len(queries) == 0 {
		queries = []string{"read a file line by line", "remove leading and trailing white space", "wait until all goroutines have finished"}
	}
	for _, q := range queries {
		if err := x.Print(stdout, q, s.results); err != nil {
			return err
		}
	}
	if len(s.queries) > 0 || !isTerminal(stdin) {
		return nil
	}
	in := bufio.NewScanner(stdin)
	for {
		fmt.Fprint(stdout, "\nsearch> ")
		if !in.Scan() {
			fmt.Fprintln(stdout)
			return in.Err()
		}
		if q := strings.TrimSpace(in.Text()); q != "" {
			if err := x.Print(stdout, q, s.results); err != nil {
				fmt.Fprintln(stdout, err)
			}
		}
	}
}

func since(t time.Time) time.Duration { return time.Since(t).Round(100 * time.Millisecond) }
