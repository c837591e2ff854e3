package kernel

import (
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive/internal/floattest"
	"github.com/contrastive-go/contrastive/internal/isa"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
)

const u = floattest.U

var (
	deviates = floattest.Deviates
	guarded  = floattest.Guarded
	near     = floattest.Near
)

// eachKernels calls f with the kernels of every level, and with portable ones of a shape
// that no level has.
func eachKernels(t *testing.T, f func(t *testing.T, k *Kernels)) {
	isatest.Each(t, func(t *testing.T) { f(t, Active()) })
	t.Run("portable", func(t *testing.T) {
		k := Portable(Shape{Rows: 9, Cols: 20, BlockRows: 6, RowStep: 3, Lanes: 20, Depth: 60}, 0)
		f(t, &k)
	})
}

// tables returns the levels of this architecture.
func tables() map[isa.Level]*Kernels {
	tables := make(map[isa.Level]*Kernels)
	for l, k := range levels {
		if k != nil {
			tables[isa.Level(l)] = k
		}
	}
	return tables
}

// TestLevels checks the tables of all levels of this architecture, also of those that
// this processor cannot run: no kernel is missing, and shapes are what the kernels and
// package engine take for granted.
func TestLevels(t *testing.T) {
	for _, l := range isa.Available() {
		if levels[l] == nil {
			t.Errorf("%v has no kernels", l)
		}
	}
	for l, k := range tables() {
		for i := range reflect.TypeFor[Kernels]().NumField() {
			eachFunc(reflect.ValueOf(*k).Field(i), func(f reflect.Value) {
				if f.IsNil() {
					t.Errorf("%v: %s is missing", l, reflect.TypeFor[Kernels]().Field(i).Name)
				}
			})
		}
		if len(k.mulPanel) != k.Rows/k.RowStep || len(k.mulRows) != k.BlockRows/k.RowStep || len(k.mulBlocks) != k.BlockRows/k.RowStep || k.Rows%k.RowStep+k.BlockRows%k.RowStep != 0 {
			t.Errorf("%v: %d, %d and %d heights for %+v", l, len(k.mulPanel), len(k.mulRows), len(k.mulBlocks), k.Shape)
		}
		if k.Cols%BlockStep != 0 || k.Cols%k.RowStep != 0 || k.Cols%k.Lanes != 0 || k.Lanes%4 != 0 || k.Depth%k.Cols != 0 {
			t.Errorf("%v: shape %+v", l, k.Shape)
		}
		if k.splitsUpTo > 0 && k.Cols != SplitSide {
			t.Errorf("%v: operands are split in squares of %d, columns are %d", l, SplitSide, k.Cols)
		}
	}
}

// eachFunc calls f with v if it is a function, or with its elements.
func eachFunc(v reflect.Value, f func(v reflect.Value)) {
	switch v.Kind() {
	case reflect.Func:
		f(v)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			eachFunc(v.Index(i), f)
		}
	}
}

// TestPieces checks which products take pieces: all on AMX; on AVX512_BF16 those of
// one piece, so that two are computed as three are, which is in float32.
func TestPieces(t *testing.T) {
	want := map[isa.Level][MaxPieces]int{isa.AVX512BF16: {1, 0, 0}, isa.AMX: {1, 2, 3}}
	for l, k := range tables() {
		if got := [...]int{k.Pieces(1), k.Pieces(2), k.Pieces(3)}; got != want[l] {
			t.Errorf("%v: %v pieces, want %v", l, got, want[l])
		}
	}
}

// TestGather tests all levels of this architecture: it needs no instruction set.
func TestGather(t *testing.T) {
	odd := Portable(Shape{Rows: 9, Cols: 20, BlockRows: 6, RowStep: 3, Lanes: 20, Depth: 60}, 0)
	for _, k := range append(slices.Collect(maps.Values(tables())), &odd) {
		r := rand.New(rand.NewPCG(1, 2))
		for runs := range 5 {
			step := k.Cols + runs%3
			src, dst := guarded(t, r, max(0, (runs-1)*step+k.Cols)), guarded(t, r, runs*k.Cols)
			want := slices.Clone(dst)
			for i := range want {
				want[i] = src[i/k.Cols*step+i%k.Cols]
			}
			if k.GatherCols(dst, src, step); !floattest.Same(dst, want) {
				t.Fatalf("GatherCols of %d runs: %v, want %v", runs, dst, want)
			}
		}
	}
}

// TestExp2 checks the 2^y of the kernels that work on blocks, for their range, within
// 2·u in assembly and 4·u in portable code.
func TestExp2(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		k, ulps := Active(), 2.0
		if isa.Active == isa.Generic || isa.Active == isa.NEON {
			ulps = 4
		}
		block := make([]float32, k.Cols)
		shift := []float32{0}
		tally := newTally(k.Lanes)
		floattest.EachFloat32(func(x []float32) {
			for len(x) >= k.Cols {
				copy(block, x)
				k.TallyRows(block, 1, 1, shift, tally, true)
				for i, v := range x[:k.Cols] {
					if v < 128 {
						floattest.CheckExp(t, "exp2", v, block[i], math.Exp2(float64(v)), ulps)
					}
				}
				x = x[k.Cols:]
			}
		})
		// What does not count has an exponential of exactly 0.
		for i := range block {
			block[i] = float32(math.Inf(-1))
		}
		tally = newTally(k.Lanes)
		k.TallyRows(block, 1, 1, shift, tally, true)
		for i, v := range block {
			if v != 0 {
				t.Errorf("the exponential of -Inf in lane %d is %v", i, v)
			}
		}
		for i := range k.Lanes {
			if tally.Sum[i] != 0 || tally.Moment[i] != 0 {
				t.Errorf("the sums of -Inf in lane %d are %v, %v", i, tally.Sum[i], tally.Moment[i])
			}
		}
	})
}

func newTally(n int) Tally {
	t := Tally{Sum: make([]float32, n), Moment: make([]float32, n), Top: make([]float32, n)}
	for i := range t.Top {
		t.Top[i] = float32(math.Inf(-1))
	}
	return t
}

// BenchmarkMulBlocks is the matrix product of similarities at D = 128.
func BenchmarkMulBlocks(b *testing.B) {
	isatest.EachB(b, func(b *testing.B) {
		const rows, dim = 192, 128
		k := Active()
		left, right, c := make([]float32, rows*dim), make([]float32, k.Cols*dim), make([]float32, rows*k.Cols)
		for b.Loop() {
			k.MulBlocks(c, k.Cols, left, rows*k.Cols, right, k.Cols*k.Cols, rows, dim/k.Cols, k.Cols, false)
		}
		b.ReportMetric(2*float64(rows*dim*k.Cols)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	})
}
