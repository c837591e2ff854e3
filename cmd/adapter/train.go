package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/adapter"
	"github.com/contrastive-go/contrastive/retrieval"
)

// dataFlags say where the data are.
type dataFlags struct {
	Queries     string `required:"" placeholder:"FILE" help:"Vectors of queries."`
	Documents   string `required:"" placeholder:"FILE" help:"Vectors of documents."`
	Relevant    string `placeholder:"FILE" help:"Which documents answer which queries: pairs (2 columns), triplets, qrels (TREC, or TSV with a header), or .jsonl with query, positive, negative, score, weight. Without it, row i of one answers row i of the other."`
	Format      string `enum:"auto,pairs,triplets,qrels,trec,jsonl" default:"auto" help:"Format of --relevant: ${enum}."`
	QueryIDs    string `name:"query-ids" placeholder:"FILE" help:"Ids of queries, one a line."`
	DocumentIDs string `name:"document-ids" placeholder:"FILE" help:"Ids of documents, one a line."`
}

// A dataset is what these files hold.
type dataset struct {
	queries, documents *vectorSet
	relevant           *relevance
}

func (f dataFlags) read() (*dataset, error) {
	var d dataset
	var err error
	if d.queries, err = readVectors(f.Queries, f.QueryIDs); err != nil {
		return nil, err
	}
	if d.documents, err = readVectors(f.Documents, f.DocumentIDs); err != nil {
		return nil, err
	}
	if q, k := d.queries.vectors.Cols, d.documents.vectors.Cols; q != k {
		return nil, fmt.Errorf("%s has vectors of %d elements, %s of %d: they must come from one model", f.Queries, q, f.Documents, k)
	}
	if f.Relevant == "" {
		d.relevant, err = identityRelevance(d.queries, d.documents)
	} else {
		d.relevant, err = readRelevance(f.Relevant, f.Format, d.queries, d.documents)
	}
	if err != nil {
		return nil, err
	}
	return &d, nil
}

// answered returns the queries that have a relevant document.
func (d *dataset) answered() (queries []int) {
	for i, grades := range d.relevant.grades {
		if slices.ContainsFunc(grades, func(g float32) bool { return g > 0 }) {
			queries = append(queries, i)
		}
	}
	return queries
}

// trainingFlags are the settings of training.
type trainingFlags struct {
	Kind             string  `enum:"linear,low-rank,mlp" default:"linear" help:"Form of the map: ${enum}."`
	Sides            string  `enum:"queries,both,shared" default:"queries" help:"What is mapped: ${enum}. With queries the index stays as it is."`
	Rank             int     `default:"0" help:"Rank of a low-rank map; 0 is 32, or the dimension if that is less."`
	Hidden           int     `default:"0" help:"Width between the layers of an mlp; 0 is the dimension."`
	Loss             string  `enum:"auto,clip,infonce,siglip,dcl" default:"auto" help:"Loss: ${enum}. auto is clip, or infonce if there are hard negatives."`
	Temperature      float32 `default:"0.07" help:"Temperature at the start."`
	FixedTemperature bool    `help:"Do not learn the temperature."`
	Matryoshka       []int   `placeholder:"D,…" help:"Also train the first D columns, for each D."`
	Epochs           int     `default:"20" help:"Passes over the pairs, at most."`
	Batch            int     `default:"256" help:"Pairs of a step."`
	Rate             float64 `default:"0.001" help:"Greatest learning rate."`
	Warmup           int     `default:"0" help:"Steps until that; 0 is a tenth of all."`
	Decay            float64 `default:"0" help:"Weight decay, towards the identity."`
	Patience         int     `default:"5" help:"Epochs without a better nDCG after which training stops; -1 is never."`
	Negatives        int     `default:"0" help:"Hard negatives of a pair and step; 0 is all."`
	Mine             int     `default:"0" help:"Hard negatives of each query to mine before training, of documents less similar than its positives."`
	Validation       float64 `default:"0.1" help:"Share of the training queries that choose the best epoch."`
	Seed             uint64  `default:"1" help:"Determines all that is random."`
	Workers          int     `default:"0" help:"Goroutines; 0 is one for each processor. Results do not depend on it."`
	Checkpoint       string  `placeholder:"FILE" help:"Keep the state of training here after each epoch, and when it is interrupted."`
	Resume           bool    `help:"Go on from the checkpoint, if it exists."`
}

func (f trainingFlags) check() error {
	switch {
	case f.Temperature <= 0 || f.Temperature-f.Temperature != 0:
		return usageError{fmt.Errorf("--temperature=%v: must be positive", f.Temperature)}
	case f.Mine < 0:
		return usageError{fmt.Errorf("--mine=%d: must not be negative", f.Mine)}
	case f.Resume && f.Checkpoint == "":
		return usageError{errors.New("--resume: needs a --checkpoint")}
	case !(f.Validation > 0 && f.Validation < 1):
		return usageError{fmt.Errorf("--validation=%v: must be between 0 and 1", f.Validation)}
	case f.Epochs < 1, f.Batch < 2, f.Rank < 0, f.Hidden < 0, f.Warmup < 0, f.Negatives < 0, f.Workers < 0:
		return usageError{errors.New("--epochs must be positive, --batch at least 2, --rank, --hidden, --warmup, --negatives and --workers not negative")}
	case !(f.Rate > 0) || f.Rate > 1e6 || !(f.Decay >= 0) || f.Decay > 1e6:
		return usageError{fmt.Errorf("--rate=%v --decay=%v: the rate must be positive, the decay not negative", f.Rate, f.Decay)}
	}
	return nil
}

// config returns the settings for vectors of dim elements.
func (f trainingFlags) config(dim int, hard bool) (adapter.Config, error) {
	c := adapter.Config{
		Hidden: f.Hidden, Rank: f.Rank, FixedTemperature: f.FixedTemperature, Epochs: f.Epochs, BatchSize: f.Batch,
		HardNegatives: f.Negatives, LearningRate: f.Rate, WarmupSteps: f.Warmup, WeightDecay: f.Decay, ValidationShare: f.Validation,
		Patience: f.Patience, Seed: f.Seed, Workers: f.Workers, Checkpoint: f.Checkpoint, Resume: f.Resume,
	}
	for kind := range adapter.MLP + 1 {
		if kind.String() == f.Kind {
			c.Kind = kind
		}
	}
	for side := range adapter.Shared + 1 {
		if side.String() == f.Sides {
			c.Sides = side
		}
	}
	switch f.Loss {
	case "siglip":
		c.Loss = contrastive.SigLIP{Temperature: f.Temperature, Bias: -10}
	case "dcl":
		c.Loss = contrastive.DCL{Temperature: f.Temperature}
	case "clip":
		c.Loss = contrastive.CLIP{Temperature: f.Temperature}
	case "infonce":
		c.Loss = contrastive.InfoNCE{Temperature: f.Temperature, InBatch: true}
	default:
		c.Loss = contrastive.CLIP{Temperature: f.Temperature}
		if hard {
			c.Loss = contrastive.InfoNCE{Temperature: f.Temperature, InBatch: true}
		}
	}
	if _, takesHard := c.Loss.(contrastive.InfoNCE); hard && !takesHard {
		return c, usageError{fmt.Errorf("--loss=%s: takes no hard negatives: use infonce", f.Loss)}
	}
	if f.Rank > dim {
		return c, usageError{fmt.Errorf("--rank=%d: must be at most the %d dimensions", f.Rank, dim)}
	}
	if len(f.Matryoshka) > 0 {
		dims := append([]int{}, f.Matryoshka...)
		for i, d := range dims {
			if d < 1 || d > dim {
				return c, usageError{fmt.Errorf("--matryoshka=%d: must be from 1 to the %d dimensions", d, dim)}
			}
			if slices.Contains(dims[:i], d) {
				return c, usageError{fmt.Errorf("--matryoshka=%d: is there twice", d)}
			}
		}
		if !slices.Contains(dims, dim) {
			dims = append(dims, dim)
		}
		c.Loss = contrastive.Matryoshka{Loss: c.Loss, Dims: dims}
	}
	return c, nil
}

type trainCommand struct {
	dataFlags
	trainingFlags
	Test   float64 `default:"0.2" help:"Share of the queries that are measured in the end, and are not trained on."`
	Out    string  `short:"o" default:"adapter.safetensors" help:"Where the adapter goes."`
	Report string  `default:"adapter-report" help:"Folder for the report: report.html and its pictures; none is no report."`
}

func (t *trainCommand) Run(ctx context.Context, c console) error {
	if !(t.Test > 0 && t.Test < 1) {
		return usageError{fmt.Errorf("--test=%v: must be between 0 and 1", t.Test)}
	}
	if err := t.trainingFlags.check(); err != nil {
		return err
	}
	// What is wrong with these is to be known before the training.
	if err := checkWritable(t.Out); err != nil {
		return usageError{fmt.Errorf("--out: %w", err)}
	}
	if t.Checkpoint != "" {
		if err := checkWritable(t.Checkpoint); err != nil {
			return usageError{fmt.Errorf("--checkpoint: %w", err)}
		}
	}
	if err := makeFolder(t.Report); err != nil {
		return usageError{fmt.Errorf("--report: %w", err)}
	}
	begun := time.Now()
	d, err := t.read()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.err, "read %d queries and %d documents of %d dimensions in %.1f s\n",
		len(d.queries.ids), len(d.documents.ids), d.queries.vectors.Cols, time.Since(begun).Seconds())
	train, test := splitTest(d.answered(), t.Test, t.Seed)
	if len(train) < 2 {
		return fmt.Errorf("%d queries have a relevant document: too few to train on and to measure", len(train)+len(test))
	}
	s := session{console: c, flags: t.trainingFlags, data: d, train: train, test: test}
	s.settings = []detail{{"queries", t.Queries}, {"documents", t.Documents}, {"relevant", t.Relevant}}
	a, err := s.fit(ctx)
	if a == nil {
		return err
	}
	interrupted := err
	if err := a.Save(t.Out); err != nil {
		return err
	}
	fmt.Fprintf(c.err, "saved %s\n", t.Out)
	if err := s.evaluate(a); err != nil {
		return err
	}
	if err := s.report(t.Report); err != nil {
		return err
	}
	return interrupted
}

// splitTest draws the queries that are measured in the end; both lists are in order.
func splitTest(answered []int, share float64, seed uint64) (train, test []int) {
	shuffled := slices.Clone(answered)
	rng := rand.New(rand.NewPCG(seed, 0x7465_7374))
	rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	n := max(1, int(share*float64(len(shuffled))+0.5))
	n = min(n, len(shuffled))
	train, test = shuffled[n:], shuffled[:n]
	slices.Sort(train)
	slices.Sort(test)
	return train, test
}

// checkWritable returns an error unless the file can be written, and leaves it as it is.
func checkWritable(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return fmt.Errorf("%s is a folder", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".adapter-*")
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", path, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// noReport is the name of no folder.
const noReport = "none"

func makeFolder(path string) error {
	switch path {
	case noReport:
		return nil
	case "":
		return fmt.Errorf("empty: takes a folder, or %s", noReport)
	}
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	return checkWritable(filepath.Join(path, "report.html"))
}

// A session is the training and measuring of one adapter.
type session struct {
	console
	flags       trainingFlags
	data        *dataset
	train, test []int
	validation  []int    // queries, if they are chosen
	settings    []detail // for the report
	title       string
	baselines   []baseline // other ways to rank the test queries

	adapter *adapter.Adapter
	curve   curve
	seconds float64
	*evaluation
}

// A baseline is another way to rank.
type baseline struct {
	name, note string
	ndcg, mrr  float64 // NaN if it is not known
}

// fit trains. The adapter may come with an error: the best so far.
func (s *session) fit(ctx context.Context) (*adapter.Adapter, error) {
	d := s.data
	data := adapter.Data{
		Queries: d.queries.vectors, Documents: d.documents.vectors,
		Relevant:   retrieval.Relevance{Keys: make([][]int, len(d.queries.ids)), Grades: make([][]float32, len(d.queries.ids))},
		Weights:    d.relevant.weights,
		Validation: s.validation,
	}
	hard := make([][]int, len(d.queries.ids))
	anyHard := false
	for _, i := range s.train {
		data.Relevant.Keys[i], data.Relevant.Grades[i], hard[i] = d.relevant.keys[i], d.relevant.grades[i], d.relevant.hard[i]
		anyHard = anyHard || len(hard[i]) > 0
	}
	if s.flags.Mine > 0 {
		if err := s.mine(data, hard); err != nil {
			return nil, err
		}
		anyHard = true
	}
	if anyHard {
		data.Hard = hard
	}
	config, err := s.flags.config(d.queries.vectors.Cols, anyHard)
	if err != nil {
		return nil, err
	}
	show := newProgress(s.err)
	config.Progress = func(p adapter.Progress) {
		s.curve.add(p)
		show.report(p)
	}
	begun := time.Now()
	a, err := adapter.Fit(ctx, data, config)
	show.end()
	s.seconds = time.Since(begun).Seconds()
	if a == nil || err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	s.adapter = a
	t := a.Training
	fmt.Fprintf(s.err, "%d pairs, %d steps in %.1f s\nthe best of %d epochs is %d: validation nDCG@10 %.3f, %.3f before\n",
		t.Pairs, t.Steps, s.seconds, t.Epochs, t.BestEpoch, t.NDCG, t.NDCGBefore)
	if t.BestEpoch == 0 {
		fmt.Fprintf(s.err, "no epoch was better than the vectors as they are: the adapter is the identity\n")
	}
	return a, err
}

// mine adds hard negatives, of the training queries.
func (s *session) mine(data adapter.Data, hard [][]int) error {
	positives := make([][]int, len(s.train))
	queries := contrastive.NewMatrix(len(s.train), data.Queries.Cols)
	for n, i := range s.train {
		positives[n] = data.Relevant.Keys[i]
		copy(queries.Row(n), data.Queries.Row(i))
	}
	// Those that are more similar than a positive are often positives nobody has listed:
	// the limit of 95 % of Moreira et al., "NV-Retriever" (2024).
	m := retrieval.Miner{Count: s.flags.Mine, Filter: contrastive.RelativeMargin, FilterMargin: -0.05, Options: retrieval.Options{Workers: s.flags.Workers}}
	mined, err := m.Mine(queries, data.Documents, positives)
	if err != nil {
		return err
	}
	total := 0
	for n, i := range s.train {
		for _, j := range mined[n] {
			if !slices.Contains(hard[i], j) {
				hard[i] = append(slices.Clip(hard[i]), j)
				total++
			}
		}
	}
	fmt.Fprintf(s.err, "mined %d hard negatives of %d queries\n", total, len(s.train))
	return nil
}

// details are what a report tells of how the figures have come about.
func (s *session) details() []detail {
	t := s.adapter.Training
	loss, _, _ := strings.Cut(t.Loss, "{")
	return append(slices.Clone(s.settings),
		detail{"map", fmt.Sprintf("%v, of %v", s.adapter.Kind, s.adapter.Sides)},
		detail{"dimensions", fmt.Sprint(s.adapter.Dim())},
		detail{"loss", strings.TrimPrefix(loss, "contrastive.")},
		detail{"pairs", fmt.Sprint(t.Pairs)},
		detail{"batch, greatest rate", fmt.Sprintf("%d, %g", s.flags.Batch, s.flags.Rate)},
		detail{"steps, epochs", fmt.Sprintf("%d, %d; the best is %d", t.Steps, t.Epochs, t.BestEpoch)},
		detail{"temperature", fmt.Sprintf("%.3f", t.Temperature)},
		detail{"validation queries", fmt.Sprint(t.ValidationQueries)},
		detail{"seconds of training", fmt.Sprintf("%.1f", s.seconds)},
		detail{"seed", fmt.Sprint(s.flags.Seed)},
	)
}

type detail struct{ Name, Value string }
