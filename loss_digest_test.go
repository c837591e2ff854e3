package contrastive_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
)

// A bitSum is a checksum of results, bit for bit.
type bitSum struct{ data []byte }

func (s *bitSum) floats(values ...float64) {
	for _, x := range values {
		s.data = binary.LittleEndian.AppendUint64(s.data, math.Float64bits(x))
	}
}

func (s *bitSum) matrix(m contrastive.Matrix) {
	for i := range m.Rows {
		for _, x := range m.Row(i) {
			s.data = binary.LittleEndian.AppendUint32(s.data, math.Float32bits(x))
		}
	}
}

func (s *bitSum) result(r contrastive.Result, g contrastive.Gradients) {
	s.floats(r.Loss, r.TemperatureGrad, r.BiasGrad, r.Accuracy, r.PositiveCosine, r.NegativeCosine)
	for _, m := range losstest.Outputs(g) {
		s.matrix(m)
	}
	s.floats(g.Losses...)
}

func (s *bitSum) String() string {
	return fmt.Sprintf("%016x", crc64.Checksum(s.data, crc64.MakeTable(crc64.ECMA)))
}

// TestDigest writes a checksum of the bits of every loss, alone and sharded, and of
// the metrics, on every level and at many shapes, to the file that CONTRASTIVE_DIGEST
// names. A change that is to change no bits is made between two such files:
//
//	CONTRASTIVE_DIGEST=/tmp/before go test -count=1 -run TestDigest .
func TestDigest(t *testing.T) {
	path := os.Getenv("CONTRASTIVE_DIGEST")
	if path == "" {
		t.Skip("CONTRASTIVE_DIGEST names no file")
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriter(f)
	isatest.Each(t, func(t *testing.T) {
		for k, v := range losstest.Variants {
			for _, n := range [][2]int{{1, 5}, {2, 3}, {7, 33}, {32, 128}, {97, 31}, {200, 64}, {500, 20}} {
				for _, tau := range []float32{0.1, 0.01} {
					for _, p := range []contrastive.Precision{contrastive.Highest, contrastive.High, contrastive.Medium} {
						for _, extra := range []string{"", "labels", "negatives", "queue", "value"} {
							if line := digestCase(t, v, k, n[0], n[1], tau, p, extra); line != "" {
								fmt.Fprintf(out, "%v %s %d×%d τ=%v precision=%d %s: %s\n", isa.Active, v.Name, n[0], n[1], tau, p, extra, line)
							}
						}
					}
				}
			}
		}
		digestSharded(t, out)
		digestMetrics(t, out)
	})
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func digestCase(t *testing.T, v losstest.Variant, seed, n, dim int, tau float32, p contrastive.Precision, extra string) string {
	r := rand.New(rand.NewPCG(uint64(seed), uint64(n*1000+dim)))
	b := v.Batch(r, n, dim)
	g := v.Destinations(b)
	switch extra {
	case "labels":
		if !v.Labels {
			return ""
		}
		b.Labels = losstest.Labels(r, n)
	case "negatives":
		if !v.Negatives {
			return ""
		}
		b.Negatives = losstest.Normal(r, 2*n+3, dim)
		g = v.Destinations(b)
	case "queue":
		if !v.Queue {
			return ""
		}
		b.Queue = losstest.NewQueue(t, 3*n, losstest.Normal(r, 2*n+1, dim))
	case "value":
		g = contrastive.Gradients{}
	}
	if v.NeedsTwo && n < 2 {
		return ""
	}
	res := losstest.Eval(t, v.Name, v.Make(tau, -3, options{Workers: 2, Precision: p}), b, g)
	var s bitSum
	s.result(res, g)
	return s.String()
}

func digestSharded(t *testing.T, out *bufio.Writer) {
	for k, v := range losstest.Variants {
		switch v.Name {
		case "InfoNCE", "InfoNCE/InBatch", "InfoNCE/Symmetric", "CLIP", "NTXent", "SigLIP", "SupCon":
		default:
			continue
		}
		for _, ring := range []bool{false, true} {
			for _, tau := range []float32{0.1, 0.01} {
				const ranks = 3
				sums := make([]bitSum, ranks)
				var group sync.WaitGroup
				for rank, c := range contrastive.NewLocalGroup(ranks) {
					group.Go(func() {
						r := rand.New(rand.NewPCG(uint64(k), uint64(rank)))
						n := 5 + 30*rank
						b := contrastive.Batch{Query: losstest.Normal(r, n, 19), Key: losstest.Normal(r, n, 19)}
						if v.Labels {
							b.Labels = losstest.Labels(r, n)
						}
						if v.Negatives {
							b.Negatives = losstest.Normal(r, 4+rank, 19)
						}
						g := losstest.Destinations(b)
						s := contrastive.Sharded{Loss: v.Make(tau, -3, options{Workers: 1}), Collective: c, Ring: ring}
						res, err := s.Eval(context.Background(), b, g)
						if err != nil {
							t.Errorf("%s: %v", v.Name, err)
						}
						sums[rank].result(res, g)
					})
				}
				group.Wait()
				for rank := range sums {
					fmt.Fprintf(out, "%v sharded %s ring=%t τ=%v rank %d: %s\n", isa.Active, v.Name, ring, tau, rank, &sums[rank])
				}
			}
		}
	}
}

func digestMetrics(t *testing.T, out *bufio.Writer) {
	r := rand.New(rand.NewPCG(9, 9))
	x, y := losstest.Normal(r, 150, 40), losstest.Normal(r, 150, 40)
	var s bitSum
	index, cosine, err := contrastive.TopK(x, y, 7)
	if err != nil {
		t.Fatal(err)
	}
	for i := range index {
		for k, j := range index[i] {
			s.floats(float64(j), float64(cosine[i][k]))
		}
	}
	uniformity, err := contrastive.Uniformity(x, 2)
	if err != nil {
		t.Fatal(err)
	}
	alignment, err := contrastive.Alignment(x, y, 2)
	if err != nil {
		t.Fatal(err)
	}
	mrr, err := contrastive.MRR(x, y)
	if err != nil {
		t.Fatal(err)
	}
	s.floats(uniformity, alignment, mrr)
	fmt.Fprintf(out, "%v metrics: %s\n", isa.Active, &s)
}
