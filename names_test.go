package contrastive_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/retrieval"
)

// A name is a row of docs/names.md: what something is called elsewhere, what it is here,
// the batch for it if it is a loss, and what differs.
type name struct {
	elsewhere string
	here      any
	batch     contrastive.Batch
	remark    string
}

// A section is the names of one library, or of what has one in all of them.
type section struct {
	title string
	names []name
}

// names returns the rows of docs/names.md.
func names(t *testing.T) []section {
	t.Helper()
	r := rand.New(rand.NewPCG(71, 1))
	q, k := losstest.Normal(r, 6, 4), losstest.Normal(r, 6, 4)
	negatives, hard := losstest.Normal(r, 24, 4), losstest.Normal(r, 12, 4)
	guideQ, guideK := losstest.Normal(r, 6, 3), losstest.Normal(r, 6, 3)
	grades, teacher := losstest.Normal(r, 6, 1), losstest.Normal(r, 6, 3)
	queue := losstest.NewQueue(t, 4096, q, 0, 1, 2, 0, 1, 2)

	labels, ids := []int{0, 0, 1, 1, 2, 2}, []int{7, 8, 9, 7, 8, 7}
	proxies, classes := losstest.Normal(r, 3, 4), [][]int{{0}, {0}, {1}, {1}, {2}, {2}}
	others, own := [][]int{{1}, {0}, {3}, {2}, {5}, {4}}, [][]int{{0}, {1}, {2}, {3}, {4}, {5}}
	clicks, logQ := []float32{1, 3, 1, 0, 2, 1}, []float32{-1, -2, -3, -1, -2, -1}
	scale, ranks, ctx := contrastive.NewLogitScale(0.07), contrastive.NewLocalGroup(1)[0], t.Context()

	var none contrastive.Batch
	return []section{
		{"lightly", []name{
			{"`NTXentLoss(temperature=0.5)`", contrastive.NTXent{}, contrastive.Batch{Query: q, Key: k}, ""},
			{"`NTXentLoss(memory_bank_size=(4096, 128))`", contrastive.InfoNCE{Temperature: 0.5}, contrastive.Batch{Query: q, Key: k, Queue: queue}, "`queue.Enqueue(k)` after each step"},
			{"`MemoryBankModule(size=(4096, 128))`", contrastive.NewQueue, none, ""},
			{"`NNMemoryBankModule` (NNCLR)", contrastive.TopK, none, "of `queue.Keys()`, 1 for each row: these are the queries of `NTXent`"},
			{"`DCLLoss(temperature=0.1)`", contrastive.DCL{}, contrastive.Batch{Query: q, Key: k}, ""},
			{"`DCLWLoss(sigma=0.5)`", contrastive.DCL{Sigma: 0.5}, contrastive.Batch{Query: q, Key: k}, ""},
			{"`NegativeCosineSimilarity()`", contrastive.NegativeCosine{}, contrastive.Batch{Query: q, Key: k}, "once for each direction, with `Accumulate`"},
			{"`BarlowTwinsLoss(lambda_param=5e-3)`", contrastive.BarlowTwins{}, contrastive.Batch{Query: q, Key: k}, ""},
			{"`VICRegLoss(25.0, 25.0, 1.0)`", contrastive.VICReg{}, contrastive.Batch{Query: q, Key: k}, ""},
			{"`update_momentum(model, model_ema, m)`", contrastive.MomentumUpdates, none, "the momentum encoder comes first; both as slices of parameters"},
			{"`cosine_schedule(step, max_steps, start, end)`", contrastive.CosineSchedule, none, "start and end come first"},
			{"`CosineWarmupScheduler`", contrastive.WarmupCosine, none, ""},
			{"`std_of_l2_normalized`", contrastive.Collapse, none, "its `Std`"},
		}},
		{"pytorch-metric-learning", []name{
			{"`SelfSupervisedLoss(NTXentLoss(0.5))`", contrastive.NTXent{Temperature: 0.5}, contrastive.Batch{Query: q, Key: k}, ""},
			{"`NTXentLoss(0.07)`", contrastive.InfoNCE{Temperature: 0.07}, contrastive.Batch{Query: q, Key: q, Positives: others, Exclude: own}, "every anchor counts the same, not every pair"},
			{"`SupConLoss(0.1)`", contrastive.SupCon{Temperature: 0.1, BaseTemperature: 0.1}, contrastive.Batch{Query: q, Labels: labels}, "an anchor without positives counts, with a loss of 0"},
			{"`CrossBatchMemory(SupConLoss(0.1), …)`, XBM", contrastive.SupCon{Temperature: 0.1, BaseTemperature: 0.1}, contrastive.Batch{Query: q, Labels: labels, Queue: queue}, "`queue.Enqueue(q, labels...)` after `Eval`"},
			{"`NCALoss(softmax_scale=1)`", contrastive.InfoNCE{Temperature: 0.5, Form: contrastive.Any}, contrastive.Batch{Query: q, Key: q, Positives: others, Exclude: own}, "squared distances of unit vectors are 2 − 2s"},
			{"`NormalizedSoftmaxLoss(temperature=0.05)`", contrastive.InfoNCE{Temperature: 0.05}, contrastive.Batch{Query: q, Key: proxies, Positives: classes}, "the keys are a vector for each class"},
			{"`CosFaceLoss(margin=0.35, scale=64)`", contrastive.InfoNCE{Temperature: 1.0 / 64, Margin: 0.35}, contrastive.Batch{Query: q, Key: proxies, Positives: classes}, "as above"},
			{"`AccuracyCalculator`: `mean_average_precision_at_r`, `r_precision`", retrieval.Rank, none, "`MAPAtR`, `RPrecision`; by cosine"},
		}},
		{"sentence-transformers", []name{
			{"`MultipleNegativesRankingLoss(scale=20)`, pairs", contrastive.InfoNCE{Temperature: 0.05}, contrastive.Batch{Query: q, Key: k}, ""},
			{"the same, with hard negatives", contrastive.InfoNCE{Temperature: 0.05, InBatch: true}, contrastive.Batch{Query: q, Key: k, Negatives: negatives}, "all queries compare with all of them; `Hard` is for those of one query"},
			{"`MultipleNegativesSymmetricRankingLoss`", contrastive.CLIP{Temperature: 0.05}, contrastive.Batch{Query: q, Key: k}, ""},
			{"`CachedMultipleNegativesRankingLoss(mini_batch_size=32)`", contrastive.GradientCache{Loss: contrastive.InfoNCE{Temperature: 0.05}, Chunk: 32}, none, "`Step` with the towers"},
			{"`GISTEmbedLoss(guide, temperature=0.01)`", contrastive.InfoNCE{Temperature: 0.01, Filter: contrastive.AbsoluteMargin}, contrastive.Batch{Query: q, Key: k, GuideQuery: guideQ, GuideKey: guideK}, "without anchors among anchors and positives among positives; a `margin` m is the `FilterMargin` −m"},
			{"`MatryoshkaLoss(loss, [4, 2])`", contrastive.Matryoshka{Loss: contrastive.InfoNCE{Temperature: 0.05}, Dims: []int{4, 2}}, contrastive.Batch{Query: q, Key: k}, ""},
			{"`CoSENTLoss(scale=20)`", contrastive.CoSENT{}, contrastive.Batch{Query: q, Key: k, Scores: grades}, ""},
			{"`AnglELoss(scale=20)`", contrastive.AnglE{}, contrastive.Batch{Query: q, Key: k, Scores: grades}, ""},
			{"`CosineSimilarityLoss`", contrastive.CosineMSE{}, contrastive.Batch{Query: q, Key: k, Scores: grades}, ""},
			{"`TripletLoss(triplet_margin=5)`", contrastive.Triplet{}, contrastive.Batch{Query: q, Key: k, Hard: hard}, "`Distance: CosineDistance` for that"},
			{"`MarginMSELoss`", contrastive.MarginMSE{}, contrastive.Batch{Query: q, Key: k, Hard: hard, Scores: teacher}, "the teacher's scores, not their differences"},
			{"`DistillKLDivLoss(temperature=1)`", contrastive.DistillKL{}, contrastive.Batch{Query: q, Key: k, Hard: hard, Scores: teacher}, ""},
			{"`MSELoss`", contrastive.EmbeddingMSE{}, contrastive.Batch{Query: q, Key: k}, "the keys are the teacher's embeddings"},
			{"`mine_hard_negatives(range_min=10, num_negatives=5)`", retrieval.Miner{Skip: 10, Count: 5}, none, ""},
			{"`semantic_search(…, top_k=10)`", contrastive.TopK, none, ""},
			{"`InformationRetrievalEvaluator`", retrieval.Rank, none, "NDCG with grades, if there are any"},
		}},
		{"open_clip", []name{
			{"`ClipLoss()`", contrastive.CLIP{Temperature: scale.Temperature()}, contrastive.Batch{Query: q, Key: k}, ""},
			{"`ClipLoss(local_loss=True, gather_with_grad=True)`", contrastive.Sharded{Loss: contrastive.CLIP{Temperature: scale.Temperature()}, Collective: ranks}.In(ctx), contrastive.Batch{Query: q, Key: k}, "the gradients of all ranks are summed, not averaged"},
			{"`SigLipLoss()`", contrastive.SigLIP{Temperature: scale.Temperature(), Bias: -10}, contrastive.Batch{Query: q, Key: k}, ""},
			{"`SigLipLoss(dist_impl=\"shift\")`", contrastive.Sharded{Loss: contrastive.SigLIP{Bias: -10}, Collective: ranks, Ring: true}.In(ctx), contrastive.Batch{Query: q, Key: k}, ""},
			{"`logit_scale`, clamped to ln 100", scale.Clamped, none, "`scale.Gradient(r)` is its gradient"},
			{"`--accum-freq 4`", contrastive.GradientCache{Loss: contrastive.CLIP{}, Chunk: 256}, none, "the size of a part instead of their number"},
		}},
		{"TensorFlow Recommenders", []name{
			{"`tasks.Retrieval()`", contrastive.InfoNCE{Similarity: contrastive.Dot}, contrastive.Batch{Query: q, Key: k}, "the mean over queries, not the sum"},
			{"`candidate_sampling_probability`", contrastive.InfoNCE{Similarity: contrastive.Dot}, contrastive.Batch{Query: q, Key: k, KeyLogQ: logQ}, "its logarithm"},
			{"`candidate_ids`, `remove_accidental_hits`", contrastive.InfoNCE{Similarity: contrastive.Dot}, contrastive.Batch{Query: q, Key: k, Labels: ids}, ""},
			{"`sample_weight`", contrastive.InfoNCE{Similarity: contrastive.Dot}, contrastive.Batch{Query: q, Key: k, Weights: clicks}, "divided by their sum"},
			{"`FactorizedTopK(ks=(1, 10))`", contrastive.RecallAt, none, "by cosine"},
		}},
		{"GradCache", []name{
			{"`SimpleContrastiveLoss()`", contrastive.InfoNCE{Similarity: contrastive.Dot}, contrastive.Batch{Query: q, Key: k}, ""},
			{"the same, with `target_per_qry` above 1", contrastive.InfoNCE{Similarity: contrastive.Dot, InBatch: true}, contrastive.Batch{Query: q, Key: k, Negatives: negatives}, "positives are `Key`, the other passages `Negatives`"},
			{"`GradCache(models, chunk_sizes=32, loss_fn=…)`", contrastive.GradientCache{Loss: contrastive.InfoNCE{Similarity: contrastive.Dot}, Chunk: 32}, none, "`cache_step` is `Step`"},
			{"`DistributedContrastiveLoss()`", contrastive.GradientCache{Loss: contrastive.Sharded{Loss: contrastive.InfoNCE{}, Collective: ranks}.In(ctx)}, none, "the gradients of all ranks are summed"},
		}},
		{"Papers", []name{
			{"SimCLR", contrastive.NTXent{}, contrastive.Batch{Query: q, Key: k}, ""},
			{"MoCo", contrastive.InfoNCE{}, contrastive.Batch{Query: q, Key: k, Queue: queue}, "`MomentumUpdates` for the encoder of keys, `queue.Enqueue` after each step"},
			{"MoCo v3", contrastive.InfoNCE{Temperature: 0.2}, contrastive.Batch{Query: q, Key: k}, "once for each view as the query, and times 2τ"},
			{"BYOL, SimSiam", contrastive.NegativeCosine{}, contrastive.Batch{Query: q, Key: k}, ""},
			{"SupCon", contrastive.SupCon{}, contrastive.Batch{Query: q, Key: k, Labels: labels}, ""},
			{"SimCSE", contrastive.InfoNCE{Temperature: 0.05}, contrastive.Batch{Query: q, Key: k}, ""},
			{"DPR", contrastive.InfoNCE{Similarity: contrastive.Dot, InBatch: true}, contrastive.Batch{Query: q, Key: k, Negatives: negatives}, ""},
			{"MIL-NCE", contrastive.InfoNCE{Form: contrastive.Any}, contrastive.Batch{Query: q, Key: k, Positives: others}, ""},
			{"info-nce-pytorch, `negative_mode=\"paired\"`", contrastive.InfoNCE{Temperature: 0.1}, contrastive.Batch{Query: q, Key: k, Hard: hard}, ""},
			{"Qwen3's filter of false negatives", contrastive.InfoNCE{Temperature: 0.05, Filter: contrastive.AbsoluteMargin, FilterMargin: 0.1}, contrastive.Batch{Query: q, Key: k}, ""},
			{"LLaVE's hardness", contrastive.InfoNCE{Temperature: 0.05, Hardness: 9}, contrastive.Batch{Query: q, Key: k}, ""},
			{"debiased, hard negative sampling", contrastive.HardNegative{Beta: 1, TauPlus: 0.1}, contrastive.Batch{Query: q, Key: k}, ""},
		}},
	}
}

// TestNames checks that docs/names.md shows what is compiled here, and that each loss
// takes its batch.
func TestNames(t *testing.T) {
	source, err := os.ReadFile("names_test.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("docs/names.md")
	if err != nil {
		t.Fatal(err)
	}
	code := codeOfNames(t, source)
	var want strings.Builder
	for _, s := range names(t) {
		fmt.Fprintf(&want, "## %s\n\n| there | here | with | remark |\n|---|---|---|---|\n", s.title)
		for _, n := range s.names {
			here, batch := code[n.elsewhere+s.title][0], code[n.elsewhere+s.title][1]
			fmt.Fprintf(&want, "| %s | `%s` | %s | %s |\n", n.elsewhere, here, batch, n.remark)
			l, ok := n.here.(contrastive.Loss)
			if ok != (batch != "") {
				t.Errorf("%s: a batch goes with a loss", n.elsewhere)
			} else if ok {
				losstest.Eval(t, n.elsewhere, l, n.batch, contrastive.Gradients{})
			}
		}
		want.WriteString("\n")
	}
	if !bytes.Contains(page, []byte(strings.TrimSuffix(want.String(), "\n"))) {
		t.Errorf("docs/names.md does not have these tables:\n\n%s", want.String())
	}
}

// codeOfNames returns the source text of what is here, and of its batch, for each name
// with its section.
func codeOfNames(t *testing.T, source []byte) map[string][2]string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	text := func(n ast.Node) string {
		return strings.ReplaceAll(string(source[files.Position(n.Pos()).Offset:files.Position(n.End()).Offset]), "contrastive.", "")
	}
	unquote := func(n ast.Expr) string {
		var s string
		if _, err := fmt.Sscanf(text(n), "%q", &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	code := make(map[string][2]string)
	var sections *ast.CompositeLit
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "names" {
			sections = f.Body.List[len(f.Body.List)-1].(*ast.ReturnStmt).Results[0].(*ast.CompositeLit)
		}
	}
	for _, s := range sections.Elts {
		parts := s.(*ast.CompositeLit).Elts
		for _, n := range parts[1].(*ast.CompositeLit).Elts {
			row, batch := n.(*ast.CompositeLit).Elts, ""
			if _, ok := row[2].(*ast.CompositeLit); ok {
				batch = "`" + text(row[2]) + "`"
			}
			code[unquote(row[0])+unquote(parts[0])] = [2]string{text(row[1]), batch}
		}
	}
	return code
}
