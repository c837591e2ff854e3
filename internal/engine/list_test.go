package engine

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"weak"

	"github.com/contrastive-go/contrastive/internal/isa"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
)

func TestListAdd(t *testing.T) {
	var l List
	l.Reset(2)
	m := Matrix{3, 2, 3, []float32{3, 4, 9, 0, 0, 9, 0x1p-149, 0}}
	if bad, ok := l.Add(m, Matrix{}, true); !ok {
		t.Fatalf("Add reports %+v", bad)
	}
	if bad, ok := l.Add(m, Matrix{}, false); !ok {
		t.Fatalf("Add reports %+v", bad)
	}
	// The third row is too short to have a direction.
	for slot, want := range [][]float32{{0.6, 0.8}, {0, 0}, {0, 0}, {3, 4}, {0, 0}, {0x1p-149, 0}} {
		v := []float32{7, 7}
		if l.Vector(slot, v); !slices.Equal(v, want) {
			t.Errorf("vector %d is %v, want %v", slot, v, want)
		}
	}
	// The least norm that a row has a direction of is in.
	l.Reset(1)
	l.Add(Matrix{3, 1, 1, []float32{minNorm, -minNorm, minNorm * (1 - 0x1p-23)}}, Matrix{}, true)
	for slot, want := range []float32{1, -1, 0} {
		v := []float32{7}
		if l.Vector(slot, v); v[0] != want {
			t.Errorf("vector %d of tiny rows is %v, want %v", slot, v, want)
		}
	}
	l.Reset(2)
	l.Add(m, Matrix{}, true)
	l.Add(m, Matrix{}, false)
	for _, v := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		bad, ok := l.Add(Matrix{2, 2, 2, []float32{1, 2, 3, v}}, Matrix{}, true)
		if ok || bad.Row != 1 || bad.Col != 1 || math.Float32bits(bad.Value) != math.Float32bits(v) {
			t.Errorf("Add of %v reports %+v, %v", v, bad, ok)
		}
		if l.Len() != 6 || len(l.scale) != 6 {
			t.Errorf("Add of %v leaves %d vectors with %d scales", v, l.Len(), len(l.scale))
		}
	}
}

// TestReset checks that an empty list keeps nothing of the caller's alive.
func TestReset(t *testing.T) {
	var l List
	var p Packed
	rows := func() (alive []weak.Pointer[float32]) {
		for range 2 {
			m, grad := NewMatrix(5, 3), NewMatrix(5, 3)
			l.Add(m, grad, true)
			p.Fill(m, 5, 0, 5)
			alive = append(alive, weak.Make(&m.Data[0]), weak.Make(&grad.Data[0]))
		}
		return alive
	}()
	l.Reset(3)
	p.Reset(3)
	runtime.GC()
	for i, r := range rows {
		if r.Value() != nil {
			t.Errorf("matrix %d is alive", i)
		}
	}
	runtime.KeepAlive(&l)
	runtime.KeepAlive(&p)
}

// TestRunForgets is TestReset for an Engine.
func TestRunForgets(t *testing.T) {
	e := New()
	alive := func() weak.Pointer[float32] {
		r := rand.New(rand.NewPCG(1, 2))
		m := newModel(r, shapes()["odd"], 4, 5, 3, MaxPieces)
		labels(m, r)
		e.Run(m.Problem, m)
		e.Show(m.Problem, false, &shows{t, make([][]float32, 4)})
		return weak.Make(&m.Rows.segments[0].Data[0])
	}()
	runtime.GC()
	if alive.Value() != nil {
		t.Error("an engine keeps what it has evaluated")
	}
	runtime.KeepAlive(e)
}

// TestPacked fills a list as a ring is written, and compares problems that have its
// operands with those that pack them.
func TestPacked(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		const capacity, dim = 75, 11
		r, keys := rand.New(rand.NewPCG(1, 2)), NewMatrix(capacity, dim)
		var p Packed
		write := func(first, end, n int) {
			for i := first * dim; i < end*dim; i++ {
				keys.Data[i] = float32(r.NormFloat64()) / dim
			}
			p.Fill(Matrix{n, dim, dim, keys.Data}, capacity, first, end)
		}
		evaluate := func(pieces int, packed bool) (lse []float64, grad []float32) {
			m := newModel(rand.New(rand.NewPCG(3, 4)), shapes()["odd"], 9, 1, dim, pieces)
			list := p.List(pieces)
			if list == nil || !packed {
				l := *p.List(MaxPieces)
				l.packed = nil
				list = &l
			}
			m.Cols = list
			New().Run(m.Problem, m)
			for _, s := range m.gotRows {
				lse = append(lse, s.LSE[0])
			}
			return lse, append(m.rowGrad[0].Data, m.rowGrad[1].Data...)
		}
		if p.List(MaxPieces) != nil {
			t.Error("there is a list before there are rows")
		}
		for _, w := range [][3]int{{0, 3, 3}, {3, 20, 20}, {20, 70, 70}, {70, 75, 75}, {0, 9, 75}, {9, 10, 75}, {30, 75, 75}} {
			write(w[0], w[1], w[2])
			lse, grad := evaluate(MaxPieces, true)
			wantLSE, wantGrad := evaluate(MaxPieces, false)
			if !slices.Equal(lse, wantLSE) || !slices.Equal(grad, wantGrad) {
				t.Fatalf("rows %d to %d of %d: packed columns and others differ", w[0], w[1], w[2])
			}
		}
		p.Reset(dim)
		if l := p.List(MaxPieces); l != nil && l.Len() > 0 {
			t.Errorf("an emptied list has %d vectors", l.Len())
		}
		write(0, 2, 2)
		lse, _ := evaluate(MaxPieces, true)
		if want, _ := evaluate(MaxPieces, false); !slices.Equal(lse, want) {
			t.Error("after Reset packed columns and others differ")
		}
	})
}

// TestAddScaled multiplies by factors that are no float32, or one of few digits.
func TestAddScaled(t *testing.T) {
	for _, c := range []struct {
		row    float32
		factor float64
	}{{3, 0.25}, {0x1.8p100, 0x1.8p-140}, {0x1.8p-100, 0x1.8p130}, {0x1.8p-100, -0x1.8p200}, {1, 0}} {
		var l List
		l.Reset(1)
		l.Add(Matrix{1, 1, 1, []float32{c.row}}, Matrix{}, false)
		dst := []float32{0.5}
		l.AddScaled(c.factor, 0, dst)
		if want := float32(0.5 + float64(float32(float64(c.row)*c.factor))); dst[0] != want {
			t.Errorf("%v·%v + 0.5 is %v, want %v", c.factor, c.row, dst[0], want)
		}
	}
}

// TestStore adds gradients to great ones, and asks that an empty list does not add.
func TestStore(t *testing.T) {
	grad := Matrix{1, 2, 2, []float32{math.MaxFloat32, -math.MaxFloat32}}
	var l List
	l.Reset(2)
	l.Accumulate = true
	l.Add(Matrix{1, 2, 2, []float32{1, 2}}, grad, false)
	l.Store(0, []float32{1e30, -1e30}, 1e8)
	if want := []float32{math.MaxFloat32, -math.MaxFloat32}; !slices.Equal(grad.Data, want) {
		t.Errorf("the sum is %v, want %v", grad.Data, want)
	}
	if l.Reset(2); l.Accumulate {
		t.Error("an empty list accumulates")
	}
	if got := Saturate(1e300); got != math.MaxFloat32 {
		t.Errorf("1e300 is %v in float32, want the greatest", got)
	}
}

// TestDistance takes nearby vectors, whose difference has no digits in float32.
func TestDistance(t *testing.T) {
	var l List
	l.Reset(2)
	l.Add(Matrix{2, 2, 2, []float32{3, 4, 3, 4 + 0x1p-21}}, Matrix{}, true)
	x, y := vector(&l, 0), vector(&l, 1)
	want := math.Hypot(x[0]-y[0], x[1]-y[1])
	if got := Distance(&l, 0, &l, 1); !(math.Abs(got-want) <= 0x1p-50) || want < 0x1p-26 {
		t.Errorf("the distance is %v, want %v", got, want)
	}
}

// TestPackedLevels fills a list on one level, and on another: operands of the one are
// never those of the other, and the few rows that have changed bring the others along.
func TestPackedLevels(t *testing.T) {
	m := NewMatrix(70, 9)
	for i := range m.Data {
		m.Data[i] = float32(i%13) - 6
	}
	isatest.Each(t, func(t *testing.T) {
		level := isa.Active
		defer func() { isa.Active = level }()
		for _, other := range isa.Available() {
			var p, fresh Packed
			isa.Active = level
			p.Fill(m, m.Rows, 0, m.Rows)
			if p.List(MaxPieces) == nil {
				t.Fatal("no list")
			}
			if err := isa.Set(other.String()); err != nil {
				t.Fatal(err)
			}
			if other != level && p.List(MaxPieces) != nil {
				t.Errorf("a list of %v on %v", level, other)
			}
			p.Fill(m, m.Rows, 5, 6)
			fresh.Fill(m, m.Rows, 0, m.Rows)
			if p.List(MaxPieces) == nil || !slices.Equal(p.columns.byVector, fresh.columns.byVector) || !slices.Equal(p.columns.byElement, fresh.columns.byElement) {
				t.Errorf("from %v to %v: not the operands of all rows", level, other)
			}
		}
	})
}

// TestListWorkers checks that the norms and similarities of lists are the same bits for
// any number of workers, and that the first row that is not finite is found.
func TestListWorkers(t *testing.T) {
	const rows, dim = 3*sharedRows + 7, 70
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		m := Matrix{rows, dim, dim + 3, make([]float32, rows*(dim+3))}
		for i := range m.Data {
			m.Data[i] = float32(r.NormFloat64())
		}
		clear(m.Row(100))
		bad := Matrix{rows, dim, dim, slices.Repeat([]float32{1}, rows*dim)}
		bad.Row(2 * sharedRows)[69] = float32(math.Inf(-1))
		bad.Row(sharedRows + 1)[3] = float32(math.NaN())
		var want [3][]float64 // two scales and the similarities
		for workers := range 5 {
			e := New()
			e.Enter()
			e.Start(workers, 4096, 4096, dim)
			if e.team.workers != max(1, workers) {
				t.Errorf("%d workers for %d", e.team.workers, workers)
			}
			var p, q List
			var pairs Pairs
			for i, l := range []*List{&p, &q} {
				l.Reset(dim)
				l.Workers = e
				if at, ok := l.AddTimes(m, Matrix{}, i == 0, 0.5); !ok {
					t.Fatalf("AddTimes reports %+v", at)
				}
				if at, ok := l.Add(bad, Matrix{}, i == 0); ok || at.Row != sharedRows+1 || at.Col != 3 {
					t.Errorf("%d workers: Add reports %+v, %v", workers, at, ok)
				}
			}
			pairs.Reset(&q)
			pairs.AddEach(&p, rows-9, 9)
			got := [3][]float64{p.scale, q.scale, pairs.Cosine}
			if workers == 0 {
				want = got
				for i := range pairs.Cosine {
					if c := Cosine(&p, i, &q, i+9); c != pairs.Cosine[i] {
						t.Errorf("similarity %d is %v, want %v", i, pairs.Cosine[i], c)
					}
				}
			}
			for k := range got {
				if !slices.Equal(got[k], want[k]) {
					t.Errorf("%d workers: other numbers than one's", workers)
				}
			}
			e.Leave()
			if e.started || e.team.workers != 0 {
				t.Error("Leave has left workers")
			}
		}
	})
}
