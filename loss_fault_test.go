package contrastive_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
)

// notFinite are the values that are none of a number.
var notFinite = [...]float32{nan, inf, -inf, math.Float32frombits(0x7f800001), math.Float32frombits(0xffffffff)}

// eachPlace calls f with each of notFinite at each place of m in turn, and puts
// back what was there.
func eachPlace(m contrastive.Matrix, f func(row, col int, v float32)) {
	for row := range m.Rows {
		for col := range m.Cols {
			before := m.Row(row)[col]
			for _, v := range notFinite {
				m.Row(row)[col] = v
				f(row, col, v)
			}
			m.Row(row)[col] = before
		}
	}
}

// TestNotFiniteEverywhere puts NaN and infinities at every place of small batches:
// every loss and metric, the queue and the momentum encoder name the place, and
// change nothing. Columns reach beyond the vectors of every level.
func TestNotFiniteEverywhere(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		const rows, cols = 3, 37
		r := rand.New(rand.NewPCG(71, 1))
		for _, v := range losstest.Variants {
			b := full(t, v, r, rows, cols)
			loss := v.Make(0.1, 0, options{})
			for _, input := range [...]struct {
				name string
				m    contrastive.Matrix
			}{{"Query", b.Query}, {"Key", b.Key}, {"Negatives", b.Negatives}, {"Hard", b.Hard}, {"Scores", b.Scores}} {
				g := v.Destinations(b)
				eachPlace(input.m, func(row, col int, bad float32) {
					checkError(t, v.Name, loss, b, g, contrastive.ErrNotFinite, fmt.Sprintf("%s row %d column %d is %v", input.name, row, col, bad))
				})
			}
		}

		x, y := losstest.Normal(r, rows, cols), losstest.Normal(r, rows, cols)
		queue := losstest.NewQueue(t, 5, y)
		train := []int{1, 2, 3}
		online, target := make([]float32, cols), make([]float32, cols)
		for _, c := range [...]struct {
			name string
			m    contrastive.Matrix
			call func() error
		}{
			{"Alignment", x, func() error { return second(contrastive.Alignment(x, y, 2)) }},
			{"Alignment", y, func() error { return second(contrastive.Alignment(x, y, 2)) }},
			{"Uniformity", x, func() error { return second(contrastive.Uniformity(x, 2)) }},
			{"Collapse", x, func() error { return second(contrastive.Collapse(x)) }},
			{"TopK", x, func() error { _, _, err := contrastive.TopK(x, y, 1); return err }},
			{"TopK", y, func() error { _, _, err := contrastive.TopK(x, y, 1); return err }},
			{"KNN", x, func() error { return second(contrastive.KNN(x, train, y, 2, 0.1)) }},
			{"KNN", y, func() error { return second(contrastive.KNN(x, train, y, 2, 0.1)) }},
			{"RecallAt", x, func() error { return second(contrastive.RecallAt(x, y, 1)) }},
			{"MRR", y, func() error { return second(contrastive.MRR(x, y)) }},
			{"Queue.Enqueue", x, func() error { return queue.Enqueue(x) }},
		} {
			before := bits(queue.Keys().Data)
			eachPlace(c.m, func(row, col int, bad float32) {
				err := c.call()
				var at *contrastive.NotFiniteError
				if part := fmt.Sprintf("row %d column %d is %v", row, col, bad); !errors.Is(err, contrastive.ErrNotFinite) || !strings.Contains(err.Error(), part) || !called(err, c.name) {
					t.Errorf("%s with %v at %d, %d: %v", c.name, bad, row, col, err)
				} else if !errors.As(err, &at) || at.Row != row || at.Col != col || math.Float32bits(at.Value) != math.Float32bits(bad) {
					t.Errorf("%s with %v at %d, %d: %+v", c.name, bad, row, col, at)
				}
			})
			if bits(queue.Keys().Data) != before {
				t.Errorf("%s has changed the queue", c.name)
			}
			if err := c.call(); err != nil {
				t.Errorf("%s: %v", c.name, err) // what was bad is good again
			}
		}
		for _, s := range [...][]float32{online, target} {
			eachPlace(contrastive.Matrix{Rows: 1, Cols: cols, Stride: cols, Data: s}, func(_, col int, bad float32) {
				before := bits(target)
				err := contrastive.MomentumUpdate(target, online, 0.5)
				var at *contrastive.NotFiniteError
				if part := fmt.Sprintf("element %d is %v", col, bad); !errors.Is(err, contrastive.ErrNotFinite) || !strings.Contains(err.Error(), part) || !called(err, "MomentumUpdate") {
					t.Errorf("MomentumUpdate with %v at %d: %v", bad, col, err)
				} else if !errors.As(err, &at) || at.Col != col || math.Float32bits(at.Value) != math.Float32bits(bad) {
					t.Errorf("MomentumUpdate with %v at %d: %+v", bad, col, at)
				}
				if bits(target) != before {
					t.Errorf("MomentumUpdate with %v at %d changes target", bad, col)
				}
			})
		}
	})
}

// called reports whether err says, once, that it comes from a function of the package.
func called(err error, function string) bool {
	return strings.HasPrefix(err.Error(), "contrastive: "+function+": ") && strings.Count(err.Error(), "contrastive: ") == 1
}

// bits returns s in a form that compares NaN equal.
func bits(s []float32) string {
	var b strings.Builder
	for _, v := range s {
		fmt.Fprintf(&b, "%08x", math.Float32bits(v))
	}
	return b.String()
}

// allocates returns the bytes that f allocates.
func allocates(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestAbsurdSizes asks for more than there is, in every way that a size can be
// given, of which some are 0 or little in the arithmetic of int. That is an error,
// or for NewMatrix, which has none, a panic with the sizes, before anything of the
// size is allocated.
func TestAbsurdSizes(t *testing.T) {
	const half, root = math.MaxInt/2 + 1, 1 << (strconv.IntSize / 2)
	small := contrastive.NewMatrix(2, 2)
	huge := func(rows, cols, stride int) contrastive.Matrix {
		return contrastive.Matrix{Rows: rows, Cols: cols, Stride: stride, Data: small.Data}
	}
	_, file := written(t, 4, 4, false)
	encode := func(lo, hi int, z contrastive.Matrix) error { return nil }
	for name, call := range map[string]func() error{
		"MaxInt rows":             func() error { return evalError(huge(math.MaxInt, 2, 2)) },
		"MaxInt columns":          func() error { return evalError(huge(2, math.MaxInt, math.MaxInt)) },
		"MaxInt stride":           func() error { return evalError(huge(2, 2, math.MaxInt)) },
		"a product of 2^63":       func() error { return evalError(huge(2, half, half)) },
		"a product of 0":          func() error { return evalError(huge(5, 4, half)) },
		"NewQueue":                func() error { return second(contrastive.NewQueue(half, 2)) },
		"NewQueue of one huge":    func() error { return second(contrastive.NewQueue(1, math.MaxInt)) },
		"ReadQueue":               func() error { return readError(forge(file, [4]uint64{1 << 32, 1 << 32, 4, 0})) },
		"ReadQueue of long keys":  func() error { return readError(forge(file, [4]uint64{1 << 20, 1 << 8, 1 << 8, 0})) },
		"ReadQueue of many keys":  func() error { return readError(forge(file, [4]uint64{3, 1 << 26, 1 << 26, 0})) },
		"GradientCache":           func() error { return stepError(contrastive.Tower{Rows: half, Dim: 2, Encode: encode}) },
		"GradientCache of a wrap": func() error { return stepError(contrastive.Tower{Rows: half, Dim: 4, Encode: encode}) },
	} {
		var err error
		if n := allocates(func() { err = call() }); err == nil || n > 1<<20 {
			t.Errorf("%s: %v after %d bytes", name, err, n)
		}
	}
	for _, c := range [][2]int{{half, 2}, {half, 4}, {root, root}, {math.MaxInt, math.MaxInt}, {-1, 2}} {
		func() {
			defer func() {
				if message := fmt.Sprint(recover()); !strings.Contains(message, fmt.Sprintf("contrastive: NewMatrix(%d, %d)", c[0], c[1])) {
					t.Errorf("NewMatrix(%d, %d) panics with %q", c[0], c[1], message)
				}
			}()
			contrastive.NewMatrix(c[0], c[1])
		}()
	}
}

func evalError(m contrastive.Matrix) error {
	return second(contrastive.InfoNCE{}.Eval(contrastive.Batch{Query: m, Key: m}, contrastive.Gradients{}))
}

func readError(data []byte) error { return second(contrastive.ReadQueue(bytes.NewReader(data))) }

func stepError(tower contrastive.Tower) error {
	return second(contrastive.GradientCache{Loss: contrastive.InfoNCE{}}.Step(contrastive.Towers{Query: tower, Key: tower}, contrastive.Batch{}))
}

// TestAbsurdWorkers asks for more workers than there can be tasks: they are not
// started, and the result is the same.
func TestAbsurdWorkers(t *testing.T) {
	r := rand.New(rand.NewPCG(72, 1))
	b := contrastive.Batch{Query: losstest.Normal(r, 500, 300), Key: losstest.Normal(r, 500, 300)}
	g, want := losstest.Destinations(b), losstest.Destinations(b)
	wantRes := losstest.Eval(t, "one worker", contrastive.CLIP{Options: options{Workers: 1}}, b, want)
	var got contrastive.Result
	n := allocates(func() {
		got = losstest.Eval(t, "all workers", contrastive.CLIP{Options: options{Workers: math.MaxInt}}, b, g)
	})
	if got != wantRes || !losstest.SameBits(g.Query, want.Query) || !losstest.SameBits(g.Key, want.Key) {
		t.Errorf("%+v, want %+v", got, wantRes)
	}
	if n > 1<<30 {
		t.Errorf("%d bytes", n)
	}
}

// TestSupConFactor has ratios of the temperatures at the end of what weights allow,
// and beyond.
func TestSupConFactor(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(73, 1))
		b := contrastive.Batch{Query: losstest.Normal(r, 4, 5), Key: losstest.Normal(r, 4, 5)}
		for i := range 4 { // anchors and positives are opposite: exponentials are the least
			for d, x := range b.Query.Row(i) {
				b.Key.Row(i)[d] = -x
			}
		}
		for _, c := range [...]struct {
			tau, base float32
			good      bool
		}{
			{0.021, 0x1p-14 * 0.021, true}, {0.021, 0x1p-15 * 0.021, false}, {0.5, 0x1p-100, false},
			{1, 0x1p-80, true}, {1, 0x1p-81, false}, {0x1p78, 0.25, true}, {0x1p79, 0.25, false}, {1e30, 0.07, false},
		} {
			loss := contrastive.SupCon{Temperature: c.tau, BaseTemperature: c.base}
			name := fmt.Sprintf("SupCon τ=%v τ₀=%v", c.tau, c.base)
			g := losstest.Destinations(b)
			if c.good {
				checkFinite(t, name, losstest.Eval(t, name, loss, b, g), g)
			} else {
				checkError(t, name, loss, b, g, contrastive.ErrParameter, "SupCon: Temperature", "BaseTemperature")
			}
		}
	})
}

// second returns the error of a call with two results.
func second[T any](_ T, err error) error { return err }
