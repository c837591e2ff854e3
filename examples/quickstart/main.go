package main

import (
	"fmt"
	"log"
	"math/rand/v2"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
)

// An encoder learns which two of 512 noisy vectors come from the same point.
func main() {
	const n, inputs, dim = 256, 32, 16
	rng := rand.New(rand.NewPCG(1, 2))
	encoder := nn.Sequential{nn.NewLinear(inputs, 64, true, rng), &nn.ReLU{}, nn.NewLinear(64, dim, true, rng)}
	optimizer := &nn.AdamW{Params: nn.Params(encoder)}

	x, dz := contrastive.NewMatrix(2*n, inputs), contrastive.NewMatrix(2*n, dim)
	for step := range 101 {
		for i := range n {
			for j := range inputs {
				point := rng.NormFloat64()
				x.Row(i)[j] = float32(point + 0.3*rng.NormFloat64())
				x.Row(n + i)[j] = float32(point + 0.3*rng.NormFloat64())
			}
		}
		z := encoder.Forward(x, true)
		r, err := contrastive.CLIP{Temperature: 0.1}.Eval(
			contrastive.Batch{Query: z.Slice(0, n), Key: z.Slice(n, 2*n)},
			contrastive.Gradients{Query: dz.Slice(0, n), Key: dz.Slice(n, 2*n)})
		if err != nil {
			log.Fatal(err)
		}
		encoder.Backward(dz, false)
		if err := optimizer.Step(1e-2); err != nil {
			log.Fatal(err)
		}
		if step%25 == 0 {
			fmt.Printf("step %3d  loss %.3f  accuracy %.2f\n", step, r.Loss, r.Accuracy)
		}
	}
}
