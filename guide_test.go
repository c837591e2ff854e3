package contrastive_test

import (
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/retrieval"
	"github.com/contrastive-go/contrastive/simd"
)

// TestGuides checks that the code of the guides in docs is that of the tests of this
// file, which runs.
func TestGuides(t *testing.T) {
	here, err := os.ReadFile("guide_test.go")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	snippets := 0
	for _, page := range pages {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(data), "\n```go\n")[1:] {
			code, _, ended := strings.Cut(part, "\n```\n")
			indented := strings.ReplaceAll("\n"+code, "\n", "\n\t")
			if indented = strings.ReplaceAll(indented, "\n\t\n", "\n\n"); !ended || !strings.Contains(string(here), indented+"\n") {
				t.Errorf("guide_test.go does not have the code of %s:%s", page, indented)
			}
			snippets++
		}
	}
	if snippets < 8 {
		t.Errorf("%d snippets in %d pages", snippets, len(pages))
	}
}

func Example_choosingALoss() {
	queries := contrastive.Matrix{Rows: 2, Cols: 8, Stride: 8, Data: []float32{1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1}}
	documents := contrastive.Matrix{Rows: 2, Cols: 8, Stride: 8, Data: []float32{2, 1, 0, 0, 1, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0}}
	dq, dk := contrastive.NewMatrix(2, 8), contrastive.NewMatrix(2, 8)
	for _, loss := range []contrastive.Loss{
		contrastive.CLIP{Temperature: 0.07},
		contrastive.SigLIP{Temperature: 0.1, Bias: -10},
		contrastive.Matryoshka{Loss: contrastive.CLIP{Temperature: 0.07}, Dims: []int{4, 8}},
	} {
		result, err := loss.Eval(
			contrastive.Batch{Query: queries, Key: documents},
			contrastive.Gradients{Query: dq, Key: dk})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%T: %.3f\n", loss, result.Loss)
	}
	// Output:
	// contrastive.CLIP: 0.008
	// contrastive.SigLIP: 2.907
	// contrastive.Matryoshka: 0.010
}

func TestGuideTemperature(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	batch := contrastive.Batch{Query: losstest.Normal(r, 8, 4)}
	batch.Key = batch.Query
	const steps, rate = 20, 1.0
	var gradients contrastive.Gradients
	scale := contrastive.NewLogitScale(0.07)
	for range steps {
		result, err := contrastive.CLIP{Temperature: scale.Temperature()}.Eval(batch, gradients)
		if err != nil {
			log.Fatal(err)
		}
		scale -= contrastive.LogitScale(rate * scale.Gradient(result))
		scale = scale.Clamped()
	}
	if scale <= contrastive.NewLogitScale(0.07) { // keys that are their queries want a small τ
		t.Errorf("τ is %v", scale.Temperature())
	}
}

func TestGuideNegatives(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	queries, documents := losstest.Normal(r, 6, 4), losstest.Normal(r, 40, 4)
	relevant := [][]int{{0}, {1}, {2}, {3}, {4}, {5}}
	for i := range relevant {
		copy(documents.Row(i), queries.Row(i))
	}
	miner := retrieval.Miner{Count: 4, Filter: contrastive.RelativeMargin, FilterMargin: -0.05}
	mined, err := miner.Mine(queries, documents, relevant)
	if err != nil {
		t.Fatal(err)
	}
	for i, list := range mined {
		for _, j := range list {
			if s := simd.Cosine(queries.Row(i), documents.Row(j)); s > 0.95+0x1p-20 {
				t.Errorf("query %d has a negative of cosine %v", i, s)
			}
		}
	}

	loss := contrastive.InfoNCE{InBatch: true, Filter: contrastive.AbsoluteMargin, FilterMargin: 0.1}
	if _, err := loss.Eval(contrastive.Batch{Query: queries, Key: documents, Positives: relevant}, contrastive.Gradients{}); err != nil {
		t.Error(err)
	}
}

func TestGuidePrecision(t *testing.T) {
	loss := contrastive.CLIP{Options: contrastive.Options{Workers: 4, Precision: contrastive.Medium}}
	fmt.Println(simd.Level(), "of", simd.Levels())
	q := losstest.Normal(rand.New(rand.NewPCG(5, 6)), 8, 4)
	if _, err := loss.Eval(contrastive.Batch{Query: q, Key: q}, contrastive.Gradients{}); err != nil {
		t.Error(err)
	}
}

func TestGuideMachines(t *testing.T) {
	r, ctx := rand.New(rand.NewPCG(7, 8)), t.Context()
	ranks := contrastive.NewLocalGroup(1)[0]
	q, k := losstest.Normal(r, 8, 4), losstest.Normal(r, 8, 4)
	dq, dk := contrastive.NewMatrix(8, 4), contrastive.NewMatrix(8, 4)
	result, err := contrastive.Sharded{Loss: contrastive.CLIP{}, Collective: ranks, Ring: true}.Eval(ctx,
		contrastive.Batch{Query: q, Key: k},
		contrastive.Gradients{Query: dq, Key: dk})
	if err != nil {
		t.Fatal(err)
	}

	loss := contrastive.Sharded{Loss: contrastive.CLIP{}, Collective: ranks}.In(ctx)
	cache := contrastive.GradientCache{Loss: loss, Chunk: 256}
	tower := func(x contrastive.Matrix) contrastive.Tower {
		return contrastive.Tower{Rows: x.Rows, Dim: x.Cols, Encode: func(lo, hi int, z contrastive.Matrix) error {
			for i := range z.Rows {
				copy(z.Row(i), x.Row(lo+i))
			}
			return nil
		}}
	}
	cached, err := cache.Step(contrastive.Towers{Query: tower(q), Key: tower(k)}, contrastive.Batch{})
	if err != nil {
		t.Fatal(err)
	}
	losstest.Within(t, "loss", cached.Loss, result.Loss, 0x1p-18*result.Loss)
}

func Example_collapse() {
	embeddings := contrastive.NewMatrix(100, 16)
	for i := range embeddings.Rows { // nearly one direction
		embeddings.Row(i)[0], embeddings.Row(i)[1] = 10, float32(i%2)
	}
	stats, err := contrastive.Collapse(embeddings)
	if err != nil {
		log.Fatal(err)
	}
	if stats.MeanCosine > 0.9 || stats.EffectiveRank < 0.1*float64(embeddings.Cols) {
		fmt.Printf("collapsed: mean cosine %.2f, effective rank %.1f\n", stats.MeanCosine, stats.EffectiveRank)
	}
	// Output: collapsed: mean cosine 1.00, effective rank 1.2
}
