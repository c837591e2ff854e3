// Command blas compares matrix products in float32.
//
//	go run -tags openblas ./blas [-rounds 15] [-threads 1] [-match regexp] [-csv]
//
// In each round every implementation computes the same product in turn, so that what
// else the machine does meets all of them. It prints the median over the rounds of the
// time of the others in units of ours, and the greatest speed of each.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

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
	{"32³", false, false, 32, 32, 32},
	{"64³", false, false, 64, 64, 64},
	{"100³", false, false, 100, 100, 100},
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
}

// A peer is an implementation, by the arguments of BLAS.
type peer struct {
	name  string
	sgemm func(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int)
}

var (
	rounds  = flag.Int("rounds", 15, "rounds")
	threads = flag.Int("threads", 1, "threads of each implementation")
	match   = flag.String("match", "", "regular expression of the names of products")
	slow    = flag.Bool("slow", true, "also those that are not tiled for this processor")
	sample  = flag.Duration("sample", 10*time.Millisecond, "least duration of one measurement")
)

var peers = []peer{
	{"ours", func(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
		ours.Sgemm(transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, *threads)
	}},
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
	if *slow {
		peers = append(peers, peer{"gonum", func(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
			gonumblas.Implementation{}.Sgemm(trans(transA), trans(transB), m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
		}})
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
	a, b, c := normal(r, p.m*p.k), normal(r, p.k*p.n), make([]float32, p.m*p.n)
	lda, ldb := p.k, p.n
	if p.transA {
		lda = p.m
	}
	if p.transB {
		ldb = p.k
	}
	flops := 2 * float64(p.m) * float64(p.n) * float64(p.k)
	run := func(q peer, n int) time.Duration {
		start := time.Now()
		for range n {
			q.sgemm(p.transA, p.transB, p.m, p.n, p.k, 1, a, lda, b, ldb, 0, c, p.n)
		}
		return time.Since(start)
	}
	times, repeats := make([][]float64, len(peers)), make([]int, len(peers))
	for i, q := range peers {
		run(q, 1)
		repeats[i] = max(1, int(*sample/max(1, run(q, 1))))
	}
	for range *rounds {
		for i, q := range peers {
			times[i] = append(times[i], run(q, repeats[i]).Seconds()/float64(repeats[i]))
		}
	}
	fmt.Fprintf(w, "%s\t", p.name)
	for i := range peers {
		fmt.Fprintf(w, "%.1f\t", flops/slices.Min(times[i])/1e9)
	}
	for i := range peers[1:] {
		ratios := make([]float64, *rounds)
		for j := range ratios {
			ratios[j] = times[i+1][j] / times[0][j]
		}
		slices.Sort(ratios)
		fmt.Fprintf(w, "%.2f\t", ratios[len(ratios)/2])
	}
	fmt.Fprintln(w)
}

func normal(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}
