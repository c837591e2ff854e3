// Command gomlx times InfoNCE in a graph of GoMLX, on its Go backend, as benchmark lines,
// after comparing it with package contrastive.
//
//	GOEXPERIMENT=simd go run ./gomlx      # with GoMLX's SIMD instructions
package main

import (
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/contrastive-go/contrastive"
	"github.com/gomlx/compute"
	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

const tau = 0.07

func main() {
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	// Without this option several products at a time can wait for each other for ever.
	backend, err := gobackend.New("ops_sequential")
	if err != nil {
		return err
	}
	if err := check(backend); err != nil {
		return err
	}
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "github.com/gomlx/gomlx" {
				version = d.Version
			}
		}
	}
	fmt.Println("gomlx:", version)
	for _, workers := range []int{1, 2} {
		runtime.GOMAXPROCS(workers)
		backend, err := gobackend.New(fmt.Sprintf("ops_sequential,parallelism=%d", workers))
		if err != nil {
			return err
		}
		for _, s := range []struct{ n, d int }{{32, 128}, {256, 128}, {1024, 128}, {1024, 768}, {4096, 128}, {4096, 512}} {
			if err := measure(backend, s.n, s.d, workers); err != nil {
				return err
			}
		}
	}
	return nil
}

// infoNCE returns the loss and the gradients of both embeddings.
func infoNCE(x, y *graph.Node) (loss, dx, dy *graph.Node) {
	q, k := graph.L2Normalize(x, -1), graph.L2Normalize(y, -1)
	logits := graph.MulScalar(graph.MatMul(q, graph.Transpose(k, 0, 1)), 1/tau)
	positive := graph.ReduceSum(graph.MulScalar(graph.Mul(q, k), 1/tau), -1)
	top := graph.StopGradient(graph.ReduceAndKeep(logits, graph.ReduceMax, -1))
	sum := graph.Log(graph.ReduceSum(graph.Exp(graph.Sub(logits, top)), -1))
	loss = graph.ReduceAllMean(graph.Sub(graph.Add(sum, graph.Squeeze(top, -1)), positive))
	gradients := graph.Gradient(loss, x, y)
	return loss, gradients[0], gradients[1]
}

func normal(seed uint64, n, d int) []float32 {
	r := rand.New(rand.NewPCG(seed, uint64(n*d)))
	x := make([]float32, n*d)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

func check(backend compute.Backend) error {
	const n, d = 100, 64
	x, y := normal(1, n, d), normal(2, n, d)
	dq, dk := contrastive.NewMatrix(n, d), contrastive.NewMatrix(n, d)
	want, err := contrastive.InfoNCE{Temperature: tau}.Eval(contrastive.Batch{
		Query: contrastive.Matrix{Rows: n, Cols: d, Stride: d, Data: x},
		Key:   contrastive.Matrix{Rows: n, Cols: d, Stride: d, Data: y},
	}, contrastive.Gradients{Query: dq, Key: dk})
	if err != nil {
		return err
	}
	exec, err := graph.NewExec(backend, infoNCE)
	if err != nil {
		return err
	}
	loss, dx, dy, err := exec.Call3(tensors.FromFlatDataAndDimensions(x, n, d), tensors.FromFlatDataAndDimensions(y, n, d))
	if err != nil {
		return err
	}
	// Both compute in float32: cosines within 2⁻²², logits within 2⁻¹⁸.
	if got := float64(tensors.ToScalar[float32](loss)); math.Abs(got-want.Loss) > 0x1p-16*(1+want.Loss) {
		return fmt.Errorf("gomlx: loss %v, want %v", got, want.Loss)
	}
	for i, got := range []*tensors.Tensor{dx, dy} {
		expected := []contrastive.Matrix{dq, dk}[i].Data
		top := 0.0
		for _, v := range expected {
			top = max(top, math.Abs(float64(v)))
		}
		for j, v := range tensors.MustCopyFlatData[float32](got) {
			if math.Abs(float64(v-expected[j])) > 0x1p-14*top {
				return fmt.Errorf("gomlx: gradient %d, element %d: %v, want %v", i, j, v, expected[j])
			}
		}
	}
	return nil
}

func measure(backend compute.Backend, n, d, workers int) error {
	exec, err := graph.NewExec(backend, infoNCE)
	if err != nil {
		return err
	}
	x, y := tensors.FromFlatDataAndDimensions(normal(1, n, d), n, d), tensors.FromFlatDataAndDimensions(normal(2, n, d), n, d)
	var times []time.Duration
	for begin := time.Now(); len(times) < 4 || time.Since(begin) < time.Second; {
		start := time.Now()
		if _, _, _, err := exec.Call3(x, y); err != nil {
			return err
		}
		times = append(times, time.Since(start))
	}
	times = times[1:] // the first one compiles
	slices.Sort(times)
	fmt.Printf("BenchmarkGoMLX/loss=infonce/n=%d/k=%d/d=%d/pass=grad/isa=gomlx/workers=%d %d %d ns/op\n",
		n, n, d, workers, len(times), times[len(times)/2].Nanoseconds())
	return nil
}
