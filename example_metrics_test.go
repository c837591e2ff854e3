package contrastive_test

import (
	"fmt"
	"log"

	"github.com/contrastive-go/contrastive"
)

// The second view of the first example lies at its first, that of the second 90° away.
func ExampleAlignment() {
	x := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}}
	y := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{5, 0, 3, 0}}
	a, err := contrastive.Alignment(x, y, 2)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.2f\n", a)
	// Output: 1.00
}

// Rows that spread evenly are more uniform than rows that nearly coincide.
func ExampleUniformity() {
	spread := contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1, -1, 0, 0, -1}}
	close := contrastive.Matrix{Rows: 4, Cols: 2, Stride: 2, Data: []float32{5, 1, 5, 2, 5, 0, 5, -1}}
	for _, x := range []contrastive.Matrix{spread, close} {
		u, err := contrastive.Uniformity(x, 2)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%.2f\n", u)
	}
	// Output:
	// -4.40
	// -0.22
}

func ExampleMRR() {
	queries := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 3, 1}}
	keys := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{4, 1, 0, 1}}
	mrr, err := contrastive.MRR(queries, keys)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(mrr)
	// Output: 0.75
}
