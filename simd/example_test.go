package simd_test

import (
	"fmt"
	"math"

	"github.com/contrastive-go/contrastive/simd"
)

func ExampleDot() {
	fmt.Println(simd.Dot([]float32{1, 2, 3}, []float32{4, 5, 6}))
	// Output: 32
}

// The square of the greatest element is no float32.
func ExampleNorm() {
	fmt.Println(simd.Norm([]float32{3e30, 4e30}))
	// Output: 5e+30
}

func ExampleCosine() {
	fmt.Printf("%.2f\n", simd.Cosine([]float32{1, 0}, []float32{3, 4}))
	// Output: 0.60
}

func ExampleNormalize() {
	x := []float32{3, 4}
	norm := simd.Normalize(x, x)
	fmt.Println(norm, x)
	// Output: 5 [0.6 0.8]
}

func ExampleAxpy() {
	y := []float32{1, 1}
	simd.Axpy(2, []float32{1, 10}, y)
	fmt.Println(y)
	// Output: [3 21]
}

func ExampleLerp() {
	x := []float32{0, 10}
	simd.Lerp(x, []float32{4, 20}, 0.25)
	fmt.Println(x)
	// Output: [1 12.5]
}

// A softmax of logits at a temperature of 0.5, shifted by the greatest.
func ExampleExpSum() {
	cosines := []float32{1, 0.5, 0}
	p := make([]float32, 3)
	sum := simd.ExpSum(p, cosines, 2, 2)
	for i := range p {
		p[i] /= sum
	}
	fmt.Printf("%.3f\n", p)
	// Output: [0.665 0.245 0.090]
}

func ExampleLogSumExp() {
	fmt.Printf("%.4f %.4f\n", simd.LogSumExp([]float32{1, 1}, 100), 100+math.Ln2)
	// Output: 100.6931 100.6931
}

// Results of one level are the same on every processor that has it.
func ExampleSetLevel() {
	before := simd.Level()
	if err := simd.SetLevel("generic"); err != nil {
		fmt.Println(err)
	}
	fmt.Println(simd.Level())
	if err := simd.SetLevel(before); err != nil {
		fmt.Println(err)
	}
	// Output: generic
}

func ExampleLevels() {
	fmt.Println(simd.Levels()[0])
	// Output: generic
}
