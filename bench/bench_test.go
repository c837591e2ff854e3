package bench

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/contrastive-go/contrastive"
	ours "github.com/contrastive-go/contrastive/blas"
	"github.com/contrastive-go/contrastive/simd"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// sgemm is the matrix product whose time is the yardstick: OpenBLAS if the build
// has it.
var sgemm blas.Float32 = gonumBLAS

const tau = 0.07

// pairs returns queries and keys that correlate.
func pairs(n, k, d int) (query, key blas32.General) {
	r := rand.New(rand.NewPCG(1, uint64(n*d)))
	query, key = newMatrix(n, d), newMatrix(k, d)
	for i := range query.Data {
		query.Data[i] = float32(r.NormFloat64())
	}
	for i := range key.Data {
		key.Data[i] = float32(r.NormFloat64())
		if i < len(query.Data) {
			key.Data[i] += query.Data[i]
		}
	}
	return query, key
}

// TestLevel tells bench/run the level of the processor.
func TestLevel(t *testing.T) { fmt.Println("level:", simd.Level()) }

// TestPeersAgree checks what is compared before it is timed.
func TestPeersAgree(t *testing.T) {
	for _, size := range []struct{ n, d int }{{3, 5}, {64, 32}, {130, 128}} {
		q, k := pairs(size.n, size.n, size.d)
		dq, dk := contrastive.NewMatrix(size.n, size.d), contrastive.NewMatrix(size.n, size.d)
		r, err := contrastive.InfoNCE{Temperature: tau}.Eval(
			contrastive.Batch{Query: contrastive.Matrix(q), Key: contrastive.Matrix(k)},
			contrastive.Gradients{Query: dq, Key: dk})
		if err != nil {
			t.Fatal(err)
		}
		writeAgreement(t, q, k, r.Loss, dq, dk)
		for _, p := range Peers {
			pq, pk := newMatrix(size.n, size.d), newMatrix(size.n, size.d)
			loss := p.InfoNCE(q, k, pq, pk, tau)
			// The peers compute in float32: cosines within 2⁻²², logits within
			// that divided by τ, which is 2⁻¹⁸.
			if math.Abs(loss-r.Loss) > 0x1p-16*(1+r.Loss) {
				t.Errorf("%s: loss %v, want %v", p.Name, loss, r.Loss)
			}
			for name, g := range map[string][2][]float32{"query": {pq.Data, dq.Data}, "key": {pk.Data, dk.Data}} {
				top := 0.0
				for _, v := range g[1] {
					top = max(top, math.Abs(float64(v)))
				}
				for i, v := range g[0] {
					if math.Abs(float64(v-g[1][i])) > 0x1p-14*top {
						t.Fatalf("%s: gradient of %s, element %d: %v, want %v", p.Name, name, i, v, g[1][i])
					}
				}
			}
		}
	}
}

// writeAgreement writes inputs and results for peers that are not in Go, to the
// file that the BENCH_AGREE environment variable names, if it does.
func writeAgreement(t *testing.T, q, k blas32.General, loss float64, dq, dk contrastive.Matrix) {
	name := os.Getenv("BENCH_AGREE")
	if name == "" {
		return
	}
	top, _, err := contrastive.TopK(contrastive.Matrix(q), contrastive.Matrix(k), 3)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(map[string]any{
		"top": top, "n": q.Rows, "d": q.Cols, "tau": tau, "query": q.Data, "key": k.Data,
		"loss": loss, "query_grad": dq.Data, "key_grad": dk.Data,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// gflops reports the speed of the products that a call needs, and the share that
// this is of the FMA peak of the workers' cores.
func gflops(b *testing.B, units float64, n, k, d, workers int) {
	rate := 2 * units * float64(n) * float64(k) * float64(d) * float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate/1e9, "GFLOP/s")
	b.ReportMetric(100*rate/(Peak()*float64(workers)), "%peak")
}

// BenchmarkLoss times losses with and without gradients on every level.
func BenchmarkLoss(b *testing.B) {
	type options = contrastive.Options
	infoNCE := func(o options) contrastive.Loss { return contrastive.InfoNCE{Temperature: tau, Options: o} }
	for _, l := range []struct {
		name      string
		precision contrastive.Precision
		units     float64 // products of an evaluation with both gradients, if all is kept
		make      func(options) contrastive.Loss
	}{
		{"infonce", contrastive.Highest, 3, infoNCE},
		{"infonce-high", contrastive.High, 3, infoNCE},
		{"infonce-medium", contrastive.Medium, 3, infoNCE},
		{"clip", contrastive.Highest, 3, func(o options) contrastive.Loss { return contrastive.CLIP{Temperature: tau, Options: o} }},
		{"ntxent", contrastive.Highest, 1.5, func(o options) contrastive.Loss { return contrastive.NTXent{Temperature: tau, Options: o} }},
		{"siglip", contrastive.Highest, 3, func(o options) contrastive.Loss {
			return contrastive.SigLIP{Temperature: tau, Bias: -10, Options: o}
		}},
	} {
		for _, s := range Sizes {
			for _, grad := range []bool{false, true} {
				eachLevel(b, func(b *testing.B, isa string, workers int) {
					if isa == "generic" && slow(s.N, s.D) || !differs(isa, l.precision) {
						return // minutes, or what another level does
					}
					pass, units := "value", 1.0
					if grad {
						pass, units = "grad", l.units
					}
					name := fmt.Sprintf("loss=%s/n=%d/k=%d/d=%d/pass=%s/isa=%s/workers=%d", l.name, s.N, s.N, s.D, pass, isa, workers)
					b.Run(name, func(b *testing.B) {
						n := s.N
						if l.name == "ntxent" {
							n /= 2 // as many anchors
						}
						q, k := pairs(n, n, s.D)
						batch := contrastive.Batch{Query: contrastive.Matrix(q), Key: contrastive.Matrix(k)}
						var g contrastive.Gradients
						if grad {
							g.Query, g.Key = contrastive.NewMatrix(n, s.D), contrastive.NewMatrix(n, s.D)
						}
						run(b, l.make(options{Workers: workers, Precision: l.precision}), batch, g)
						gflops(b, units, s.N, s.N, s.D, workers)
					})
				})
			}
		}
	}
}

// slow reports whether plain Go takes minutes.
func slow(n, d int) bool { return n*n*d > 1024*1024*128 }

// differs reports whether a precision is computed on a level as on no other.
func differs(isa string, p contrastive.Precision) bool {
	switch isa {
	case "amx":
		return true
	case "avx512bf16":
		return p == contrastive.Medium
	}
	return p == contrastive.Highest
}

// BenchmarkMoCo times a small batch of queries against a long queue.
func BenchmarkMoCo(b *testing.B) {
	const n, keys, d = 256, 65536, 128
	eachLevel(b, func(b *testing.B, isa string, workers int) {
		for p, name := range []string{"moco", "moco-high", "moco-medium"} {
			precision := contrastive.Precision(p)
			if !differs(isa, precision) {
				continue
			}
			b.Run(fmt.Sprintf("loss=%s/n=%d/k=%d/d=%d/pass=grad/isa=%s/workers=%d", name, n, keys, d, isa, workers), func(b *testing.B) {
				q, k := pairs(n, keys, d)
				queue, err := contrastive.NewQueue(keys, d)
				if err != nil {
					b.Fatal(err)
				}
				loss := contrastive.InfoNCE{Temperature: tau, Options: contrastive.Options{Workers: workers, Precision: precision}}
				batch := contrastive.Batch{Query: contrastive.Matrix(q), Key: contrastive.Matrix(q), Queue: queue}
				if _, err := loss.Eval(batch, contrastive.Gradients{}); err != nil { // the queue follows its precision
					b.Fatal(err)
				}
				if err := queue.Enqueue(contrastive.Matrix(k)); err != nil {
					b.Fatal(err)
				}
				k.Rows = n
				batch.Key = contrastive.Matrix(k)
				run(b, loss, batch, contrastive.Gradients{Query: contrastive.NewMatrix(n, d)})
				gflops(b, 2, n, keys, d, workers)
			})
		}
	})
}

func run(b *testing.B, l contrastive.Loss, batch contrastive.Batch, g contrastive.Gradients) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Eval(batch, g); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPeer times the alternatives, on one core.
func BenchmarkPeer(b *testing.B) {
	for _, p := range Peers {
		for _, s := range Sizes {
			if slow(s.N, s.D) && (p.Name == "go" || p.Name == "vek") {
				continue // minutes
			}
			b.Run(fmt.Sprintf("loss=infonce/n=%d/k=%d/d=%d/pass=grad/isa=%s/workers=1", s.N, s.N, s.D, p.Name), func(b *testing.B) {
				q, k := pairs(s.N, s.N, s.D)
				dq, dk := newMatrix(s.N, s.D), newMatrix(s.N, s.D)
				for b.Loop() {
					p.InfoNCE(q, k, dq, dk, tau)
				}
				gflops(b, 3, s.N, s.N, s.D, 1)
			})
		}
	}
}

// BenchmarkProducts times the three matrix products of a loss alone.
func BenchmarkProducts(b *testing.B) {
	for _, s := range Sizes {
		b.Run(fmt.Sprintf("loss=products/n=%d/k=%d/d=%d/pass=grad/isa=%s/workers=1", s.N, s.N, s.D, sgemmName()), func(b *testing.B) {
			q, k := pairs(s.N, s.N, s.D)
			dq, dk, m := newMatrix(s.N, s.D), newMatrix(s.N, s.D), newMatrix(s.N, s.N)
			blas32.Use(sgemm)
			defer blas32.Use(gonumBLAS)
			for b.Loop() {
				blas32.Gemm(blas.NoTrans, blas.Trans, 1, q, k, 0, m)
				blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, m, k, 0, dq)
				blas32.Gemm(blas.Trans, blas.NoTrans, 1, m, q, 0, dk)
			}
			gflops(b, 3, s.N, s.N, s.D, 1)
		})
	}
}

func sgemmName() string {
	if sgemm == gonumBLAS {
		return "gonum"
	}
	return "openblas"
}

// eachLevel calls f for each level and for one worker and two.
func eachLevel(b *testing.B, f func(b *testing.B, isa string, workers int)) {
	defer func(l string) {
		if err := simd.SetLevel(l); err != nil {
			b.Fatal(err)
		}
	}(simd.Level())
	for _, l := range simd.Levels() {
		if err := simd.SetLevel(l); err != nil {
			b.Fatal(err)
		}
		for _, workers := range []int{1, 2} {
			f(b, l, workers)
		}
	}
}

// The search for the nearest of many keys.
const (
	searchQueries, searchKeys, searchDim = 1000, 1_000_000, 128
	nearest                              = 10
	searchPart                           = 8192 // keys of a product that does not hold all similarities
)

// BenchmarkTopK times exact search for the ten nearest of a million keys, and the matrix
// product of its size alone.
func BenchmarkTopK(b *testing.B) {
	q, k := pairs(searchQueries, searchKeys, searchDim)
	name := func(what, isa string, workers int) string {
		return fmt.Sprintf("metric=%s/n=%d/k=%d/d=%d/isa=%s/workers=%d", what, searchQueries, searchKeys, searchDim, isa, workers)
	}
	c := newMatrix(searchQueries, searchPart)
	parts := func(product func(keys, c blas32.General)) {
		for first := 0; first < k.Rows; first += searchPart {
			n := min(searchPart, k.Rows-first)
			product(blas32.General(contrastive.Matrix(k).Slice(first, first+n)), blas32.General{Rows: c.Rows, Cols: n, Stride: c.Stride, Data: c.Data})
		}
	}
	eachLevel(b, func(b *testing.B, isa string, workers int) {
		if isa == "generic" || !differs(isa, contrastive.Highest) {
			return // minutes, or what another level does
		}
		b.Run(name("topk", isa, workers), func(b *testing.B) {
			search := contrastive.Search{Options: contrastive.Options{Workers: workers}}
			for b.Loop() {
				if _, _, err := search.TopK(contrastive.Matrix(q), contrastive.Matrix(k), nearest); err != nil {
					b.Fatal(err)
				}
			}
			gflops(b, 1, searchQueries, searchKeys, searchDim, workers)
		})
		b.Run(name("product", isa, workers), func(b *testing.B) {
			for b.Loop() {
				parts(func(keys, c blas32.General) {
					ours.Sgemm(false, true, c.Rows, c.Cols, searchDim, 1, q.Data, q.Stride, keys.Data, keys.Stride, 0, c.Data, c.Stride, workers)
				})
			}
			gflops(b, 1, searchQueries, searchKeys, searchDim, workers)
		})
	})
	if sgemm == gonumBLAS {
		return
	}
	b.Run(name("product", sgemmName(), 1), func(b *testing.B) {
		blas32.Use(sgemm)
		defer blas32.Use(gonumBLAS)
		for b.Loop() {
			parts(func(keys, c blas32.General) { blas32.Gemm(blas.NoTrans, blas.Trans, 1, q, keys, 0, c) })
		}
		gflops(b, 1, searchQueries, searchKeys, searchDim, 1)
	})
}
