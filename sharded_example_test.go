package contrastive_test

import (
	"context"
	"fmt"
	"sync"

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
