// Moco trains an encoder with a momentum encoder and a queue (He et al., 2020), and saves
// the run in one file, from which it goes on when it is started again:
//
//	go run -C examples ./moco -steps 100
//	go run -C examples ./moco -steps 300
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
)

const inputs, embedding, batch, total = 64, 32, 128, 300

func main() {
	path := flag.String("checkpoint", "moco.safetensors", "file of the run")
	steps := flag.Int("steps", total, "step to stop at")
	flag.Parse()
	if err := train(*path, *steps, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func train(path string, steps int, out io.Writer) error {
	rng := rand.New(rand.NewPCG(1, 0))
	query, key, step := newEncoder(rng), newEncoder(rng), 0
	optimizer := &nn.SGD{Params: nn.Params(query), Momentum: 0.9, WeightDecay: 1e-4}
	queue, err := contrastive.NewQueue(4096, embedding)
	if err := errors.Join(err, nn.Copy(key, query)); err != nil {
		return err
	}
	run := nn.Checkpoint{"query": query, "key": key, "optimizer": optimizer, "queue": queue, "step": &step}
	if _, err := run.Resume(path); err != nil {
		return err
	}
	dq := contrastive.NewMatrix(batch, embedding)
	for ; step < steps; step++ {
		x, y := views(step)
		q, k := query.Forward(x, true), key.Forward(y, true)
		r, err := contrastive.InfoNCE{Temperature: 0.2}.Eval(
			contrastive.Batch{Query: q, Key: k, Queue: queue}, contrastive.Gradients{Query: dq})
		if err != nil {
			return err
		}
		query.Backward(dq, false)
		if err := errors.Join(optimizer.Step(contrastive.WarmupCosine(0.1, step, 10, total)),
			contrastive.MomentumUpdates(nn.Values(key), nn.Values(query), 0.99), queue.Enqueue(k)); err != nil {
			return err
		}
		if step%50 == 0 {
			fmt.Fprintf(out, "step %3d  loss %.3f  accuracy %.3f  %4d keys in the queue\n", step, r.Loss, r.Accuracy, queue.Len())
		}
	}
	return run.Save(path)
}

func newEncoder(rng *rand.Rand) nn.Sequential {
	return nn.Sequential{nn.NewLinear(inputs, 128, true, rng), &nn.ReLU{}, nn.NewLinear(128, embedding, true, rng)}
}

// views returns two noisy views of points, which depend on the step alone.
func views(step int) (x, y contrastive.Matrix) {
	rng := rand.New(rand.NewPCG(uint64(step), 1))
	x, y = contrastive.NewMatrix(batch, inputs), contrastive.NewMatrix(batch, inputs)
	for i := range x.Data {
		v := rng.NormFloat64()
		x.Data[i], y.Data[i] = float32(v+rng.NormFloat64()/2), float32(v+rng.NormFloat64()/2)
	}
	return x, y
}
