package adapter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/race"
	"github.com/contrastive-go/contrastive/retrieval"
)

// ndcgAt10 ranks all documents for all queries.
func ndcgAt10(t *testing.T, a *Adapter, d Data) float64 {
	t.Helper()
	q, k := contrastive.NewMatrix(d.Queries.Rows, d.Queries.Cols), contrastive.NewMatrix(d.Documents.Rows, d.Documents.Cols)
	if err := errors.Join(a.Query.ApplyMatrix(q, d.Queries), a.Document.ApplyMatrix(k, d.Documents)); err != nil {
		t.Fatal(err)
	}
	d = d.withKeys()
	r, err := retrieval.Rank(q, k, d.Relevant, retrieval.Options{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	return r.NDCG[0]
}

// TestFit finds planted maps, and is measured on queries that it has not seen.
func TestFit(t *testing.T) {
	all := rotated(1, 900, 16)
	train := Data{Queries: all.Queries.Slice(0, 600), Documents: all.Documents.Slice(0, 600)}
	test := Data{Queries: all.Queries.Slice(600, 900), Documents: all.Documents.Slice(600, 900)}
	for _, kind := range []Kind{Linear, LowRank, MLP} {
		if testing.Short() && kind != LowRank {
			continue
		}
		for _, side := range []Sides{Queries, Both, Shared} {
			var last Progress
			c := Config{Kind: kind, Sides: side, Rank: 16, Hidden: 64, Epochs: 60, BatchSize: 100, LearningRate: 0.02, Patience: -1, Seed: 3,
				Progress: func(p Progress) { last = p }}
			a, err := Fit(t.Context(), train, c)
			if err != nil {
				t.Fatal(err)
			}
			before, after := ndcgAt10(t, newAdapter(kind, side, 16, c.width(), 0), test), ndcgAt10(t, a, test)
			// One map cannot turn queries without turning documents, too.
			enough := map[Sides]float64{Queries: 0.9, Both: 0.9, Shared: 0.1}[side]
			if before > 0.05 || after < enough {
				t.Errorf("%v of %v: NDCG %.3f → %.3f, want more than %.2f", kind, side, before, after, enough)
			}
			tr := a.Training
			if tr.Epochs != 60 || tr.Steps != 60*5 || tr.Pairs != 540 || tr.ValidationQueries != 60 || tr.BestEpoch < 1 || tr.BestEpoch > 60 ||
				tr.Loss != "contrastive.CLIP{Temperature: 0.07}" ||
				!(tr.Temperature >= 0.01 && tr.Temperature < 0.2) || tr.NDCG != last.Best || !(tr.NDCG > tr.NDCGBefore) {
				t.Errorf("%+v", tr)
			}
			if last.Step != 300 || last.Steps != 300 || last.Epoch != 60 || last.Epochs != 60 || !last.Validated || !(last.Loss > 0) || !(last.Accuracy > 0.1) {
				t.Errorf("%+v", last)
			}
		}
	}
}

// TestNeverWorse has pairs from which nothing can be learned.
func TestNeverWorse(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for seed := range uint64(5) {
		d := Data{Queries: normal(rng, 60, 8), Documents: normal(rng, 60, 8)}
		epochs := 0
		a, err := Fit(t.Context(), d, Config{Seed: seed, LearningRate: 0.1, Patience: 3, ValidationShare: 0.5, Progress: func(p Progress) { epochs = p.Epoch }})
		if err != nil {
			t.Fatal(err)
		}
		if a.Training.NDCG < a.Training.NDCGBefore {
			t.Errorf("NDCG %v → %v", a.Training.NDCGBefore, a.Training.NDCG)
		}
		if epochs == 20 || epochs != a.Training.Epochs || epochs != min(a.Training.BestEpoch+3, 20) {
			t.Errorf("stopped after %d epochs, the best is %d", epochs, a.Training.BestEpoch)
		}
	}
}

// TestValidation holds that the queries that are held out are those that are measured,
// and that nothing is learned from them.
func TestValidation(t *testing.T) {
	d := rotated(5, 200, 8).withKeys()
	d.Validation = upTo(50)
	c := Config{Epochs: 1, BatchSize: 30, LearningRate: 0.05}
	first, err := Fit(t.Context(), d, c)
	if err != nil {
		t.Fatal(err)
	}
	if first.Training.BestEpoch != 1 || first.Training.ValidationQueries != 50 || first.Training.Pairs != 150 {
		t.Fatalf("%+v", first.Training)
	}
	held := Data{Queries: d.Queries.Slice(0, 50), Documents: d.Documents, Relevant: retrieval.Relevance{Keys: d.Relevant.Keys[:50]}}
	if got, want := first.Training.NDCG, ndcgAt10(t, first, held); got != want {
		t.Errorf("NDCG %v, want %v", got, want)
	}
	c.ValidationShare = -1 // Data.Validation goes before it
	if again, err := Fit(t.Context(), d, c); err != nil {
		t.Fatal(err)
	} else {
		sameBits(t, "without a share", again, first)
	}
	// Without them it is the same adapter.
	d.Validation = nil
	for i := range 50 {
		d.Relevant.Keys[i] = nil
	}
	var last Progress
	c.Progress = func(p Progress) { last = p }
	second, err := Fit(t.Context(), d, c)
	if err != nil {
		t.Fatal(err)
	}
	if second.Training.ValidationQueries != 0 || !math.IsNaN(last.NDCG) || !math.IsNaN(last.Best) {
		t.Errorf("%+v, %+v", second.Training, last)
	}
	second.Training = first.Training
	sameBits(t, "without validation queries", second, first)
}

// TestValidationDocuments holds that what is relevant to validation queries, and their
// hard negatives, are among the documents that are ranked.
func TestValidationDocuments(t *testing.T) {
	d := general(4, 40, 300, 4)
	answers := d.answers()
	held := []int{2, 5, 7, 11}
	for _, n := range []int{1, 20, 100, 299} {
		documents := d.validationDocuments(held, answers, Config{ValidationDocuments: n})
		must := map[int]bool{}
		for _, i := range held {
			for _, j := range append(append([]int{}, answers[i]...), d.Hard[i]...) {
				must[j] = true
			}
		}
		if want := max(n, len(must)); len(documents) != want {
			t.Errorf("%d documents, want %d", len(documents), want)
		}
		for i, j := range documents {
			delete(must, j)
			if i > 0 && documents[i-1] >= j {
				t.Fatalf("%v are not in order", documents)
			}
		}
		if len(must) > 0 {
			t.Errorf("%v are missing", must)
		}
	}
	if d.validationDocuments(held, answers, Config{ValidationDocuments: 300}) != nil {
		t.Error("not all, though all are allowed")
	}
	// Ranks among some are those of a ranking of these.
	v := newValidation(&d, answers, held, Config{ValidationDocuments: 50, ValidationQueries: 10})
	for n, i := range held {
		for k, j := range v.relevant.Keys[n] {
			if !reflect.DeepEqual(v.documents.Row(j), d.Documents.Row(answers[i][k])) {
				t.Errorf("query %d: document %d is another", i, j)
			}
			if v.relevant.Grades[n][k] <= 0 {
				t.Errorf("query %d: grade %v", i, v.relevant.Grades[n][k])
			}
		}
	}
	if v := newValidation(&d, answers, held, Config{ValidationDocuments: 50, ValidationQueries: 2}); v.queries.Rows != 2 {
		t.Errorf("%d queries", v.queries.Rows)
	}
}

// generalConfig is one for general data, from which there is nothing to learn.
func generalConfig(c Config) Config {
	c.Epochs, c.BatchSize, c.LearningRate, c.WeightDecay, c.HardNegatives, c.Patience, c.Seed = 3, 7, 0.01, 0.1, 1, -1, 11
	c.WarmupSteps = 2
	return c
}

// TestWorkers holds that results are the same bits for any number of workers.
func TestWorkers(t *testing.T) {
	forms(t, func(t *testing.T, c Config) {
		d := general(6, 40, 90, 70)
		c = generalConfig(c)
		c.ValidationShare = -1
		var first *Adapter
		var reports []string
		for _, c.Workers = range []int{1, 2, 3, 8} {
			var now []string
			c.Progress = func(p Progress) { now = append(now, fmt.Sprintf("%+v", p)) }
			a, err := Fit(t.Context(), d, c)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first, reports = a, now
			}
			if !slices.Equal(now, reports) {
				t.Errorf("%d workers: other reports", c.Workers)
			}
			sameBits(t, fmt.Sprintf("%d workers", c.Workers), a, first)
		}
		c.Seed++
		other, err := Fit(t.Context(), d, c)
		if err != nil {
			t.Fatal(err)
		}
		if reflect.DeepEqual(other.tensors()[0].Data, first.tensors()[0].Data) {
			t.Error("another seed, the same bits")
		}
	})
}

// TestResume interrupts training at each of some steps, and goes on.
func TestResume(t *testing.T) {
	forms(t, func(t *testing.T, c Config) {
		d := general(8, 40, 60, 12)
		c = generalConfig(c)
		switch c.Kind {
		case Linear: // which stops early
			c.Patience = 2
		case LowRank: // with hard negatives
			c.ValidationShare = -1
		case MLP: // with a bias that is learned
			c.Loss, c.ValidationShare = contrastive.SigLIP{Bias: -10}, -1
			d.Hard = nil
		}
		steps := 0
		c.Progress = func(p Progress) { steps = p.Steps }
		whole, err := Fit(t.Context(), d, c)
		if err != nil {
			t.Fatal(err)
		}
		if (whole.Training.Steps < steps) != (c.Kind == Linear) {
			t.Errorf("stopped after step %d of %d", whole.Training.Steps, steps)
		}
		c.Checkpoint, c.Resume = filepath.Join(t.TempDir(), "state"), true
		for _, stop := range []int{0, 4, whole.Training.Steps / 3, 9, whole.Training.Steps - 1} {
			if err := os.RemoveAll(c.Checkpoint); err != nil {
				t.Fatal(err)
			}
			cause := errors.New("enough")
			ctx, cancel := context.WithCancelCause(t.Context())
			c.Progress = func(p Progress) {
				if p.Step == stop {
					cancel(cause)
				}
			}
			a, err := Fit(ctx, d, c)
			if a == nil || !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
				t.Fatalf("%v, %v", a, err)
			}
			if want := fmt.Sprintf("adapter: Fit: after step %d of %d: context canceled: enough", stop, steps); err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
			begun := -1
			c.Progress = func(p Progress) {
				if begun < 0 {
					begun = p.Step
				}
			}
			a, err = Fit(t.Context(), d, c)
			if err != nil {
				t.Fatal(err)
			}
			if begun != stop {
				t.Errorf("went on from step %d, want %d", begun, stop)
			}
			sameBits(t, fmt.Sprintf("interrupted at %d", stop), a, whole)
			// What is complete stays as it is.
			if a, err = Fit(t.Context(), d, c); err != nil || begun != stop {
				t.Fatal(err)
			}
			sameBits(t, "once more", a, whole)
		}
	})
}

func TestBadResume(t *testing.T) {
	d := general(8, 40, 60, 12)
	c := generalConfig(Config{})
	c.Checkpoint, c.Resume = filepath.Join(t.TempDir(), "state"), true
	if _, err := Fit(t.Context(), d, c); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(c.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(c *Config, d *Data){
		"Config.Kind was linear, it is mlp":         func(c *Config, d *Data) { c.Kind = MLP },
		"Config.Sides was queries, it is both":      func(c *Config, d *Data) { c.Sides = Both },
		"Config.Loss was contrastive.InfoNCE{":      func(c *Config, d *Data) { c.Loss = contrastive.InfoNCE{InBatch: true, Margin: 0.5} },
		"Config.FixedTemperature was false":         func(c *Config, d *Data) { c.FixedTemperature = true },
		"Config.Epochs was 3, it is 4":              func(c *Config, d *Data) { c.Epochs = 4 },
		"Config.BatchSize was 7, it is 8":           func(c *Config, d *Data) { c.BatchSize = 8 },
		"Config.HardNegatives was 1, it is 2":       func(c *Config, d *Data) { c.HardNegatives = 2 },
		"Config.LearningRate was 0.01, it is 0.02":  func(c *Config, d *Data) { c.LearningRate = 0.02 },
		"Config.WarmupSteps was ":                   func(c *Config, d *Data) { c.WarmupSteps = 9 },
		"Config.WeightDecay was 0.1, it is 0":       func(c *Config, d *Data) { c.WeightDecay = 0 },
		"Config.ValidationShare was 0.1, it is 0.2": func(c *Config, d *Data) { c.ValidationShare = 0.2 },
		"Config.ValidationQueries was 1000":         func(c *Config, d *Data) { c.ValidationQueries = 3 },
		"Config.ValidationDocuments was 100000":     func(c *Config, d *Data) { c.ValidationDocuments = 30 },
		"Config.Seed was 11, it is 12":              func(c *Config, d *Data) { c.Seed = 12 },
		"Data.Queries was 40×12":                    func(c *Config, d *Data) { d.Queries = normal(rand.New(rand.NewPCG(1, 1)), 40, 12) },
		"Data.Documents was 60×12":                  func(c *Config, d *Data) { d.Documents = normal(rand.New(rand.NewPCG(1, 1)), 61, 12) },
		"Data.Relevant was":                         func(c *Config, d *Data) { d.Relevant.Grades = nil },
		"Data.Hard was":                             func(c *Config, d *Data) { d.Hard = nil; c.Loss = contrastive.InfoNCE{InBatch: true} },
		"Data.Weights was":                          func(c *Config, d *Data) { d.Weights = nil },
		"Data.Validation was":                       func(c *Config, d *Data) { d.Validation = []int{1, 2, 3} },
	} {
		c, d := c, d
		change(&c, &d)
		a, err := Fit(t.Context(), d, c)
		if a != nil || !errors.Is(err, contrastive.ErrParameter) || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "adapter: Fit: checkpoint "+c.Checkpoint) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for n := 0; n < len(good); n += 1 + n/40 {
		b := append([]byte(nil), good...)
		b[n] ^= 0x10
		if err := os.WriteFile(c.Checkpoint, b, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Fit(t.Context(), d, c); !errors.Is(err, ErrFormat) {
			t.Fatalf("byte %d of %d: %v", n, len(good), err)
		}
	}
	if err := newAdapter(Linear, Queries, 12, 0, 0).Save(c.Checkpoint); err != nil {
		t.Fatal(err)
	}
	if _, err := Fit(t.Context(), d, c); !errors.Is(err, ErrFormat) {
		t.Errorf("an adapter for a checkpoint: %v", err)
	}
	c.Checkpoint = t.TempDir()
	if a, err := Fit(t.Context(), d, c); a != nil || err == nil {
		t.Errorf("a directory: %v", err)
	}
	c.Resume = false
	if a, err := Fit(t.Context(), d, c); a == nil || err == nil || !strings.Contains(err.Error(), "checkpoint: ") {
		t.Errorf("a directory: %v", err)
	}
}

// TestDrawHard: every step draws as many of the hard negatives of a query as it is to, each
// once, and other ones than the steps before.
func TestDrawHard(t *testing.T) {
	const n, most = 20, 3
	d := rotated(1, n, 4)
	for i := range n {
		var hard []int
		for k := range i % 5 {
			hard = append(hard, (i+1+k)%n)
		}
		d.Hard = append(d.Hard, hard)
	}
	tr, err := newTrainer(d.withKeys(), Config{HardNegatives: most, ValidationShare: -1}.withDefaults(4))
	if err != nil {
		t.Fatal(err)
	}
	tr.batch = tr.sampler.pairs
	drawn := make([]map[int]bool, n) // in any step
	for i := range drawn {
		drawn[i] = map[int]bool{}
	}
	for tr.step = range 40 {
		tr.drawHard()
		rest := tr.hard
		for k, p := range tr.batch {
			count := min(most, len(d.Hard[p.query]))
			if tr.hardCounts[k] != count {
				t.Fatalf("step %d: %d of %d, want %d", tr.step, tr.hardCounts[k], len(d.Hard[p.query]), count)
			}
			own := map[int]bool{}
			for _, j := range rest[:count] {
				if !slices.Contains(d.Hard[p.query], j) || own[j] {
					t.Fatalf("step %d: %v of %v", tr.step, rest[:count], d.Hard[p.query])
				}
				own[j], drawn[p.query][j] = true, true
			}
			rest = rest[count:]
		}
		if len(rest) > 0 {
			t.Fatalf("step %d: %d are nobody's", tr.step, len(rest))
		}
	}
	for i, hard := range d.Hard {
		if len(drawn[i]) != len(hard) {
			t.Errorf("query %d: %d of %d are drawn in 40 steps", i, len(drawn[i]), len(hard))
		}
	}
}

// TestStepAllocatesNothing counts the allocations of steps, and of the batches of an epoch.
func TestStepAllocatesNothing(t *testing.T) {
	if race.Enabled {
		t.Skip("pools are emptied at random under the race detector")
	}
	forms(t, func(t *testing.T, c Config) {
		d := general(8, 60, 90, 12)
		c = generalConfig(c)
		c.Workers = 1
		d = d.withKeys()
		tr, err := newTrainer(d, c.withDefaults(12))
		if err != nil {
			t.Fatal(err)
		}
		epoch := func() {
			tr.sampler.begin(0)
			for range tr.steps {
				if err := tr.train(); err != nil {
					t.Fatal(err)
				}
			}
		}
		tr.progress.Steps = 1 << 30
		for range 5 {
			epoch() // batches have different numbers of hard negatives
		}
		if n := testing.AllocsPerRun(3, epoch); n > 0 {
			t.Errorf("%v allocations in %d steps", n, tr.steps)
		}
	})
}

func TestBadFit(t *testing.T) {
	nan := math.NaN()
	for want, change := range map[string]struct {
		f  func(c *Config, d *Data)
		is error
	}{
		"Data.Queries is 0×12":                              {func(c *Config, d *Data) { d.Queries = contrastive.Matrix{Cols: 12} }, contrastive.ErrEmpty},
		"Data.Documents is 0×0":                             {func(c *Config, d *Data) { d.Documents = contrastive.Matrix{} }, contrastive.ErrEmpty},
		"Data.Queries is 40×12, Data.Documents is 60×11":    {func(c *Config, d *Data) { d.Documents = contrastive.NewMatrix(60, 11) }, contrastive.ErrShape},
		"Data.Documents is 60×12 with Stride 3":             {func(c *Config, d *Data) { d.Documents.Stride = 3 }, contrastive.ErrShape},
		"Data.Relevant.Keys is nil":                         {func(c *Config, d *Data) { d.Relevant.Keys = nil }, contrastive.ErrShape},
		"Data.Relevant.Keys has 39 elements":                {func(c *Config, d *Data) { d.Relevant.Keys = d.Relevant.Keys[:39] }, contrastive.ErrShape},
		"Data.Relevant.Keys[3][1] is 60":                    {func(c *Config, d *Data) { d.Relevant.Keys[3] = []int{1, 60, 2} }, contrastive.ErrParameter},
		"Data.Relevant.Keys[3][0] is -1":                    {func(c *Config, d *Data) { d.Relevant.Keys[3] = []int{-1, 6, 2} }, contrastive.ErrParameter},
		"Data.Relevant.Keys[3][2] is 6 for the second time": {func(c *Config, d *Data) { d.Relevant.Keys[3] = []int{6, 1, 6} }, contrastive.ErrParameter},
		"Data.Relevant.Grades has 1 elements":               {func(c *Config, d *Data) { d.Relevant.Grades = d.Relevant.Grades[:1] }, contrastive.ErrShape},
		"Data.Relevant.Grades[2] has 1 elements":            {func(c *Config, d *Data) { d.Relevant.Grades[2] = []float32{1} }, contrastive.ErrShape},
		"Data.Relevant.Grades[2][1] is NaN":                 {func(c *Config, d *Data) { d.Relevant.Grades[2][1] = float32(nan) }, contrastive.ErrNotFinite},
		"Data.Relevant.Grades[2][1] is -1":                  {func(c *Config, d *Data) { d.Relevant.Grades[2][1] = -1 }, contrastive.ErrParameter},
		"Data.Hard has 0 elements":                          {func(c *Config, d *Data) { d.Hard = [][]int{} }, contrastive.ErrShape},
		"Data.Hard[1][0] is 99":                             {func(c *Config, d *Data) { d.Hard[1] = []int{99} }, contrastive.ErrParameter},
		"which is relevant to the query":                    {func(c *Config, d *Data) { d.Hard[1] = d.Relevant.Keys[1] }, contrastive.ErrParameter},
		"Data.Weights has 2 elements":                       {func(c *Config, d *Data) { d.Weights = d.Weights[:2] }, contrastive.ErrShape},
		"Data.Weights[7] is NaN":                            {func(c *Config, d *Data) { d.Weights[7] = float32(nan) }, contrastive.ErrNotFinite},
		"Data.Weights[7] is -1":                             {func(c *Config, d *Data) { d.Weights[7] = -1 }, contrastive.ErrParameter},
		"Data.Validation[1] is 40":                          {func(c *Config, d *Data) { d.Validation = []int{3, 40} }, contrastive.ErrParameter},
		"Data.Validation[1] is 3 for the second":            {func(c *Config, d *Data) { d.Validation = []int{3, 3} }, contrastive.ErrParameter},
		"Data.Validation lists 2 queries, none":             {func(c *Config, d *Data) { d.Validation = []int{0, 4} }, contrastive.ErrEmpty},
		"Data.Queries row 4 column 5 is NaN":                {func(c *Config, d *Data) { d.Queries.Row(4)[5] = float32(nan) }, contrastive.ErrNotFinite},
		"Data.Documents row 4 column 5 is +Inf":             {func(c *Config, d *Data) { d.Documents.Row(4)[5] = inf() }, contrastive.ErrNotFinite},
		"and need 2":                                        {func(c *Config, d *Data) { d.Relevant = retrieval.Relevance{Keys: make([][]int, 40)} }, contrastive.ErrEmpty},
		"0 have a weight of 0; the others have 0 documents": {func(c *Config, d *Data) { d.Validation = upTo(40) }, contrastive.ErrEmpty},
		"1 are held out and 29 have a weight of 0":          {func(c *Config, d *Data) { d.Validation, d.Weights = []int{1}, make([]float32, 40) }, contrastive.ErrEmpty},
		"Config.Kind is 3":                                  {func(c *Config, d *Data) { c.Kind = 3 }, contrastive.ErrParameter},
		"Config.Sides is 7":                                 {func(c *Config, d *Data) { c.Sides = 7 }, contrastive.ErrParameter},
		"Config.Rank is -1":                                 {func(c *Config, d *Data) { c.Rank = -1 }, contrastive.ErrParameter},
		"Config.Rank is 13":                                 {func(c *Config, d *Data) { c.Rank = 13 }, contrastive.ErrParameter},
		"Config.Hidden is -4":                               {func(c *Config, d *Data) { c.Hidden = -4 }, contrastive.ErrParameter},
		"Config.Hidden is 1073741824":                       {func(c *Config, d *Data) { c.Hidden = 1 << 30 }, contrastive.ErrParameter},
		"Config.Epochs is -1":                               {func(c *Config, d *Data) { c.Epochs = -1 }, contrastive.ErrParameter},
		"Config.BatchSize is 1":                             {func(c *Config, d *Data) { c.BatchSize = 1 }, contrastive.ErrParameter},
		"Config.HardNegatives is -1":                        {func(c *Config, d *Data) { c.HardNegatives = -1 }, contrastive.ErrParameter},
		"Config.LearningRate is NaN":                        {func(c *Config, d *Data) { c.LearningRate = nan }, contrastive.ErrParameter},
		"Config.LearningRate is -1":                         {func(c *Config, d *Data) { c.LearningRate = -1 }, contrastive.ErrParameter},
		"Config.WarmupSteps is -1":                          {func(c *Config, d *Data) { c.WarmupSteps = -1 }, contrastive.ErrParameter},
		"Config.WeightDecay is +Inf":                        {func(c *Config, d *Data) { c.WeightDecay = math.Inf(1) }, contrastive.ErrParameter},
		"Config.ValidationShare is 1 ":                      {func(c *Config, d *Data) { c.ValidationShare = 1 }, contrastive.ErrParameter},
		"Config.ValidationShare is NaN":                     {func(c *Config, d *Data) { c.ValidationShare = nan }, contrastive.ErrParameter},
		"Config.ValidationQueries is -1":                    {func(c *Config, d *Data) { c.ValidationQueries = -1 }, contrastive.ErrParameter},
		"Config.ValidationDocuments is -1":                  {func(c *Config, d *Data) { c.ValidationDocuments = -1 }, contrastive.ErrParameter},
		"Config.Workers is -1":                              {func(c *Config, d *Data) { c.Workers = -1 }, contrastive.ErrParameter},
		"Config.Resume is set without":                      {func(c *Config, d *Data) { c.Resume = true }, contrastive.ErrParameter},
		"Config.Loss is a nil *contrastive.CLIP":            {func(c *Config, d *Data) { c.Loss = (*contrastive.CLIP)(nil) }, contrastive.ErrParameter},
		"Config.Loss has a Temperature of -1":               {func(c *Config, d *Data) { c.Loss = contrastive.CLIP{Temperature: -1} }, contrastive.ErrParameter},
	} {
		c, d := generalConfig(Config{}), general(8, 40, 60, 12)
		change.f(&c, &d)
		if a, err := Fit(t.Context(), d, c); a != nil || !errors.Is(err, change.is) || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "adapter: Fit: ") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	var place *contrastive.NotFiniteError
	d := general(8, 40, 60, 12)
	d.Queries.Row(4)[5] = float32(nan)
	if _, err := Fit(t.Context(), d, Config{}); !errors.As(err, &place) || place.Argument != "Data.Queries" || place.Row != 4 || place.Col != 5 {
		t.Errorf("%v", err)
	}
	//lint:ignore SA1012 what a wrong program does
	if _, err := Fit(nil, general(8, 40, 60, 12), Config{}); !errors.Is(err, contrastive.ErrParameter) || !strings.Contains(err.Error(), "context is nil") {
		t.Error(err)
	}
	// What a loss does not take is known at the first step; the identity is left.
	a, err := Fit(t.Context(), general(8, 40, 60, 12), Config{Loss: contrastive.NTXent{}})
	if a == nil || !errors.Is(err, contrastive.ErrUnused) || !strings.Contains(err.Error(), "step 1 of epoch 1: contrastive: NTXent: Hard") {
		t.Errorf("%v, %v", a, err)
	}
	// So are steps that are too great.
	c := generalConfig(Config{})
	for _, rate := range []float64{1e9, 1e300} {
		c.LearningRate = rate
		a, err := Fit(t.Context(), general(8, 40, 60, 12), c)
		if a == nil || !errors.Is(err, contrastive.ErrParameter) || !strings.Contains(err.Error(), fmt.Sprintf("epoch 1: the learning rate %v is too great", rate)) {
			t.Errorf("%v, %v", a, err)
		}
	}
}

func TestProgress(t *testing.T) {
	d := rotated(3, 50, 6)
	var steps []string
	_, err := Fit(t.Context(), d, Config{Epochs: 2, BatchSize: 20, Seed: 1, Patience: -1, WarmupSteps: 1, LearningRate: 0.5, Progress: func(p Progress) {
		steps = append(steps, fmt.Sprintf("%d/%d %d/%d %v %.3f", p.Step, p.Steps, p.Epoch, p.Epochs, p.Validated, p.LearningRate))
		if (p.Temperature > 0 && p.Loss > 0) != (p.Step > 0) || math.IsNaN(p.NDCG) {
			t.Errorf("%+v", p)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	// The rate is 0.5/2 in the warm-up, then 0.5·(1 + cos(π·k/3))/2.
	want := "0/4 0/2 true 0.000, 1/4 0/2 false 0.250, 2/4 0/2 false 0.500, 2/4 1/2 true 0.500, 3/4 1/2 false 0.375, 4/4 1/2 false 0.125, 4/4 2/2 true 0.125"
	if got := strings.Join(steps, ", "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// TestTies has steps so small that no rank changes: the earliest adapter is the best.
func TestTies(t *testing.T) {
	a, err := Fit(t.Context(), rotated(3, 50, 6), Config{LearningRate: 1e-12, Patience: 2})
	if err != nil {
		t.Fatal(err)
	}
	if a.Training.BestEpoch != 0 || a.Training.Epochs != 2 || a.Training.NDCG != a.Training.NDCGBefore {
		t.Errorf("%+v", a.Training)
	}
}

// TestWeightDecay pulls towards the identity.
func TestWeightDecay(t *testing.T) {
	var norms [2]float64
	for i, decay := range []float64{0, 10} {
		a, err := Fit(t.Context(), rotated(3, 50, 6), Config{LearningRate: 0.02, Patience: -1, ValidationShare: -1, WeightDecay: decay})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range a.tensors()[0].Data {
			norms[i] += float64(v) * float64(v)
		}
	}
	if !(norms[1] < norms[0]/2) {
		t.Errorf("squared norms %v without and with decay", norms)
	}
}

// TestWeights leaves out queries of weight 0, which other weights do not change.
func TestWeights(t *testing.T) {
	d := rotated(3, 60, 6)
	d.Weights = make([]float32, 60)
	for i := range 40 {
		d.Weights[i] = 2
	}
	c := Config{ValidationShare: -1, LearningRate: 0.01}
	got, err := Fit(t.Context(), d, c)
	if err != nil {
		t.Fatal(err)
	}
	if got.Training.Pairs != 40 {
		t.Errorf("%d pairs", got.Training.Pairs)
	}
}
