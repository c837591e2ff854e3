package blas_test

import (
	"fmt"

	"github.com/contrastive-go/contrastive/blas"
)

// A linear layer: y = x·w forward, and the gradients of w and x backward.
func ExampleSgemm() {
	x := []float32{1, 2, 3, 4, 5, 6} // 2 samples of 3 features
	w := []float32{1, 0, 0, 1, 1, 1} // to 2 features
	y := make([]float32, 4)
	blas.Sgemm(false, false, 2, 2, 3, 1, x, 3, w, 2, 0, y, 2, 0)
	fmt.Println(y)

	dy := []float32{1, 0, 0, 1}
	dw, dx := make([]float32, 6), make([]float32, 6)
	blas.Sgemm(true, false, 3, 2, 2, 1, x, 3, dy, 2, 0, dw, 2, 0)
	blas.Sgemm(false, true, 2, 3, 2, 1, dy, 2, w, 2, 0, dx, 3, 0)
	fmt.Println(dw, dx)
	// Output:
	// [4 5 10 11]
	// [1 4 2 5 3 6] [1 0 1 0 1 1]
}
