package main

import (
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/examples/glyphs/data"
	"github.com/contrastive-go/contrastive/examples/glyphs/report"
	"github.com/contrastive-go/contrastive/examples/internal/cli"
	"github.com/contrastive-go/contrastive/nn"
)

// smokeTrainer returns a run of tiny size, with more flags.
func smokeTrainer(t *testing.T, method string, flags ...string) *Trainer {
	t.Helper()
	o, err := parse(append([]string{"-smoke", "-method", method}, flags...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	s, err := o.settings(method)
	if err != nil {
		t.Fatal(err)
	}
	train, test, err := open(&s)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewTrainer(s, train, test)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func train(t *testing.T, r *Trainer) {
	t.Helper()
	if err := r.Run(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}

func mean(history []report.Point, f func(report.Point) float64) (m float64) {
	for _, p := range history {
		m += f(p) / float64(len(history))
	}
	return m
}

// TestMethodsLearn trains every method for a few steps. Views of one image must
// come closer, and the loss fall: but for MoCo, whose loss rises while its queue
// fills, and whose momentum encoder takes a hundred steps to follow.
func TestMethodsLearn(t *testing.T) {
	for _, method := range methodNames() {
		if method == "random" {
			continue
		}
		t.Run(method, func(t *testing.T) {
			var flags []string
			if method == "moco" {
				flags = []string{"-steps", "100"}
			}
			r := smokeTrainer(t, method, flags...)
			train(t, r)
			n := len(r.History)
			if n != r.Settings.Steps {
				t.Fatalf("history of %d steps, want %d", n, r.Settings.Steps)
			}
			first, last := r.History[:5], r.History[n-5:]
			loss := func(p report.Point) float64 { return p.Loss }
			if a, b := mean(first, loss), mean(last, loss); method != "moco" && !(b < a) {
				t.Errorf("loss went from %.4f to %.4f", a, b)
			}
			alignment := func(p report.Point) float64 { return p.Alignment }
			if a, b := mean(first, alignment), mean(last, alignment); !(b < a) {
				t.Errorf("the distance of views of one image went from %.4f to %.4f", a, b)
			}
			for _, s := range slices.Concat(r.method.State()...) {
				if math.IsNaN(float64(s)) || math.IsInf(float64(s), 0) {
					t.Fatal("a parameter is not finite")
				}
			}
		})
	}
}

// TestCollapse: without its stop-gradient SimSiam collapses, and the monitor says
// when: to few dimensions with batch normalisation, and to a point without. With
// it, it does not.
func TestCollapse(t *testing.T) {
	flags := []string{"-steps", "60", "-batch", "128", "-hidden", "128", "-features", "128", "-embedding", "128", "-predictor", "64"}
	for _, c := range []struct {
		flags string
		want  string
	}{
		{"-no-stop-gradient", "dimensional collapse at step "},
		{"-no-stop-gradient -norm none", "complete collapse at step "},
		{"", ""},
	} {
		r := smokeTrainer(t, "simsiam", append(flags, strings.Fields(c.flags)...)...)
		var shown strings.Builder
		if err := r.Run(context.Background(), cli.NewProgress(&shown, "simsiam", 0, 60)); err != nil {
			t.Fatal(err)
		}
		m := r.Monitor.Message
		if (m == "") != (c.want == "") || !strings.HasPrefix(m, c.want) || m != "" && strings.Count(shown.String(), m) != 1 {
			t.Errorf("%s: the monitor said %q, and the run showed\n%s", c.flags, m, shown.String())
		}
	}
}

func TestLearnedTemperature(t *testing.T) {
	for _, c := range []struct {
		start float64
		want  func(first, last float64) bool
	}{
		{0.9, func(first, last float64) bool { return last < first }}, // too soft
		{1, func(_, last float64) bool { return last <= 1 }},
	} {
		r := smokeTrainer(t, "simclr", "-learn-temperature", "-temperature", strconv.FormatFloat(c.start, 'g', -1, 64))
		train(t, r)
		first, last := r.History[0].Temperature, r.History[len(r.History)-1].Temperature
		if math.Abs(first-c.start) > 1e-6 || !c.want(first, last) {
			t.Errorf("τ from %g went from %g to %g", c.start, first, last)
		}
	}
	r := smokeTrainer(t, "simclr")
	train(t, r)
	for _, p := range r.History {
		if p.Temperature != float64(float32(r.Settings.Temperature)) {
			t.Fatalf("a fixed τ of %g became %g", r.Settings.Temperature, p.Temperature)
		}
	}
}

// TestGradientCache compares one step in chunks with one in a piece. Plain
// gradient descent shows the gradients, of which sums in another order differ by
// rounding.
func TestGradientCache(t *testing.T) {
	const rate = 1.0
	step := func(flags ...string) ([]float32, contrastive.Result) {
		r := smokeTrainer(t, "simclr", append(flags, "-batch", "40", "-norm", "none")...)
		b := r.loader.Batch(3)
		b.Rate = rate
		var m *SimCLR
		switch method := r.method.(type) {
		case *SimCLR:
			m = method
		case *LargeBatch:
			m = method.SimCLR
		}
		m.optimizer = &nn.SGD{Params: nn.Params(m.f, m.g)}
		stats, err := r.method.Step(b)
		if err != nil {
			t.Fatal(err)
		}
		if stats.Z1.Rows != 40 || stats.Z2.Rows != 40 {
			t.Errorf("embeddings of %d and %d pairs are shown", stats.Z1.Rows, stats.Z2.Rows)
		}
		return slices.Concat(nn.Values(m.f, m.g)...), stats.Result
	}
	whole, wantResult := step()
	for _, chunk := range []string{"7", "40", "100"} {
		chunked, result := step("-chunk", chunk)
		if math.Abs(result.Loss-wantResult.Loss) > 1e-6 {
			t.Errorf("chunks of %s: loss %g, want %g", chunk, result.Loss, wantResult.Loss)
		}
		for i, want := range whole {
			if d := math.Abs(float64(chunked[i] - want)); d > 1e-5 {
				t.Fatalf("chunks of %s: parameter %d is %g, want %g", chunk, i, chunked[i], want)
			}
		}
	}
}

// TestLargeBatch: a batch larger than the set goes through the cache, and holds
// images more than once.
func TestLargeBatch(t *testing.T) {
	r := smokeTrainer(t, "simclr", "-batch", "2500", "-steps", "2")
	if _, ok := r.method.(*LargeBatch); !ok || r.Settings.Norm != "none" {
		t.Fatalf("the method is %T with normalisation %q", r.method, r.Settings.Norm)
	}
	if b := r.loader.Batch(0); len(b.Instances()) != 2500 {
		t.Error("a batch with repeated images does not say which are the same")
	}
	train(t, r)
	if !(r.History[1].Loss < r.History[0].Loss) {
		t.Errorf("loss went from %g to %g", r.History[0].Loss, r.History[1].Loss)
	}
}

// TestMoCoKeysKeepTheirOrder: shuffling is undone, and the queue takes the keys
// with the numbers of their images.
func TestMoCoKeysKeepTheirOrder(t *testing.T) {
	r := smokeTrainer(t, "moco", "-norm", "none")
	m := r.method.(*MoCo)
	b := r.loader.Batch(0)
	_, x := halves(b.Views())
	shuffled := m.encodeKeys(x, 0)
	if direct := m.gk.Forward(m.fk.Forward(x, true), true); !slices.Equal(shuffled.Data, direct.Data) {
		t.Error("keys are not in the order of their images")
	}
	if _, err := m.Step(b); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(m.queue.Labels(), b.Images[0]) {
		t.Error("the labels of the queue are not the images")
	}
}

func TestBatches(t *testing.T) {
	train, _, err := data.Glyphs()
	if err != nil {
		t.Fatal(err)
	}
	s, err := defaultSettings("simclr")
	if err != nil {
		t.Fatal(err)
	}
	s.Batch = 100
	a, b := NewLoader(train, &s), NewLoader(train, &s)
	seen := map[int]int{}
	for step := range 9 { // one epoch of 940 images
		batch := a.Batch(step)
		for _, i := range batch.Images[0] {
			seen[i]++
		}
		if batch.Instances() != nil {
			t.Error("a batch without repetitions has instances")
		}
	}
	for i, n := range seen {
		if n != 1 {
			t.Fatalf("image %d came %d times in an epoch", i, n)
		}
	}
	// A batch is a function of the seed and its number, and a view of these and
	// its place.
	again, batch := b.Batch(7), a.Batch(7)
	if !slices.Equal(again.Images[0], batch.Images[0]) {
		t.Fatal("batch 7 depends on those before it")
	}
	views := batch.Views()
	first, second := halves(views)
	part := contrastive.NewMatrix(10, views.Cols)
	again.Load(part, 1, 30)
	for i := range part.Rows {
		if !slices.Equal(part.Row(i), second.Row(30+i)) {
			t.Fatal("a view drawn again is another")
		}
		if slices.Equal(first.Row(30+i), second.Row(30+i)) {
			t.Fatal("both views of a pair are the same")
		}
	}

	s.Method = "clip"
	batch = NewLoader(train, &s).Batch(0)
	for i, class := range batch.Labels {
		p, q := batch.Images[0][i], batch.Images[1][i]
		if train.Labels[p] != class || train.Labels[q] != class || modality(train, p) != 0 || modality(train, q) != 1 {
			t.Fatalf("pair %d of class %d is of classes %d and %d, fonts %s and %s", i, class,
				train.Labels[p], train.Labels[q], train.Styles[train.Style[p]], train.Styles[train.Style[q]])
		}
	}
}

func TestCrossEntropy(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	logits, gradient := contrastive.NewMatrix(3, 5), contrastive.NewMatrix(3, 5)
	for i := range logits.Data {
		logits.Data[i] = float32(rng.NormFloat64())
	}
	logits.Row(0)[2] = 3
	labels := []int{2, 0, 4}
	crossEntropy(logits, labels, gradient)
	scratch := contrastive.NewMatrix(3, 5)
	value := func() float64 { loss, _ := crossEntropy(logits, labels, scratch); return loss }
	for i, got := range gradient.Data {
		const h = 0x1p-10 // exact in float32 beside logits below 4; the error is of the order of h²
		old := logits.Data[i]
		logits.Data[i] = old + h
		up, high := value(), float64(logits.Data[i])
		logits.Data[i] = old - h
		down, low := value(), float64(logits.Data[i])
		logits.Data[i] = old
		if want := (up - down) / (high - low); math.Abs(float64(got)-want) > 1e-6 {
			t.Errorf("gradient %d is %g, want %g", i, got, want)
		}
	}
	logits.Row(1)[0], logits.Row(2)[3] = 200, 300 // no overflow; row 2 is wrong
	loss, accuracy := crossEntropy(logits, labels, scratch)
	if math.Abs(accuracy-2.0/3) > 1e-12 || math.IsInf(loss, 0) || loss < 90 {
		t.Errorf("loss %g and accuracy %g of two right and one wrong row", loss, accuracy)
	}
}

func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := smokeTrainer(t, "simclr")
	r.CheckpointPath = t.TempDir() + "/run"
	if err := r.Run(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("an interrupted run returned %v", err)
	}
	if c, err := loadCheckpoint(r.CheckpointPath); err != nil || c.Step != 0 {
		t.Errorf("the run was not saved: %v", err)
	}
}
