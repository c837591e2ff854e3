package engine

import (
	"fmt"
	"testing"

	"github.com/contrastive-go/contrastive/internal/kernel"
	"github.com/contrastive-go/contrastive/internal/tile"
)

// shapes are those of all levels, in portable kernels, and others. Those of 32 columns
// split operands into pieces, too.
func shapes() map[string]*kernel.Kernels {
	all := make(map[string]*kernel.Kernels)
	add := func(name string, s kernel.Shape, splits int) {
		s.Lanes = s.Cols
		k := kernel.Portable(s, splits)
		all[name] = &k
	}
	add("small", kernel.Shape{Rows: 2, Cols: 4, BlockRows: 2, RowStep: 2, Depth: 1024}, 0)
	add("neon", tile.NEON, 0)
	add("avx2", tile.AVX2, 0)
	add("avx512", tile.AVX512, 0)
	add("amx", tile.AVX512, kernel.MaxPieces)
	add("odd", kernel.Shape{Rows: 9, Cols: 24, BlockRows: 6, RowStep: 3, Depth: 72}, 0)
	return all
}

// sized returns a problem of a size, with no vectors.
func sized(rows, cols int, wantRows, wantCols bool) *Problem {
	list := func(n int, want bool) *List {
		s := segment{Matrix: Matrix{Rows: n}}
		if want {
			s.grad.Rows = n
		}
		return &List{segments: []segment{s}, n: n, dim: 7}
	}
	return &Problem{
		Rows: list(rows, wantRows), Cols: list(cols, wantCols),
		Terms: 1, Exponents: [2]float64{1}, Scale: 1, Pieces: MaxPieces, Workers: 1,
	}
}

func TestPlan(t *testing.T) {
	for name, k := range shapes() {
		for _, rows := range []int{0, 1, 2, 13, 191, 192, 193, 400, 5000} {
			for _, cols := range []int{0, 1, 3, 17, 129, 513, 5000, 65_536, 1_000_000, 30_000_000} {
				for kind, change := range map[string]func(p *Problem){
					"fused":     func(p *Problem) {},
					"pointwise": func(p *Problem) { p.Form = Sigmoid },
					"columns":   func(p *Problem) { p.ColAnchors = min(cols, 3) },
					"symmetric": func(p *Problem) { p.Rows, p.Symmetric, p.RowSlots = p.Cols, true, min(rows, cols) },
				} {
					p := sized(rows, cols, true, true)
					change(p)
					what := fmt.Sprintf("%s, %s of %d×%d", name, kind, rows, cols)
					checkPlan(t, what, planOf(p, k))
					if rows > 0 && kind == "fused" {
						p.Workers = 1 + rows%9
						checkPlan(t, what+", shown", planToShow(p, k, false))
						checkEqual(t, what, planToShow(p, k, true))
					}
				}
			}
		}
	}
}

func checkPlan(t *testing.T, what string, l plan) {
	t.Helper()
	unit := l.format.stripeUnit(l.k, l.symmetric)
	most := stripeRows
	if l.symmetric && l.rows <= loneStripeRows {
		most = loneStripeRows
	}
	if l.stripe < unit || l.stripe%unit != 0 || l.stripe > roundUp(most, unit) {
		t.Errorf("%s: stripes of %d rows, in units of %d", what, l.stripe, unit)
	}
	if unit%l.k.RowStep != 0 || l.symmetric && unit%l.k.Cols != 0 {
		t.Errorf("%s: a unit of %d rows", what, unit)
	}
	if l.panels*l.k.Cols < l.cols || (l.panels-1)*l.k.Cols >= max(1, l.cols) {
		t.Errorf("%s: %d panels", what, l.panels)
	}
	most = maxChunks
	if l.symmetric {
		most += 2 // those of the stripe's own panels
	} else if l.cols > 0 && (l.chunks*l.chunk < l.panels || (l.chunks-1)*l.chunk >= l.panels) {
		t.Errorf("%s: %d chunks of %d for %d panels", what, l.chunks, l.chunk, l.panels)
	}
	if l.cols > 0 && (l.chunks > most || l.chunk%l.part != 0) {
		t.Errorf("%s: %d chunks of %d for %d panels, in parts of %d", what, l.chunks, l.chunk, l.panels, l.part)
	}
	if l.part < 1 || l.part > 1 && l.part*l.k.Cols > 128 {
		t.Errorf("%s: sums in float32 have %d terms", what, l.part*l.k.Cols)
	}
	if l.keptRows%l.stripe != 0 || (l.keptRows > 0) != (l.keeps != nothing) {
		t.Errorf("%s: %d rows are kept, as %d, in stripes of %d", what, l.keptRows, l.keeps, l.stripe)
	}
	if l.defers && l.stripe > unit && l.stripe*l.panels*l.k.Cols > 8<<20/4 {
		t.Errorf("%s: stripes of %d rows keep %d weights", what, l.stripe, l.stripe*l.panels*l.k.Cols)
	}
}

// checkEqual checks that stripes are walked with the panels of their own slots alone.
func checkEqual(t *testing.T, what string, l plan) {
	t.Helper()
	for i := range l.stripes() {
		s := l.stripeAt(i)
		for c := range l.chunks {
			if first, end := l.panelsOf(c, s); first < end && ((first+1)*l.k.Cols <= s.first || (end-1)*l.k.Cols >= s.end()) {
				t.Fatalf("%s: %+v is walked with panels %d to %d", what, s, first, end)
			}
		}
	}
}

// TestBandWithin checks that the operand of a band takes half of a second-level cache at most,
// unless that makes bands too small.
func TestBandWithin(t *testing.T) {
	for _, c := range []struct{ bytes, padded, want int }{
		{256 << 10, 128, 256}, {256 << 10, 768, 42}, {256 << 10, 2048, leastBand},
		{512 << 10, 768, 85}, {512 << 10, 1024, 64},
		{1 << 20, 1024, 128}, {1 << 20, 2048, 64}, {2 << 20, 2048, 128},
	} {
		if l := (layout{padded: c.padded}); l.bandWithin(c.bytes) != c.want {
			t.Errorf("bands of %d elements in %d bytes have %d rows at most, want %d", c.padded, c.bytes, l.bandWithin(c.bytes), c.want)
		}
	}
}

// TestPlanWorkers checks that the sizes of what is added up do not depend on the number
// of workers.
func TestPlanWorkers(t *testing.T) {
	for name, k := range shapes() {
		for _, n := range []int{1, 50, 500, 5000} {
			p := sized(n, 3*n, true, true)
			p.ColAnchors, p.KeepBytes = n, 1<<20
			one := planOf(p, k)
			p.Workers = 7
			if seven := planOf(p, k); seven != one {
				t.Errorf("%s, %d rows: the plan for one worker is %+v, for seven %+v", name, n, one, seven)
			}
		}
	}
}

// TestPlanPairs checks that each anchor meets each column once: in a block of its row,
// or, if it is a column of another's, in one whose columns are tallied.
func TestPlanPairs(t *testing.T) {
	for name, k := range shapes() {
		for _, size := range [][2]int{{1, 1}, {3, 5}, {5, 3}, {33, 33}, {193, 70}, {200, 300}, {256, 256}, {257, 258}, {500, 700}, {10, 5000}} {
			rows, cols := size[0], size[1]
			for kind, change := range map[string]func(p *Problem) bool{
				"two lists": func(p *Problem) bool { p.ColAnchors = cols / 2; return true },
				"symmetric": func(p *Problem) bool { p.Rows, p.Symmetric, p.RowSlots = p.Cols, true, rows; return rows <= cols },
				"symmetric, for several workers": func(p *Problem) bool {
					p.Rows, p.Symmetric, p.RowSlots = p.Cols, true, rows
					p.Cols.dim = minParallel * k.Rows * k.Cols
					return rows <= cols
				},
			} {
				p := sized(rows, cols, true, true)
				if !change(p) {
					continue
				}
				l := planOf(p, k)
				byRow, byCol := make([]int, rows*cols), make([]int, rows*cols)
				for i := range l.stripes() {
					s := l.stripeAt(i)
					covered := 0
					for g := range l.groups(s) {
						if group := l.group(s, g); group.first != s.first+covered || group.rows < 1 {
							t.Fatalf("%s, %s of %d×%d: group %d of %+v is %+v", name, kind, rows, cols, g, s, group)
						} else {
							covered += group.rows
						}
					}
					if covered != s.rows {
						t.Fatalf("%s, %s of %d×%d: groups have %d of %d rows", name, kind, rows, cols, covered, s.rows)
					}
					if n := l.chunksOf(s); n < 1 || n > l.chunks {
						t.Fatalf("%s, %s of %d×%d: %+v has %d of %d chunks", name, kind, rows, cols, s, n, l.chunks)
					}
					for c := range l.chunksOf(s) {
						first, end := l.panelsOf(c, s)
						if first >= end {
							t.Errorf("%s, %s of %d×%d: chunk %d of %+v has panels %d to %d", name, kind, rows, cols, c, s, first, end)
						}
						for panel := first; panel < end; panel++ {
							both := l.meetsBoth(panel, s)
							if anchors := max(l.colAnchors, map[bool]int{true: rows}[l.symmetric]); both > 0 && panel*k.Cols >= anchors {
								t.Errorf("%s, %s of %d×%d: panel %d is of no anchors", name, kind, rows, cols, panel)
							}
							for j := panel * k.Cols; j < min((panel+1)*k.Cols, cols); j++ {
								for r := range l.meets(panel, s) {
									byRow[(s.first+r)*cols+j]++
									if r < both {
										byCol[(s.first+r)*cols+j]++
									}
								}
							}
						}
					}
				}
				for r := range rows {
					for j := range cols {
						meets, want := byRow[r*cols+j], 1
						if l.symmetric && j < rows {
							meets += byCol[j*cols+r]
						}
						if meets != want {
							t.Fatalf("%s, %s of %d×%d: row %d meets column %d %d times", name, kind, rows, cols, r, j, meets)
						}
						if !l.symmetric && j < l.colAnchors && byCol[r*cols+j] != 1 {
							t.Fatalf("%s, %s of %d×%d: column %d meets row %d %d times", name, kind, rows, cols, j, r, byCol[r*cols+j])
						}
					}
				}
			}
		}
	}
}

// TestAreas checks that the areas of a stripe are each of its elements once, in whole
// register tiles, and as many as are wanted if there are as many of these.
func TestAreas(t *testing.T) {
	for name, k := range shapes() {
		for _, rows := range []int{1, 13, 64, 192} {
			for _, dim := range []int{1, 16, 100, 768} {
				p := sized(rows, 300, true, true)
				p.Rows.dim, p.Cols.dim = dim, dim
				l := planOf(p, k)
				for _, wanted := range []int{1, 2, 8, 64, 5000} {
					s := l.stripeAt(0)
					size := l.areaOf(s, l.bandOf(s, bandsPerWorker*wanted), wanted)
					what := fmt.Sprintf("%s, %d areas of %d×%d", name, wanted, s.rows, dim)
					met := make([]int, s.rows*l.padded)
					for i := range l.areas(s, size) {
						a := l.areaAt(s, size, i)
						if a.row%k.BlockRows != 0 || a.elem%k.Cols != 0 || a.elems%k.Cols != 0 || a.rows < 1 {
							t.Fatalf("%s: area %d is %+v", what, i, a)
						}
						for r := range a.rows {
							for d := range a.elems {
								met[(a.row+r)*l.padded+a.elem+d]++
							}
						}
					}
					for i, n := range met {
						if n != 1 {
							t.Fatalf("%s: element %d of row %d is in %d", what, i%l.padded, i/l.padded, n)
						}
					}
					most := l.bands(s, size.rows) * (l.padded / k.Cols)
					if n := l.areas(s, size); n < min(wanted, most) {
						t.Errorf("%s: %d are no more than %d", what, wanted, n)
					}
				}
			}
		}
	}
}
