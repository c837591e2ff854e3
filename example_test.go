package contrastive_test

import (
	"bytes"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"

	"github.com/contrastive-go/contrastive"
)

// Embeddings of images and their texts go in, and gradients for the backward
// passes of their encoders come out.
func Example() {
	const n, d = 3, 2
	q := contrastive.Matrix{Rows: n, Cols: d, Stride: d, Data: []float32{1, 0, 0, 1, -1, 1}}
	k := contrastive.Matrix{Rows: n, Cols: d, Stride: d, Data: []float32{2, 1, 1, 3, -2, 0}}

	dq, dk := contrastive.NewMatrix(n, d), contrastive.NewMatrix(n, d)
	r, err := contrastive.CLIP{Temperature: 0.07}.Eval(
		contrastive.Batch{Query: q, Key: k},
		contrastive.Gradients{Query: dq, Key: dk})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("loss %.4f, accuracy %.2f, dLoss/dτ %.4f\n", r.Loss, r.Accuracy, r.TemperatureGrad)
	fmt.Printf("gradient of the third image %.4f\n", dq.Row(2))
	// Output:
	// loss 0.0046, accuracy 1.00, dLoss/dτ 0.2712
	// gradient of the third image [0.0463 0.0463]
}

// With Negatives, the other keys are no negatives unless InBatch is set. Only
// the gradients that are wanted are computed.
func ExampleInfoNCE() {
	b := contrastive.Batch{
		Query:     contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}},
		Key:       contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}},
		Negatives: contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{1, 1}},
	}
	dn := contrastive.NewMatrix(1, 2)
	for _, l := range []contrastive.InfoNCE{{Temperature: 0.5}, {Temperature: 0.5, InBatch: true}} {
		r, err := l.Eval(b, contrastive.Gradients{Negatives: dn})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("in batch %v: %.4f\n", l.InBatch, r.Loss)
	}
	// Output:
	// in batch false: 0.4425
	// in batch true: 0.5259
}

// MoCo compares queries with the keys of earlier batches. The keys come from a
// momentum encoder and need no gradient.
func ExampleInfoNCE_queue() {
	queue, err := contrastive.NewQueue(4, 2)
	if err != nil {
		log.Fatal(err)
	}
	queries := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}}
	keys := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{3, 1, 1, 3}}

	dq := contrastive.NewMatrix(2, 2)
	for range 3 {
		r, err := contrastive.InfoNCE{Temperature: 0.2}.Eval(
			contrastive.Batch{Query: queries, Key: keys, Queue: queue},
			contrastive.Gradients{Query: dq})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d keys in the queue, loss %.4f\n", queue.Len(), r.Loss)
		if err := queue.Enqueue(keys); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// 0 keys in the queue, loss 0.0000
	// 2 keys in the queue, loss 0.7141
	// 4 keys in the queue, loss 1.1264
}

func ExampleNTXent() {
	b := contrastive.Batch{
		Query: contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}},
		Key:   contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{2, 0, 0, 2}},
	}
	r, err := contrastive.NTXent{}.Eval(b, contrastive.Gradients{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("loss %.4f, cosines %.0f and %.0f\n", r.Loss, r.PositiveCosine, r.NegativeCosine)
	// Output: loss 0.2395, cosines 1 and 0
}

// CLIP learns log(1/τ), and keeps it from growing beyond log 100.
func ExampleCLIP() {
	b := contrastive.Batch{
		Query: contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}},
		Key:   contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{3, 1, 2, 3}},
	}
	const tau = 0.07
	r, err := contrastive.CLIP{Temperature: tau}.Eval(b, contrastive.Gradients{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("loss %.5f, d/dlog(1/τ) %.5f\n", r.Loss, -tau*r.TemperatureGrad)
	// Output: loss 0.00580, d/dlog(1/τ) -0.02496
}

func ExampleSigLIP() {
	b := contrastive.Batch{
		Query: contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}},
		Key:   contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}},
	}
	for _, bias := range []float32{0, -4, -10} {
		r, err := contrastive.SigLIP{Temperature: 0.1, Bias: bias}.Eval(b, contrastive.Gradients{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("bias %3v: loss %.4f, d/dbias %+.4f\n", bias, r.Loss, r.BiasGrad)
	}
	// Output:
	// bias   0: loss 0.6932, d/dbias +0.5000
	// bias  -4: loss 0.0206, d/dbias +0.0155
	// bias -10: loss 0.6932, d/dbias -0.5000
}

// Rows of one class are positives of each other. A second view is optional.
func ExampleSupCon() {
	b := contrastive.Batch{
		Query:  contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{1, 0, 3, 1, 0, 1, 1, 3}},
		Labels: []int{7, 7, 9, 9},
	}
	r, err := contrastive.SupCon{Temperature: 0.1, BaseTemperature: 0.1}.Eval(b, contrastive.Gradients{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("loss %.4f, cosines within classes %.2f, across %.2f\n", r.Loss, r.PositiveCosine, r.NegativeCosine)
	// Output: loss 0.0169, cosines within classes 0.95, across 0.31
}

// Without the positive in the denominator the loss has no lower bound of 0.
func ExampleDCL() {
	b := contrastive.Batch{
		Query: contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}},
		Key:   contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}},
	}
	r, err := contrastive.DCL{Temperature: 0.1}.Eval(b, contrastive.Gradients{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.4f\n", r.Loss)
	// Output: -9.3069
}

func ExampleHardNegative() {
	b := contrastive.Batch{
		Query: contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1, 1, 1}},
		Key:   contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1, 1, 1}},
	}
	for _, l := range []contrastive.HardNegative{
		{},                        // SimCLR's loss
		{TauPlus: 0.1},            // debiased
		{TauPlus: 0.1, Beta: 0.5}, // debiased, and hard negatives count more
	} {
		r, err := l.Eval(b, contrastive.Gradients{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("τ⁺ = %v, β = %v: %.4f\n", l.TauPlus, l.Beta, r.Loss)
	}
	// Output:
	// τ⁺ = 0, β = 0: 0.9697
	// τ⁺ = 0.1, β = 0: 0.8620
	// τ⁺ = 0.1, β = 0.5: 0.9562
}

// SimSiam and BYOL take the mean of the loss and that of the views exchanged.
func ExampleNegativeCosine() {
	prediction := contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{1, 1}}
	target := contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{0, 5}}
	dp := contrastive.NewMatrix(1, 2)
	r, err := contrastive.NegativeCosine{}.Eval(
		contrastive.Batch{Query: prediction, Key: target}, contrastive.Gradients{Query: dp})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("SimSiam %.4f, BYOL %.4f, gradient %.4f\n", r.Loss, 2+2*r.Loss, dp.Row(0))
	// Output: SimSiam -0.7071, BYOL 0.5858, gradient [0.3536 -0.3536]
}

// The two features of these embeddings agree across views and do not correlate.
func ExampleBarlowTwins() {
	b := contrastive.Batch{
		Query: contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{1, 1, 1, -1, -1, 1, -1, -1}},
		Key:   contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{5, 3, 5, 1, 3, 3, 3, 1}},
	}
	r, err := contrastive.BarlowTwins{}.Eval(b, contrastive.Gradients{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.4f\n", r.Loss)
	// Output: 0.0000
}

// Embeddings that have collapsed to one point agree, and pay for the variance
// that they lack.
func ExampleVICReg() {
	collapsed := contrastive.NewMatrix(4, 2)
	b := contrastive.Batch{Query: collapsed, Key: collapsed}
	r, err := contrastive.VICReg{}.Eval(b, contrastive.Gradients{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.2f\n", r.Loss)
	// Output: 24.75
}

// A queue survives a restart of the training.
func ExampleQueue() {
	queue, err := contrastive.NewQueue(3, 2)
	if err != nil {
		log.Fatal(err)
	}
	keys := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{3, 4, 0, 2}}
	for range 2 { // the fourth key replaces the first
		if err := queue.Enqueue(keys); err != nil {
			log.Fatal(err)
		}
	}

	var checkpoint bytes.Buffer
	if _, err := queue.WriteTo(&checkpoint); err != nil {
		log.Fatal(err)
	}
	restored, err := contrastive.ReadQueue(&checkpoint)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(restored.Len(), "of", restored.Cap(), "keys of", restored.Dim(), "dimensions")
	fmt.Println(restored.Keys().Row(2))
	// Output:
	// 3 of 3 keys of 2 dimensions
	// [0.6 0.8]
}

// The target encoder follows the online encoder, ever more slowly.
func ExampleMomentumUpdate() {
	target, online := []float32{0, 0}, []float32{1, -2}
	const steps = 2
	for step := range steps + 1 {
		m := contrastive.CosineSchedule(0.5, 1, step, steps)
		if err := contrastive.MomentumUpdate(target, online, float32(m)); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("m = %.2f: %.3f\n", m, target)
	}
	// Output:
	// m = 0.50: [0.500 -1.000]
	// m = 0.75: [0.625 -1.250]
	// m = 1.00: [0.625 -1.250]
}

func ExampleFromRows() {
	m, err := contrastive.FromRows([][]float32{{1, 2}, {3, 4}, {5, 6}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Rows, m.Cols, m.Data)
	// Output: 3 2 [1 2 3 4 5 6]
}

// The two views of images come from one encoder, one after the other.
func ExampleMatrix_Slice() {
	views := contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1, 2, 1, 1, 2}}
	n := views.Rows / 2
	r, err := contrastive.NTXent{}.Eval(contrastive.Batch{Query: views.Slice(0, n), Key: views.Slice(n, 2*n)}, contrastive.Gradients{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.4f\n", r.Loss)
	// Output: 0.6300
}

// Embeddings may be of use with fewer dimensions, too.
func ExampleMatrix_Prefix() {
	x := contrastive.Matrix{Rows: 2, Cols: 3, Stride: 3, Data: []float32{1, 2, 3, 4, 5, 6}}
	short := x.Prefix(2)
	fmt.Println(short.Row(0), short.Row(1))
	// Output: [1 2] [4 5]
}

func ExamplePrecision_String() {
	fmt.Println(contrastive.Options{Precision: contrastive.Medium}.Precision)
	// Output: Medium
}

// Positive pairs are to be near, all others far apart, in all dimensions.
func ExampleCollapse() {
	x := contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{1, 0, -1, 0, 0, 1, 0, -1}}
	y := contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{2, 0, -2, 0, 0, 2, -1, -1}}
	alignment, err := contrastive.Alignment(x, y, 2)
	if err != nil {
		log.Fatal(err)
	}
	uniformity, err := contrastive.Uniformity(x, 2)
	if err != nil {
		log.Fatal(err)
	}
	s, err := contrastive.Collapse(x)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("alignment %.3f, uniformity %.3f\n", alignment, uniformity)
	fmt.Printf("%.3f of 2 dimensions, deviation %.3f of %.3f\n", s.EffectiveRank, s.Std, math.Sqrt(1.0/2))
	// Output:
	// alignment 0.146, uniformity -4.396
	// 2.000 of 2 dimensions, deviation 0.707 of 0.707
}

// Among the rows of one set, the nearest to each is itself unless that is left out.
func ExampleSearch() {
	x := contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{1, 0, 9, 1, 0, 1, 1, 9}}
	search := contrastive.Search{ExcludeSelf: true, Options: contrastive.Options{Workers: 2}}
	index, cosine, err := search.TopK(x, x, 1)
	if err != nil {
		log.Fatal(err)
	}
	for i := range index {
		fmt.Printf("row %d: row %d, cosine %.3f\n", i, index[i][0], cosine[i][0])
	}
	// Output:
	// row 0: row 1, cosine 0.994
	// row 1: row 0, cosine 0.994
	// row 2: row 3, cosine 0.994
	// row 3: row 2, cosine 0.994
}

func ExampleTopK() {
	queries := contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{3, 4}}
	keys := contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 2, 4, 3}}
	index, cosine, err := contrastive.TopK(queries, keys, 2)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d %.2f\n", index[0], cosine[0])
	// Output: [2 1] [0.96 0.80]
}

// Each row of the test is classified by its nearest rows of the training set.
func ExampleKNN() {
	train := contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{1, 0, 2, 1, 0, 1, 1, 2}}
	labels := []int{7, 7, 9, 9}
	test := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{3, 1, 1, 3}}
	predicted, err := contrastive.KNN(train, labels, test, 3, 0.07)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(predicted)
	// Output: [7 9]
}

// The own key of the last query is its second nearest.
func ExampleRecallAt() {
	queries := contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1, -1, 0, 2, 1}}
	keys := contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{3, 1, 0, 2, -1, 1, 1, 2}}
	recall, err := contrastive.RecallAt(queries, keys, 1, 2)
	if err != nil {
		log.Fatal(err)
	}
	mrr, err := contrastive.MRR(queries, keys)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("recall at 1 %.2f, at 2 %.2f, MRR %.3f\n", recall[0], recall[1], mrr)
	// Output: recall at 1 0.75, at 2 1.00, MRR 0.875
}

// One step of gradient descent on log(1/τ).
func ExampleLogitScale() {
	b := contrastive.Batch{
		Query: contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}},
		Key:   contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{3, 1, 2, 3}},
	}
	s := contrastive.NewLogitScale(0.07)
	r, err := contrastive.CLIP{Temperature: s.Temperature()}.Eval(b, contrastive.Gradients{})
	if err != nil {
		log.Fatal(err)
	}
	const rate = 10
	s -= contrastive.LogitScale(rate * s.Gradient(r))
	s = s.Clamped()
	fmt.Printf("τ is %.4f\n", s.Temperature())
	// Output: τ is 0.0545
}

func ExampleWarmupCosine() {
	for _, step := range []int{0, 1, 2, 6, 10} {
		fmt.Printf("%.3f\n", contrastive.WarmupCosine(0.3, step, 2, 10))
	}
	// Output:
	// 0.100
	// 0.200
	// 0.300
	// 0.150
	// 0.000
}

// The encoder of both sides multiplies its inputs by one weight a dimension. It sees
// two inputs at a time, the loss all three.
func ExampleGradientCache() {
	weights, grad := []float32{1, 2}, make([]float32, 2)
	tower := func(x contrastive.Matrix) contrastive.Tower {
		return contrastive.Tower{
			Rows: x.Rows, Dim: x.Cols,
			Encode: func(lo, hi int, z contrastive.Matrix) error {
				for i := range hi - lo {
					for d, w := range weights {
						z.Row(i)[d] = w * x.Row(lo + i)[d]
					}
				}
				return nil
			},
			Backward: func(lo, hi int, dz contrastive.Matrix) error {
				for i := range hi - lo {
					for d := range weights {
						grad[d] += dz.Row(i)[d] * x.Row(lo + i)[d]
					}
				}
				return nil
			},
		}
	}
	images := contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1, 1, 1}}
	texts := contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{2, 1, -1, 3, 1, 2}}
	r, err := contrastive.GradientCache{Loss: contrastive.CLIP{Temperature: 0.5}, Chunk: 2}.Step(contrastive.Towers{Query: tower(images), Key: tower(texts)}, contrastive.Batch{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("loss %.4f, gradient %.4f\n", r.Loss, grad)
	// Output: loss 0.8390, gradient [-0.2424 0.1212]
}

// The file is the old one or the new one, whole, whenever the program stops.
func ExampleQueue_Save() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	queue, err := contrastive.NewQueue(65536, 2)
	if err != nil {
		log.Fatal(err)
	}
	if err := queue.Enqueue(contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{3, 4}}); err != nil {
		log.Fatal(err)
	}

	path := filepath.Join(dir, "queue")
	if err := queue.Save(path); err != nil {
		log.Fatal(err)
	}
	restored, err := contrastive.LoadQueue(path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(restored.Len(), restored.Keys().Row(0))
	// Output: 1 [0.6 0.8]
}
