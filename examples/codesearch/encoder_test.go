package main

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive"
)

// testEncoder returns a small encoder with weights that training might give, and
// texts that share rows and channels.
func testEncoder(dim int) (*Encoder, [][]Feature) {
	r := rand.New(rand.NewPCG(3, 4))
	texts := make([][]Feature, 6)
	for i := range texts {
		for range 1 + i {
			texts[i] = append(texts[i], Feature{uint32(r.IntN(7)), Channel(r.IntN(int(channels))), 1 + r.Float32()})
		}
	}
	e := NewEncoder(dim, 8, 1, texts)
	for i := range e.Embedding.Data {
		e.Embedding.Data[i] += float32(r.NormFloat64()) / 8
	}
	for i := range e.Weight {
		e.Weight[i] = float32(r.NormFloat64())
	}
	for i := range e.Gain {
		e.Gain[i] = float32(r.NormFloat64())
	}
	return e, texts
}

// TestBackward compares the gradients of L = Σ r·x, for random r, with central
// differences of step h. In E, L is linear; in a and g its third derivative
// is at most M = Σ |r·c·E|, so differences err by h²/6·M at most. Rounding, of at
// most 32 operations on each of the terms of M in float32, adds 32·2⁻²⁴·M/h.
func TestBackward(t *testing.T) {
	const h = 0x1p-6
	e, texts := testEncoder(5)
	r := rand.New(rand.NewPCG(5, 6))
	dx := contrastive.NewMatrix(len(texts), e.Dim)
	for i := range dx.Data {
		dx.Data[i] = float32(r.NormFloat64())
	}
	magnitude := 0.0
	for i, text := range texts {
		for _, f := range text {
			for j, x := range e.Embedding.Row(int(f.Row)) {
				magnitude += math.Abs(float64(e.coefficient(f)) * float64(x) * float64(dx.Row(i)[j]))
			}
		}
	}
	bound := magnitude * (math.Exp(h)*h*h/6 + 32*0x1p-24/h)
	loss := func() (sum float64) {
		x := contrastive.NewMatrix(len(texts), e.Dim)
		e.Encode(x, texts)
		for i := range x.Data {
			sum += float64(x.Data[i]) * float64(dx.Data[i])
		}
		return sum
	}
	check := func(name string, i int, p *float32, got float64) {
		t.Helper()
		was := *p
		*p = was + h
		up, above := loss(), *p
		*p = was - h
		down, below := loss(), *p
		*p = was
		want := (up - down) / float64(above-below)
		if !(math.Abs(got-want) <= bound) {
			t.Errorf("∂L/∂%s[%d] = %v, differences give %v ± %.1g", name, i, got, want, bound)
		}
	}

	p := newParameters(e)
	x, err := p.encode(texts)
	if err != nil {
		t.Fatal(err)
	}
	encoded := contrastive.NewMatrix(len(texts), e.Dim)
	e.Encode(encoded, texts)
	if !slices.Equal(x.Data, encoded.Data) {
		t.Error("texts are encoded in another way in training")
	}
	p.backward(dx)
	for i, d := range p.table.Weight.Grad {
		check("E", i, &e.Embedding.Data[i], float64(d))
	}
	for i, d := range p.weight.Grad {
		check("a", i, &e.Weight[i], float64(d))
	}
	for i, d := range p.gain.Grad {
		check("g", i, &e.Gain[i], float64(d))
	}
}

// TestScaleGradient checks the chain rule by which the temperature is learned:
// ∂L/∂log(1/τ) = -τ·∂L/∂τ, against central differences of the loss in log(1/τ).
// Their truncation error is h²/6 times the third derivative, which for logits of
// at most 1/τ is below 6/τ³; the loss is good to 2⁻¹⁸, its logits being float32.
func TestScaleGradient(t *testing.T) {
	const h, logScale = 0x1p-7, 0.25
	e, texts := testEncoder(16)
	q, k := contrastive.NewMatrix(3, e.Dim), contrastive.NewMatrix(3, e.Dim)
	e.Encode(q, texts[:3])
	e.Encode(k, texts[3:])
	eval := func(s float64) contrastive.Result {
		r, err := contrastive.CLIP{Temperature: float32(math.Exp(-s))}.Eval(contrastive.Batch{Query: q, Key: k}, contrastive.Gradients{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	got := -math.Exp(-logScale) * eval(logScale).TemperatureGrad
	want := (eval(logScale+h).Loss - eval(logScale-h).Loss) / (2 * h)
	bound := h*h*math.Exp(3*(logScale+h)) + 0x1p-18/h
	if !(math.Abs(got-want) <= bound) {
		t.Errorf("∂L/∂log(1/τ) = %v, differences give %v ± %.1g", got, want, bound)
	}
}

func TestInitialRow(t *testing.T) {
	e := NewEncoder(100, 4, 9, nil)
	for i := range e.Buckets {
		sum := 0.0
		for _, x := range e.Embedding.Row(i) {
			if x != 0.1 && x != -0.1 {
				t.Fatalf("row %d has an element %v", i, x)
			}
			sum += float64(x)
		}
		if math.Abs(sum) > 5 { // five standard deviations
			t.Errorf("the signs of row %d add up to %v", i, sum)
		}
	}
	if slices.Equal(e.Embedding.Row(0), e.Embedding.Row(1)) {
		t.Error("two rows are equal")
	}
	other := NewEncoder(100, 4, 10, nil)
	if slices.Equal(e.Embedding.Row(0), other.Embedding.Row(0)) {
		t.Error("two seeds give the same row")
	}
}

func TestLogIDF(t *testing.T) {
	// Row 0 is in both texts, row 1 in one of them, twice, and row 2 in none.
	got := logIDF(3, [][]Feature{{{Row: 0}, {Row: 1}, {Row: 1, Channel: 1}}, {{Row: 0}}})
	for i, idf := range []float64{math.Log(1 + 0.5/2.5), math.Log(2), math.Log(1 + 2.5/0.5)} {
		if want := float32(math.Log(idf)); got[i] != want {
			t.Errorf("row %d: %v, want %v", i, got[i], want)
		}
	}
}

// testExamples returns functions whose comments share a rare word with them.
func testExamples(n int) []Example {
	r := rand.New(rand.NewPCG(8, 8))
	word := func() string {
		return string([]byte{byte('a' + r.IntN(26)), byte('a' + r.IntN(26)), byte('a' + r.IntN(26)), 'x'})
	}
	var paired []*Function
	for range n {
		shared := word()
		paired = append(paired, &Function{
			Name:    "F" + word(),
			Summary: "It does " + shared + " " + word(),
			Doc:     "It does " + shared + " " + word() + " " + word(),
			Body:    "{ " + word() + "; " + shared + "; " + word() + " }",
		})
	}
	return Featurizer{1 << 10}.Examples(paired)
}

func train(t *testing.T, examples []Example) (*Encoder, []float64) {
	t.Helper()
	e := NewEncoder(32, 1<<10, 1, nil)
	tr, err := NewTrainer(e, examples, Training{Epochs: 6, Batch: 32, Rate: 0.6, WeightRate: 0.15, ScaleRate: 0.05, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	var losses []float64
	for !tr.Done() {
		r, err := tr.Step()
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, r.Loss)
	}
	return e, losses
}

func TestTrain(t *testing.T) {
	examples := testExamples(128)
	e, losses := train(t, examples)
	if len(losses) != 24 {
		t.Fatalf("%d steps, want 6·128/32", len(losses))
	}
	if first, last := losses[0], losses[len(losses)-1]; !(last < first/2) {
		t.Errorf("the loss went from %v to %v", first, last)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	again, _ := train(t, examples)
	if !slices.Equal(e.Embedding.Data, again.Embedding.Data) || !slices.Equal(e.Weight, again.Weight) ||
		e.Gain != again.Gain || e.LogScale != again.LogScale {
		t.Error("training differs between one processor and several")
	}
}

func TestTemperatureClamp(t *testing.T) {
	examples := testExamples(32)
	e := NewEncoder(32, 1<<10, 1, nil)
	maxLogScale := math.Log(100) * (1 + 0x1p-24) // in float32
	e.LogScale = maxLogScale
	tr, err := NewTrainer(e, examples, Training{Epochs: 8, Batch: 32, Rate: 0.6, WeightRate: 0.1, ScaleRate: 1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for !tr.Done() {
		if _, err := tr.Step(); err != nil {
			t.Fatal(err)
		}
		if e.LogScale > maxLogScale {
			t.Fatalf("τ fell to %v", e.Temperature())
		}
	}
	if _, err := NewTrainer(e, examples, Training{Epochs: 1, Batch: 33}); err == nil {
		t.Error("a batch larger than the corpus was accepted")
	}
}
