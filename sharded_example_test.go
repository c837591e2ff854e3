package contrastive_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/contrastive-go/contrastive"
)

// Two ranks of one process hold three pairs of a batch between them. On a cluster
// each process has one rank, and the Collective comes from there.
func ExampleSharded() {
	images := contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1, 1, 1}}
	texts := contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{2, 1, -1, 3, 1, 2}}

	var wg sync.WaitGroup
	losses := make([]float64, 2)
	for rank, group := range contrastive.NewLocalGroup(2) {
		wg.Go(func() {
			first, end := 2*rank, 2+rank // the first rank has two pairs, the second one
			b := contrastive.Batch{Query: images.Slice(first, end), Key: texts.Slice(first, end)}
			g := contrastive.Gradients{Query: contrastive.NewMatrix(end-first, 2), Key: contrastive.NewMatrix(end-first, 2)}
			loss := contrastive.Sharded{Loss: contrastive.CLIP{Temperature: 0.5}, Collective: group, Ring: true}
			r, err := loss.Eval(context.Background(), b, g)
			if err != nil {
				fmt.Println(err)
			}
			losses[rank] = r.Loss
		})
	}
	wg.Wait()
	whole, err := contrastive.CLIP{Temperature: 0.5}.Eval(contrastive.Batch{Query: images, Key: texts}, contrastive.Gradients{})
	fmt.Printf("%.6f %.6f %.6f %v\n", losses[0], losses[1], whole.Loss, err)
	// Output: 0.699072 0.699072 0.699072 <nil>
}

// The encoder of ExampleGradientCache, on two ranks of which one has two pairs and the
// other one: the loss is that of all three, and the sum of the gradients of the ranks
// is that of one process.
func ExampleSharded_In() {
	weights := []float32{1, 2}
	images := contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1, 1, 1}}
	texts := contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{2, 1, -1, 3, 1, 2}}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for rank, group := range contrastive.NewLocalGroup(2) {
		wg.Go(func() {
			grad := make([]float32, len(weights))
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
			first, end := 2*rank, 2+rank
			loss := contrastive.Sharded{Loss: contrastive.CLIP{Temperature: 0.5}, Collective: group}.In(ctx)
			r, err := contrastive.GradientCache{Loss: loss, Chunk: 1}.Step(contrastive.Towers{Query: tower(images.Slice(first, end)), Key: tower(texts.Slice(first, end))}, contrastive.Batch{})
			if err == nil {
				err = group.AllReduce(ctx, grad)
			}
			if err != nil {
				cancel() // or the other rank would wait for this one
				fmt.Println(err)
				return
			}
			if rank == 0 {
				fmt.Printf("loss %.4f, gradient %.4f\n", r.Loss, grad)
			}
		})
	}
	wg.Wait()
	// Output: loss 0.8390, gradient [-0.2424 0.1212]
}
