package nn_test

import (
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
)

// Two noisy views of points are brought together, as SimCLR does with images.
func Example() {
	const (
		points, inputs, embedding = 64, 16, 8
		steps                     = 100
	)
	rng := rand.New(rand.NewPCG(1, 2))
	encoder := nn.Sequential{nn.NewLinear(inputs, 32, true, rng), &nn.ReLU{}, nn.NewLinear(32, embedding, true, rng)}
	optimizer := &nn.AdamW{Params: nn.Params(encoder), WeightDecay: 0.01}

	x, dz := contrastive.NewMatrix(2*points, inputs), contrastive.NewMatrix(2*points, embedding)
	var first, last contrastive.Result
	for step := range steps {
		for i := range points { // the views of a point are rows i and points+i
			for j := range inputs {
				v := rng.NormFloat64()
				x.Row(i)[j] = float32(v + 0.1*rng.NormFloat64())
				x.Row(points + i)[j] = float32(v + 0.1*rng.NormFloat64())
			}
		}
		z := encoder.Forward(x, true)
		result, err := contrastive.NTXent{Temperature: 0.2}.Eval(
			contrastive.Batch{Query: z.Slice(0, points), Key: z.Slice(points, 2*points)},
			contrastive.Gradients{Query: dz.Slice(0, points), Key: dz.Slice(points, 2*points)})
		if err != nil {
			log.Fatal(err)
		}
		encoder.Backward(dz, false)
		if _, err := nn.ClipGradNorm(optimizer.Params, 1); err != nil {
			log.Fatal(err)
		}
		if err := optimizer.Step(contrastive.WarmupCosine(1e-2, step, 10, steps)); err != nil {
			log.Fatal(err)
		}
		if step == 0 {
			first = result
		}
		last = result
	}
	fmt.Println("the loss has fallen:", last.Loss < first.Loss)
	fmt.Println("most views are nearest to each other:", last.Accuracy > 0.9)
	// Output:
	// the loss has fallen: true
	// most views are nearest to each other: true
}

// A momentum encoder begins as a copy and follows.
func ExampleCopy() {
	rng := rand.New(rand.NewPCG(1, 2))
	online, target := nn.NewLinear(2, 2, true, rng), nn.NewLinear(2, 2, true, rng)
	if err := nn.Copy(target, online); err != nil {
		log.Fatal(err)
	}
	online.Bias.Value[0] = 1
	if err := contrastive.MomentumUpdates(nn.Values(target), nn.Values(online), 0.75); err != nil {
		log.Fatal(err)
	}
	fmt.Println(target.Bias.Value)
	// Output: [0.25 0]
}

// One file has the encoder, the optimiser, MoCo's queue and the number of the step.
func ExampleCheckpoint() {
	type run struct {
		encoder   *nn.Linear
		optimizer *nn.SGD
		queue     *contrastive.Queue
		step      int
	}
	newRun := func(seed uint64) *run {
		encoder := nn.NewLinear(4, 3, true, rand.New(rand.NewPCG(seed, 0)))
		queue, err := contrastive.NewQueue(8, 3)
		if err != nil {
			log.Fatal(err)
		}
		return &run{encoder: encoder, optimizer: &nn.SGD{Params: encoder.Params(), Momentum: 0.9}, queue: queue}
	}
	checkpoint := func(r *run) nn.Checkpoint {
		return nn.Checkpoint{"encoder": r.encoder, "optimizer": r.optimizer, "queue": r.queue, "step": &r.step}
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "run.safetensors")

	before := newRun(1)
	before.step = 7
	if err := checkpoint(before).Save(path); err != nil {
		log.Fatal(err)
	}
	after := newRun(2)
	if err := checkpoint(after).Load(path); err != nil {
		log.Fatal(err)
	}
	fmt.Println(after.step, after.encoder.Weight.Value[0] == before.encoder.Weight.Value[0])
	// Output: 7 true
}

// A text is the mean of its words, which is all of a static embedding.
func ExampleEmbedding_ForwardBags() {
	words := nn.NewEmbedding(3, 2, rand.New(rand.NewPCG(1, 2)))
	copy(words.Weight.Value, []float32{1, 0, 0, 1, 4, 4})
	texts, err := words.ForwardBags([][]int{{0, 1}, {2}, {0, 0, 2}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	for i := range texts.Rows {
		fmt.Println(texts.Row(i))
	}

	_, err = words.ForwardBags([][]int{{0}, {1, 3}}, nil)
	fmt.Println(err)
	// Output:
	// [0.5 0.5]
	// [4 4]
	// [2 1.3333334]
	// nn: Embedding: bags[1][1] is 3 and must be from 0 to 2: parameter out of range
}

// A temperature and SigLIP's bias are learned beside the encoder.
func ExampleTemperature() {
	q, err := contrastive.FromRows([][]float32{{1, 0}, {0.8, 0.6}, {0, 1}})
	if err != nil {
		log.Fatal(err)
	}
	tau, bias := nn.NewTemperature(0.1), nn.NewScalar("bias", -10)
	optimizer := &nn.AdamW{Params: nn.Params(tau, bias)}
	for range 5 {
		result, err := contrastive.SigLIP{Temperature: tau.Value(), Bias: bias.Value()}.Eval(
			contrastive.Batch{Query: q, Key: q}, contrastive.Gradients{})
		if err != nil {
			log.Fatal(err)
		}
		tau.Backward(result)
		bias.AddGrad(result.BiasGrad)
		if err := optimizer.Step(0.01); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Printf("τ %.3f, bias %.2f\n", tau.Value(), bias.Value())
	// Output: τ 0.095, bias -9.95
}

// Batches are drawn from a matrix of all data.
func ExampleSampler() {
	data := contrastive.NewMatrix(10, 2)
	batch := contrastive.NewMatrix(4, 2)
	sampler := nn.Sampler{Rows: data.Rows, Size: batch.Rows, Seed: 1}
	for step := range 2 * sampler.Steps() {
		if err := nn.Gather(batch, data, sampler.Batch(step)); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(sampler.Steps(), "batches in an epoch")
	// Output: 2 batches in an epoch
}

// A batch of which the encoder sees four rows at a time.
func ExampleTower() {
	rng := rand.New(rand.NewPCG(1, 2))
	images, texts := nn.NewLinear(6, 3, true, rng), nn.NewLinear(5, 3, true, rng)
	x, y := contrastive.NewMatrix(10, 6), contrastive.NewMatrix(10, 5)
	for i := range 10 {
		x.Row(i)[i%6], y.Row(i)[i%5] = 1, 1
	}
	cache := contrastive.GradientCache{Loss: contrastive.CLIP{}, Chunk: 4}
	result, err := cache.Step(contrastive.Towers{Query: nn.Tower(images, x), Key: nn.Tower(texts, y)}, contrastive.Batch{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Loss > 0, images.Weight.Grad[0] != 0)
	// Output: true true
}
