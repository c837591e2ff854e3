package contrastive_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/kernel"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/race"
	"github.com/contrastive-go/contrastive/simd"
)

// parallel returns a batch for v large enough that several workers share it on the
// level in use: its pairs take at least 1.1·2¹⁷ operations for each element of the
// register tile, more than package engine asks for.
func parallel(v losstest.Variant, r *rand.Rand) contrastive.Batch {
	s := kernel.Active().Shape
	depth := 40
	pairs := 1.1 * float64(int(1)<<17*s.Rows*s.Cols) / float64(2*depth)
	n := int(math.Sqrt(pairs)) + 1
	if v.Given { // three workers, of which each has the pairs of 2¹⁷ elements of rows
		pairs := 2<<17/depth + 1
		if v.Hard {
			pairs /= 3
		}
		return v.Batch(r, pairs+1, depth)
	}
	switch v.Name {
	case "BarlowTwins", "VICReg": // their vectors are the columns
		return contrastive.Batch{Query: losstest.Normal(r, depth, n), Key: losstest.Normal(r, depth, n)}
	case "InfoNCE", "InfoNCE/InBatch", "InfoNCE/Symmetric", "CLIP", "SigLIP":
	default: // the rows of both views are compared
		n = n/2 + 1
	}
	b := v.Batch(r, n, depth)
	if v.Labels {
		b.Labels = losstest.Labels(r, n)
	}
	return b
}

// digest returns a checksum of all bits of an evaluation.
func digest(t *testing.T, v losstest.Variant, b contrastive.Batch, o options) uint64 {
	g := v.Destinations(b)
	res := losstest.Eval(t, v.Name, v.Make(0.1, -3, o), b, g)
	var data []byte
	for _, x := range [...]float64{res.Loss, res.TemperatureGrad, res.BiasGrad, res.Accuracy, res.PositiveCosine, res.NegativeCosine} {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(x))
	}
	for _, m := range losstest.Outputs(g) {
		for _, x := range m.Data {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
		}
	}
	for _, x := range g.Losses {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(x))
	}
	return crc64.Checksum(data, crc64.MakeTable(crc64.ECMA))
}

// forms are the losses that between them have all forms of the engine, and one of given
// pairs. The others differ in what becomes of the sums.
var forms = []string{"InfoNCE", "CLIP", "NTXent", "SigLIP", "BarlowTwins", "MarginMSE"}

// TestDeterminism asks for the same bits from 1 to 16 workers, under any GOMAXPROCS
// and from run to run, on every level.
func TestDeterminism(t *testing.T) {
	procs := []int{1, 2, 3, 8}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	isatest.Each(t, func(t *testing.T) {
		for k, v := range losstest.Variants {
			b := parallel(v, rand.New(rand.NewPCG(81, uint64(k))))
			want := digest(t, v, b, options{Workers: 1})
			counts := []int{1, 3, 16}
			if slices.Contains(forms, v.Name) && !testing.Short() && !race.Enabled {
				counts = []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
			}
			for _, workers := range counts {
				runtime.GOMAXPROCS(procs[workers%len(procs)])
				if got := digest(t, v, b, options{Workers: workers}); got != want {
					t.Errorf("%s: %d workers on %d processors give %#x, one gives %#x", v.Name, workers, runtime.GOMAXPROCS(0), got, want)
				}
			}
			for _, n := range procs[2:] {
				runtime.GOMAXPROCS(n)
				if got := digest(t, v, b, options{}); got != want {
					t.Errorf("%s: GOMAXPROCS=%d gives %#x, one worker %#x", v.Name, n, got, want)
				}
			}
		}
	})
}

// TestKeepBytes asks for the same bits whatever is kept between sweeps.
func TestKeepBytes(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		for k, v := range losstest.Variants {
			b := v.Batch(rand.New(rand.NewPCG(82, uint64(k))), 210, 9)
			want := digest(t, v, b, options{Workers: 1})
			for _, bytes := range []int{-1, 1, 50_000, 300_000, 1 << 30} {
				if got := digest(t, v, b, options{Workers: 1, KeepBytes: bytes}); got != want {
					t.Errorf("%s: KeepBytes %d gives %#x, the default %#x", v.Name, bytes, got, want)
				}
			}
		}
	})
}

// TestStormParallel is TestStorm for batches that several workers share, of several
// losses at once.
func TestStormParallel(t *testing.T) {
	rounds := 10
	if testing.Short() || race.Enabled {
		rounds = 1
	}
	isatest.Each(t, func(t *testing.T) {
		during(func(work *sync.WaitGroup) {
			for k, v := range losstest.Variants {
				if !slices.Contains(forms, v.Name) {
					continue
				}
				b := parallel(v, rand.New(rand.NewPCG(83, uint64(k))))
				want := digest(t, v, b, options{Workers: 1})
				work.Go(func() {
					for i := range rounds {
						if got := digest(t, v, b, options{Workers: 2 + i%4}); got != want {
							t.Errorf("%s: %d workers give %#x, one gives %#x", v.Name, 2+i%4, got, want)
						}
					}
				})
			}
		})
	})
}

// digestLevel names, in the environment of a child process, the level that
// TestDigestChild is to print digests of.
const digestLevel = "CONTRASTIVE_TEST_DIGEST"

// TestDigestChild is the child of TestDeterministicProcesses.
func TestDigestChild(t *testing.T) {
	if os.Getenv(digestLevel) == "" {
		t.Skip("is run by TestDeterministicProcesses")
	}
	fmt.Println(strings.Join(digests(t), " "))
}

// digests returns those of all losses on the level in use.
func digests(t *testing.T) []string {
	all := []string{"digests", simd.Level()}
	for k, v := range losstest.Variants {
		b := parallel(v, rand.New(rand.NewPCG(82, uint64(k))))
		all = append(all, fmt.Sprintf("%016x", digest(t, v, b, options{})))
	}
	return all
}

// TestDeterministicProcesses asks for the same bits from processes that differ in
// all that they may differ in: addresses, the number of processors, and how often
// memory is collected.
func TestDeterministicProcesses(t *testing.T) {
	if testing.Short() || race.Enabled {
		t.Skip("starts processes, which emulators cannot")
	}
	program, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	isatest.Each(t, func(t *testing.T) {
		want := strings.Join(digests(t), " ")
		for _, env := range [][]string{
			{"GOMAXPROCS=1", "GOGC=off"}, {"GOMAXPROCS=2", "GOGC=5"}, {"GOMAXPROCS=7", "GODEBUG=asyncpreemptoff=1"},
		} {
			child := exec.Command(program, "-test.run=^TestDigestChild$")
			child.Env = append(append(os.Environ(), env...), digestLevel+"=yes", "CONTRASTIVE_SIMD="+isa.Active.String())
			output, err := child.Output()
			if len(output) == 0 && err != nil {
				t.Skip(err) // where processes cannot be started
			}
			if got, _, _ := strings.Cut(string(output), "\n"); got != want {
				t.Errorf("%v: %s, %v, want %s", env, got, err, want)
			}
		}
	})
}
