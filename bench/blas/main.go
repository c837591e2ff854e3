// Command blas compares matrix products in float32.
//
//	go run -C blas -tags openblas . [-rounds 15] [-threads 1] [-match regexp] [-slow=false]
//	go run -C blas . -scaling -threads 2
//
// The products are compared before they are timed. In each round every implementation
// computes the same one in turn, so that what else the machine does meets all of them. It
// prints a table: the median over the rounds of the time of the others in units of ours, and
// the greatest speed of each. vek takes no transposed operands.
//
// With -scaling the others are Sgemm itself on one thread, and shares: as many goroutines as
// there are threads, each of which multiplies by its columns alone, and never waits for
// another, which is what the processors give.
package main

import (
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/viterin/vek/vek32"
	"gonum.org/v1/gonum/blas"
	gonumblas "gonum.org/v1/gonum/blas/gonum"

	ours "github.com/contrastive-go/contrastive/blas"
)

// A problem is a product of m×k by k×n.
type problem struct {
	name           string
	transA, transB bool
	m, n, k        int
}

var problems = []problem{
	{"8³", false, false, 8, 8, 8},
	{"16³", false, false, 16, 16, 16},
	{"24³", false, false, 24, 24, 24},
	{"32³", false, false, 32, 32, 32},
	{"64³", false, false, 64, 64, 64},
	{"100³", false, false, 100, 100, 100},
	{"128³", false, false, 128, 128, 128},
	{"256³", false, false, 256, 256, 256},
	{"512³", false, false, 512, 512, 512},
	{"1000³", false, false, 1000, 1000, 1000},
	{"1024³", false, false, 1024, 1024, 1024},
	{"2048³", false, false, 2048, 2048, 2048},
	{"4096³", false, false, 4096, 4096, 4096},
	{"x·w 512×784×512", false, false, 512, 512, 784},
	{"xᵀ·dy 512×784×512", true, false, 784, 512, 512},
	{"dy·wᵀ 512×784×512", false, true, 512, 784, 512},
	{"q·kᵀ 256×65,536×128", false, true, 256, 65536, 128},
	{"64³ TN", true, false, 64, 64, 64},
	{"64³ NT", false, true, 64, 64, 64},
	{"256³ TN", true, false, 256, 256, 256},
	{"256³ NT", false, true, 256, 256, 256},
	{"1024³ TN", true, false, 1024, 1024, 1024},
	{"1024³ NT", false, true, 1024, 1024, 1024},
	{"x·w 1×768×768", false, false, 1, 768, 768},
	{"w·xᵀ 8×768×768", false, true, 8, 768, 768},
	{"x·w 8×4096×1024", false, false, 8, 4096, 1024},
	{"x·w 16×4096×1024", false, false, 16, 4096, 1024},
}

// A peer is an implementation. It returns a function that computes c = op(a)·op(b) some
// times, and how to get at it afterwards, or nil if it does not compute such products.
type peer struct {
	name    string
	product func(p problem, a, b, c []float32) (compute func(times int), result func() []float32)
}

// A gemm has the arguments of BLAS.
type gemm func(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int)

// multiply computes the columns of p from first up to end.
func (f gemm) multiply(p problem, a, b, c []float32, first, end int) {
	lda, ldb, at := p.k, p.n, first
	if p.transA {
		lda = p.m
	}
	if p.transB {
		ldb, at = p.k, first*p.k
	}
	f(p.transA, p.transB, p.m, end-first, p.k, 1, a, lda, b[at:], ldb, 0, c[first:], p.n)
}

// sgemm is a peer by the arguments of BLAS.
func sgemm(f gemm) func(p problem, a, b, c []float32) (func(int), func() []float32) {
	return func(p problem, a, b, c []float32) (func(int), func() []float32) {
		compute := func(times int) {
			for range times {
				f.multiply(p, a, b, c, 0, p.n)
			}
		}
		return compute, func() []float32 { return c }
	}
}

// oursOn is Sgemm on some threads.
func oursOn(threads *int) gemm {
	return func(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
		ours.Sgemm(transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, *threads)
	}
}

var one = 1

// scalingPeers are Sgemm on one thread, and in shares.
var scalingPeers = []peer{
	{"one thread", sgemm(oursOn(&one))},
	{"shares", func(p problem, a, b, c []float32) (func(int), func() []float32) {
		compute := func(times int) {
			var wait sync.WaitGroup
			for i := range *threads {
				wait.Go(func() {
					for range times {
						oursOn(&one).multiply(p, a, b, c, i*p.n / *threads, (i+1)*p.n / *threads)
					}
				})
			}
			wait.Wait()
		}
		return compute, func() []float32 { return c }
	}},
}

var (
	rounds  = flag.Int("rounds", 15, "rounds")
	threads = flag.Int("threads", 1, "threads of each implementation")
	match   = flag.String("match", "", "regular expression of the names of products")
	scaling = flag.Bool("scaling", false, "ours on one thread, and in shares, beside ours on all threads")
	slow    = flag.Bool("slow", true, "also those that are not tiled for this processor")
	sample  = flag.Duration("sample", 10*time.Millisecond, "least duration of one measurement")
)

var peers = []peer{
	{"ours", sgemm(oursOn(threads))},
}

// slowPeers are those that are not tiled for this processor.
var slowPeers = []peer{
	{"gonum", sgemm(func(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
		gonumblas.Implementation{}.Sgemm(trans(transA), trans(transB), m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
	})},
	{"vek", func(p problem, a, b, c []float32) (func(int), func() []float32) {
		if p.transA || p.transB {
			return nil, nil
		}
		compute := func(times int) {
			for range times {
				vek32.MatMul_Into(c, a, b, p.k)
			}
		}
		return compute, func() []float32 { return c }
	}},
	{"GoMLX", goMLX},
}

// goMLX is the Go backend of GoMLX.
func goMLX(p problem, a, b, _ []float32) (func(int), func() []float32) {
	// Without ops_sequential several products at a time can wait for each other for ever.
	backend, err := gobackend.New(fmt.Sprintf("ops_sequential,parallelism=%d", *threads))
	if err != nil {
		log.Fatal(err)
	}
	x, y := shaped(a, p.m, p.k, p.transA), shaped(b, p.k, p.n, p.transB)
	exec, err := graph.NewExec(backend, func(x, y *graph.Node) *graph.Node {
		left, right := 1, 0
		if p.transA {
			left = 0
		}
		if p.transB {
			right = 1
		}
		return graph.DotGeneral(x, []int{left}, nil, y, []int{right}, nil)
	})
	if err != nil {
		log.Fatal(err)
	}
	var last *tensors.Tensor
	compute := func(times int) {
		for range times {
			if last != nil {
				last.MustFinalizeAll() // its memory is for the next
			}
			if last, err = exec.Call1(x, y); err != nil {
				log.Fatal(err)
			}
		}
	}
	return compute, func() []float32 { return tensors.MustCopyFlatData[float32](last) }
}

// shaped returns what op makes rows×cols, as it is stored.
func shaped(x []float32, rows, cols int, trans bool) *tensors.Tensor {
	if trans {
		rows, cols = cols, rows
	}
	return tensors.FromFlatDataAndDimensions(x, rows, cols)
}

func trans(t bool) blas.Transpose {
	if t {
		return blas.Trans
	}
	return blas.NoTrans
}

func main() {
	flag.Parse()
	runtime.GOMAXPROCS(*threads)
	switch {
	case *scaling:
		peers = append(peers[:1], scalingPeers...)
	case *slow:
		peers = append(peers, slowPeers...)
	}
	wanted, err := regexp.Compile(*match)
	if err != nil {
		fmt.Fprintln(os.Stderr, "blas:", err)
		os.Exit(2)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\t")
	for _, p := range peers {
		fmt.Fprintf(w, "%s GFLOP/s\t", p.name)
	}
	for _, p := range peers[1:] {
		fmt.Fprintf(w, "ours ÷ %s\t", p.name)
	}
	fmt.Fprintln(w)
	for _, p := range problems {
		if wanted.MatchString(p.name) {
			p.compare(w)
		}
	}
	w.Flush()
}

// compare prints the line of p: of each peer the greatest speed, and the median of its
// times in units of ours.
func (p problem) compare(w *tabwriter.Writer) {
	r := rand.New(rand.NewPCG(1, 2))
	a, b := normal(r, p.m*p.k), normal(r, p.k*p.n)
	flops := 2 * float64(p.m) * float64(p.n) * float64(p.k)
	compute := make([]func(times int), len(peers))
	times, repeats := make([][]float64, len(peers)), make([]int, len(peers))
	run := func(i, n int) time.Duration {
		start := time.Now()
		compute[i](n)
		return time.Since(start)
	}
	var want []float32
	for i, q := range peers {
		var result func() []float32
		if compute[i], result = q.product(p, a, b, make([]float32, p.m*p.n)); compute[i] == nil {
			continue
		}
		run(i, 1)
		if got := result(); want == nil {
			want = slices.Clone(got)
		} else {
			p.check(q.name, got, want, a, b)
		}
		repeats[i] = max(1, int(*sample/max(1, run(i, 1))))
	}
	for range *rounds {
		for i := range peers {
			if compute[i] != nil {
				times[i] = append(times[i], run(i, repeats[i]).Seconds()/float64(repeats[i]))
			}
		}
	}
	fmt.Fprintf(w, "%s\t", p.name)
	for i := range peers {
		if compute[i] == nil {
			fmt.Fprint(w, "–\t")
			continue
		}
		fmt.Fprintf(w, "%.1f\t", flops/slices.Min(times[i])/1e9)
	}
	for i := range peers[1:] {
		if compute[i+1] == nil {
			fmt.Fprint(w, "–\t")
			continue
		}
		ratios := make([]float64, *rounds)
		for j := range ratios {
			ratios[j] = times[i+1][j] / times[0][j]
		}
		slices.Sort(ratios)
		fmt.Fprintf(w, "%.2f\t", ratios[len(ratios)/2])
	}
	fmt.Fprintln(w)
}

// check ends the program unless two products agree: each sums k products, and has an error
// of at most k·u times the sum of their absolute values, u = 2⁻²⁴.
func (p problem) check(name string, got, want, a, b []float32) {
	greatest := func(x []float32) float64 { return max(float64(slices.Max(x)), -float64(slices.Min(x))) }
	bound := 2 * float64(p.k) * 0x1p-24 * float64(p.k) * greatest(a) * greatest(b)
	for i, v := range want {
		if d := float64(got[i] - v); !(d <= bound && -d <= bound) {
			fmt.Fprintf(os.Stderr, "blas: %s: %s: element %d is %v, want %v\n", p.name, name, i, got[i], v)
			os.Exit(1)
		}
	}
}

func normal(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}
