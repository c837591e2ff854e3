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

// The weighted mean of two rows, as of the tokens of a text.
func ExampleAxpyRows() {
	rows := []float32{1, 2, 3, 10, 20, 30}
	mean := make([]float32, 3)
	simd.AxpyRows([]float32{0.75, 0.25}, rows, 3, mean)
	fmt.Println(mean)
	// Output: [3.25 6.5 9.75]
}

func ExampleReLU() {
	x, dy := []float32{-1, 2, 0, 3}, []float32{10, 20, 30, 40}
	y, dx := make([]float32, len(x)), make([]float32, len(x))
	simd.ReLU(y, x)
	simd.ReLUGrad(dx, dy, y)
	fmt.Println(y, dx)
	// Output: [0 2 0 3] [0 20 0 40]
}

// One step of Adam with decoupled weight decay, the first of its run.
func ExampleAdamStep() {
	const rate, decay, beta1, beta2, epsilon = 0.5, 0.25, 0.75, 0.9375, 1e-8
	w, gradient := []float32{4, -4}, []float32{10, -0.5}
	m, v := make([]float32, 2), make([]float32, 2)
	simd.Lerp(m, gradient, 1-beta1)
	simd.LerpSquare(v, gradient, 1-beta2)
	simd.AdamStep(w, m, v, 1-rate*decay, rate/(1-beta1), 4, epsilon) // 4 is 1/√(1−beta2)
	fmt.Printf("%.4f\n", w)
	// Output: [3.0000 -3.0000]
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

// Products of float64 keep what cancels in float32.
func ExampleDotFloat64() {
	x, y := []float32{1 << 13, 1, 1 << 13}, []float32{1 << 13, 1, -1 << 13}
	fmt.Println(simd.DotFloat64(x, y))
	// Output: 1
}

func ExampleScaleTo() {
	dst := make([]float32, 3)
	simd.ScaleTo(dst, []float32{1, 2, 3}, 0.5)
	fmt.Println(dst)
	// Output: [0.5 1 1.5]
}

// A gradient goes back through the normalisation of its row: what is along the row has no
// effect.
func ExampleProject() {
	x, g := []float32{3, 4}, []float32{1, 1} // the gradient with respect to x/5
	dst := make([]float32, 2)
	norm := simd.DotFloat64(x, x)
	simd.Project(dst, g, x, simd.DotFloat64(g, x)/norm, 1/math.Sqrt(norm))
	fmt.Println(dst)
	// Output: [0.032 -0.024]
}

func ExampleGELU() {
	x := []float32{-1, 0, 1}
	y, dx := make([]float32, 3), make([]float32, 3)
	simd.GELU(y, x)
	simd.GELUGrad(dx, []float32{1, 1, 1}, x)
	fmt.Printf("%.3f %.3f\n", y, dx)
	// Output: [-0.159 0.000 0.841] [-0.083 0.500 1.083]
}

func ExampleAddSquare() {
	sum := []float32{1, 1}
	simd.AddSquare(sum, []float32{2, -3})
	fmt.Println(sum)
	// Output: [5 10]
}
