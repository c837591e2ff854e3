// Hardnegatives trains one map of queries and documents, with mined negatives of each query's own.
package main

import (
	"errors"
	"fmt"
	"log"
	"math/rand/v2"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
	"github.com/contrastive-go/contrastive/retrieval"
)

const pairs, topics, signal, inputs, dim, batch, epochs = 2000, 50, 16, 128, 64, 200, 8

func main() {
	without, err1 := train(0)
	with, err2 := train(7)
	if err := errors.Join(err1, err2); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("MRR of held-out queries %.3f, without hard negatives %.3f\n", with, without)
}

func train(mined int) (mrr float64, err error) {
	rng := rand.New(rand.NewPCG(1, 2))
	world := nn.NewLinear(2*signal, inputs, false, rng)
	vectors, heldOut := draw(world, rng), draw(world, rng)
	encoder := nn.NewLinear(inputs, dim, false, rng)
	optimizer := &nn.AdamW{Params: nn.Params(encoder)}
	sampler := nn.Sampler{Rows: pairs, Size: batch}
	x, dz := contrastive.NewMatrix((2+mined)*batch, inputs), contrastive.NewMatrix((2+mined)*batch, dim)
	negatives := make([][]int, pairs)
	for step := range epochs * sampler.Steps() {
		if step%sampler.Steps() == 0 && mined > 0 {
			z := encoder.Forward(vectors, false)
			if negatives, err = (retrieval.Miner{Count: mined}).Mine(z.Slice(0, pairs), z.Slice(pairs, 2*pairs), nil); err != nil {
				return 0, err
			}
		}
		rows := sampler.Batch(step)
		hard, counts := nn.Flatten(nn.Pick(negatives, rows))
		n, documents := 2*batch+len(hard), vectors.Slice(pairs, 2*pairs)
		gatherErr := errors.Join(nn.Gather(x.Slice(0, batch), vectors, rows),
			nn.Gather(x.Slice(batch, 2*batch), documents, rows), nn.Gather(x.Slice(2*batch, n), documents, hard))
		z := encoder.Forward(x.Slice(0, n), true)
		b := contrastive.Batch{Query: z.Slice(0, batch), Key: z.Slice(batch, 2*batch)}
		g := contrastive.Gradients{Query: dz.Slice(0, batch), Key: dz.Slice(batch, 2*batch)}
		if n > 2*batch {
			b.Hard, b.HardCounts, g.Hard = z.Slice(2*batch, n), counts, dz.Slice(2*batch, n)
		}
		_, err := contrastive.InfoNCE{Temperature: 0.05, InBatch: true}.Eval(b, g)
		if err := errors.Join(gatherErr, err); err != nil {
			return 0, err
		}
		encoder.Backward(dz.Slice(0, n), false)
		if err := optimizer.Step(3e-3); err != nil {
			return 0, err
		}
	}
	z := encoder.Forward(heldOut, false)
	return contrastive.MRR(z.Slice(0, pairs), z.Slice(pairs, 2*pairs))
}

// draw returns queries and, below them, their documents, of which those of a topic differ little.
func draw(world *nn.Linear, rng *rand.Rand) contrastive.Matrix {
	meaning, v := contrastive.NewMatrix(2*pairs, 2*signal), contrastive.NewMatrix(2*pairs, inputs)
	for i := range pairs {
		topic := rand.New(rand.NewPCG(uint64(i%topics), 3))
		for j := range signal {
			meaning.Row(i)[j], meaning.Row(i)[signal+j] = float32(topic.NormFloat64()), 0.3*float32(rng.NormFloat64())
		}
		copy(meaning.Row(pairs+i), meaning.Row(i))
	}
	for i, clean := range world.Forward(meaning, false).Data {
		v.Data[i] = clean + 0.5*float32(rng.NormFloat64())
	}
	return v
}
