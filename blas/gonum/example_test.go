package gonum_test

import (
	"fmt"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/contrastive-go/contrastive/blas/gonum"
)

func ExampleImplementation() {
	defer blas32.Use(blas32.Implementation()) // a program would not restore it
	blas32.Use(gonum.Implementation{})

	x := blas32.General{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 2, 3, 4}}
	y := blas32.General{Rows: 2, Cols: 2, Stride: 2, Data: make([]float32, 4)}
	blas32.Gemm(blas.NoTrans, blas.Trans, 1, x, x, 0, y)
	fmt.Println(y.Data)
	// Output: [5 11 11 25]
}
