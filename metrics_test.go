package contrastive_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"weak"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/race"
	"github.com/contrastive-go/contrastive/internal/ref"
)

// shapes are batches around the sizes of tiles, stripes and chunks.
var shapes = []struct{ n, d int }{{1, 1}, {1, 5}, {2, 1}, {3, 7}, {17, 16}, {33, 31}, {64, 64}, {97, 5}, {200, 33}}

func TestAlignmentAndUniformity(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, s := range shapes {
			x := losstest.Normal(r, s.n, s.d)
			y := losstest.Clone(x)
			for i := range y.Data {
				y.Data[i] += float32(1e-3 * r.NormFloat64())
			}
			for _, alpha := range []float64{0.5, 1, 2, 3, 1000} {
				got, err := contrastive.Alignment(x, y, alpha)
				if err != nil {
					t.Fatal(err)
				}
				// Distances are computed in float64, with an error of a few 2⁻⁵²,
				// and |aᵅ − bᵅ| ≤ |a − b|ᵅ for α ≤ 1; for greater α the slope is
				// at most α·2^α. The sums are of n terms.
				want := ref.Alignment(losstest.RowsOf(x), losstest.RowsOf(y), alpha)
				losstest.Within(t, "Alignment", got, want, alpha*math.Pow(2, alpha)*math.Pow(0x1p-50, min(alpha, 1))+float64(s.n+4)*0x1p-52*want)
			}
			checkUniformity(t, x)
		}
		for _, offset := range []float32{1, 1e3, 1e6} { // all rows point one way, nearly
			x := losstest.Normal(r, 70, 33)
			losstest.MapMatrix(x, func(_, _ int, v float32) float32 { return v + offset })
			checkUniformity(t, x)
			copy(x.Row(3), x.Row(4))
			clear(x.Row(40))
			clear(x.Row(66))
			checkUniformity(t, x)
			losstest.MapMatrix(x, func(_, d int, v float32) float32 { return v + float32(d/32)*1e20*offset })
			checkUniformity(t, x)
		}
		for angle := 0.01; angle < math.Pi; angle += 0.01 { // a pair at every distance
			checkUniformity(t, contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, float32(math.Cos(angle)), float32(math.Sin(angle))}})
		}
		// Rows that coincide are at a distance of 0, rows of zeros of √2.
		same, zeros := contrastive.NewMatrix(5, 3), contrastive.NewMatrix(5, 3)
		for i := range same.Rows {
			copy(same.Row(i), []float32{float32(i + 1), 0, float32(i + 1)})
		}
		for _, exponent := range uniformityExponents {
			for _, c := range [...]struct {
				x    contrastive.Matrix
				want float64
			}{{same, 0}, {zeros, -2 * exponent}} {
				got, err := contrastive.Uniformity(c.x, exponent)
				if err != nil {
					t.Fatal(err)
				}
				losstest.Within(t, "Uniformity", got, c.want, exponent*0x1p-98+40*u*min(1, 8*exponent))
			}
		}
	})
}

// uniformityExponents are t, from end to end.
var uniformityExponents = []float64{math.SmallestNonzeroFloat64, 1e-46, 1e-10, 1e-3, 0.1, 2, 24, 50, 99, 1e5, 0x1p100}

// checkUniformity compares Uniformity with package ref, within its documented bound.
// Where all exponents are above −2⁻⁸ the exponentials are not to cost more than that
// much of the bound, and the trapezoidal rule adds a twelfth of their square. Unit
// vectors are those of float64, off by 2⁻⁵⁰, and so are distances.
func checkUniformity(t *testing.T, x contrastive.Matrix) {
	t.Helper()
	if x.Rows < 2 {
		return
	}
	unit, _ := unitRows(x)
	mean, greatest := make([]float64, x.Cols), 0.0
	for _, row := range unit {
		for d, v := range row {
			mean[d] += v / float64(x.Rows)
		}
	}
	for _, row := range unit {
		square, norm := 0.0, 0.0
		for d, v := range row {
			square += (v - mean[d]) * (v - mean[d])
			norm += v * v
		}
		greatest = max(greatest, square+1-math.Round(norm)) // 1 more for a row of zeros
	}
	for _, exponent := range uniformityExponents {
		got, err := contrastive.Uniformity(x, exponent)
		if err != nil {
			t.Fatal(err)
		}
		want := ref.Uniformity(losstest.RowsOf(x), exponent)
		if got > 0 {
			t.Errorf("Uniformity with t=%v, N=%d, D=%d = %v, which is no logarithm of a mean of potentials", exponent, x.Rows, x.Cols, got)
		}
		exponentials, rule := 40*u, 0.0
		if least := 4 * exponent * greatest; least < 0x1p-8 {
			exponentials, rule = 40*u*least, least*least/12+0x1p-24
		}
		bound := 3*exponent*greatest*float64(x.Cols+8)*u + exponentials + rule*math.Abs(want)
		bound += exponent * (4*math.Sqrt(greatest) + 0x1p-50) * 0x1p-50
		losstest.Within(t, fmt.Sprintf("Uniformity with t=%v, N=%d, D=%d", exponent, x.Rows, x.Cols), got, want, bound+math.SmallestNonzeroFloat64)
	}
}

// unitRows returns the rows of x divided by their norms, and the norms.
func unitRows(x contrastive.Matrix) (unit [][]float64, norms []float64) {
	unit = losstest.RowsOf(x)
	for _, row := range unit {
		norm := 0.0
		for _, v := range row {
			norm += v * v
		}
		norm = math.Sqrt(norm)
		norms = append(norms, norm)
		for d := range row {
			if norm > 0 {
				row[d] /= norm
			}
		}
	}
	return unit, norms
}

// rankBound returns the greatest error of an effective rank. Elements of unit vectors
// are rounded to float32, which moves singular values by no more than u·√N, the error
// in the Frobenius norm. Eigenvalues of their squares are off by n·2⁻⁵⁰ of the
// greatest, and those below that count as 0. The entropy has the derivative
// −log p − 1 with respect to a share p.
func rankBound(x contrastive.Matrix) float64 {
	values := ref.SingularValues(losstest.RowsOf(x))
	n := float64(min(x.Rows, x.Cols))
	greatest, sum := slices.Max(values), 0.0
	for _, s := range values {
		sum += s
	}
	entropy, moved := 0.0, 0.0
	for _, s := range values {
		square := n * 0x1p-50 * greatest * greatest
		off := u*math.Sqrt(float64(x.Rows)) + min(math.Sqrt(2*square), square/s)
		moved += off / sum
		p := max(s-off, off) / sum
		entropy += off / sum * (1 - math.Log(p))
	}
	entropy += moved * math.Log(float64(len(values))) // of the sum, in all shares
	return ref.EffectiveRank(losstest.RowsOf(x)) * math.Expm1(entropy)
}

func TestCollapse(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, s := range shapes {
			x := losstest.Normal(r, s.n, s.d)
			checkCollapse(t, x)
			losstest.MapMatrix(x, func(_, _ int, v float32) float32 { return v + 1e5 })
			checkCollapse(t, x)
			losstest.MapMatrix(x, func(_, d int, v float32) float32 { return v * float32(math.Pow(1e20, float64(d%3-1))) })
			checkCollapse(t, x)
		}
		// A point, a plane, a whole space.
		point, plane, space := contrastive.NewMatrix(50, 8), contrastive.NewMatrix(500, 8), contrastive.NewMatrix(80, 8)
		losstest.MapMatrix(point, func(_, d int, _ float32) float32 { return float32(1 + d) })
		for i := range plane.Rows {
			a := 2 * math.Pi * float64(i) / float64(plane.Rows)
			plane.Row(i)[2], plane.Row(i)[5] = float32(math.Cos(a)), float32(math.Sin(a))
		}
		for i := range space.Rows {
			space.Row(i)[i%8] = float32(1 - i/8%2*2)
		}
		for _, c := range []struct {
			name             string
			x                contrastive.Matrix
			rank, std, least float64
		}{
			{"point", point, 1, 0, 0},
			{"plane", plane, 2, math.Sqrt(0.5) / 4, 0},
			{"space", space, 8, math.Sqrt(1.0 / 8), math.Sqrt(1.0 / 8)},
			{"zeros", contrastive.NewMatrix(3, 4), 0, 0, 0},
		} {
			got, err := contrastive.Collapse(c.x)
			if err != nil {
				t.Fatal(err)
			}
			// The plane is one but for the rounding of its points to float32, and
			// means are sums in float64.
			rounding := float64(c.x.Rows) * 0x1p-53
			losstest.Within(t, c.name+": EffectiveRank", got.EffectiveRank, c.rank, 4*u*c.rank)
			losstest.Within(t, c.name+": Std", got.Std, c.std, 2*u*c.std+rounding)
			losstest.Within(t, c.name+": MinStd", got.MinStd, c.least, 2*u*c.least+rounding)
		}
	})
}

// checkCollapse compares with package ref and with sums in float64, of n terms and
// norms of d.
func checkCollapse(t *testing.T, x contrastive.Matrix) {
	t.Helper()
	got, err := contrastive.Collapse(x)
	if err != nil {
		t.Fatal(err)
	}
	losstest.Within(t, "EffectiveRank", got.EffectiveRank, ref.EffectiveRank(losstest.RowsOf(x)), rankBound(x))
	mean, least, cosine := 0.0, math.Inf(1), 0.0
	unit, _ := unitRows(x)
	n := float64(x.Rows)
	for d := range x.Cols {
		m, v := 0.0, 0.0
		for i := range unit {
			m += unit[i][d] / n
		}
		for i := range unit {
			v += (unit[i][d] - m) * (unit[i][d] - m) / n
		}
		mean += math.Sqrt(v) / float64(x.Cols)
		least = min(least, math.Sqrt(v))
	}
	for i := range unit {
		for j := range i {
			for d := range x.Cols {
				cosine += 2 * unit[i][d] * unit[j][d] / (n * (n - 1))
			}
		}
	}
	rounding := (n + float64(x.Cols) + 8) * 0x1p-52
	losstest.Within(t, "Std", got.Std, mean, rounding)
	losstest.Within(t, "MinStd", got.MinStd, least, rounding)
	losstest.Within(t, "MeanCosine", got.MeanCosine, cosine, 4*rounding)
}

func TestTopK(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, s := range shapes {
			queries, keys := losstest.Normal(r, s.n, s.d), losstest.Normal(r, 2*s.n+3, s.d)
			clear(keys.Row(1)) // a row of zeros has cosine 0
			want := losstest.Cosines(queries, keys)
			bound := (float64(s.d) + 4) * u
			for _, k := range []int{1, 2, min(10, keys.Rows), keys.Rows} {
				index, cosine, err := contrastive.TopK(queries, keys, k)
				if err != nil {
					t.Fatal(err)
				}
				for i := range queries.Rows {
					if len(index[i]) != k || len(cosine[i]) != k {
						t.Fatalf("%d keys, want %d", len(index[i]), k)
					}
					sorted := slices.Clone(want[i])
					slices.SortFunc(sorted, func(a, b float64) int { return cmp.Compare(b, a) })
					seen := map[int]bool{}
					for n, j := range index[i] {
						losstest.Within(t, "cosine", float64(cosine[i][n]), want[i][j], bound)
						losstest.Within(t, "cosine by rank", float64(cosine[i][n]), sorted[n], bound)
						if n > 0 && (cosine[i][n] > cosine[i][n-1] || cosine[i][n] == cosine[i][n-1] && j < index[i][n-1]) {
							t.Fatalf("row %d is not in order: %v %v", i, index[i], cosine[i])
						}
						if seen[j] {
							t.Fatalf("row %d has key %d twice", i, j)
						}
						seen[j] = true
					}
				}
			}
		}
		// Equal keys come in the order of their indices.
		same := contrastive.NewMatrix(100, 3)
		for i := range same.Rows {
			copy(same.Row(i), []float32{1, 2, 3})
		}
		index, _, err := contrastive.TopK(same, same, 40)
		if err != nil {
			t.Fatal(err)
		}
		for i := range index {
			for n, j := range index[i] {
				if j != n {
					t.Fatalf("row %d of equal keys: %v", i, index[i])
				}
			}
		}
	})
}

// ray returns a vector of the plane whose cosine with (1, 0) is the less the greater
// place is, from 0 to n.
func ray(place, n int) []float32 {
	a := math.Pi * float64(place) / float64(n)
	return []float32{float32(math.Cos(a)), float32(math.Sin(a))}
}

// TestTopKOrder takes keys whose cosines with the query come in every order, some of
// them more than once.
func TestTopKOrder(t *testing.T) {
	const n = 300
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for name, place := range map[string]func(j int) int{
			"descending": func(j int) int { return j },
			"ascending":  func(j int) int { return n - j },
			"equal":      func(int) int { return 7 },
			"steps":      func(j int) int { return j / 10 },
			"steps up":   func(j int) int { return (n - j) / 10 },
			"few":        func(int) int { return r.IntN(5) },
			"random":     func(int) int { return r.IntN(n) },
			"saw":        func(j int) int { return j % 17 },
		} {
			places, keys := make([]int, n), contrastive.NewMatrix(n, 2)
			want := make([]int, n)
			for j := range n {
				places[j], want[j] = place(j), j
				copy(keys.Row(j), ray(places[j], n))
			}
			slices.SortStableFunc(want, func(a, b int) int { return cmp.Compare(places[a], places[b]) })
			query := contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{1, 0}}
			for _, k := range []int{1, 2, 3, 4, 5, 8, 31, 100, n - 1, n} {
				index, cosine, err := contrastive.TopK(query, keys, k)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(index[0], want[:k]) {
					t.Fatalf("%s, k = %d: %v, want %v", name, k, index[0], want[:k])
				}
				for i, j := range index[0] {
					losstest.Within(t, name, float64(cosine[0][i]), math.Cos(math.Pi*float64(places[j])/n), 6*u)
				}
			}
		}
	})
}

// TestTopKBeyondOne takes keys of one direction, or its opposite, whose cosines are
// rounded to both sides of 1 and −1: none is returned as more, and the order is that
// of ranks, which compare the same cosines.
func TestTopKBeyondOne(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		const n = 40
		distinct := 0
		for _, d := range []int{3, 7, 33} {
			query, keys := losstest.Normal(r, 1, d), contrastive.NewMatrix(n, d)
			for i := range n {
				copy(keys.Row(i), query.Row(0))
			}
			losstest.ScaleRows(keys, func(i int) float64 { return float64(1-i%2*2) * (1 + float64(i)/n) })
			index, cosine, err := contrastive.TopK(query, keys, n)
			if err != nil {
				t.Fatal(err)
			}
			last := 0.0
			for i, j := range index[0] {
				c := float64(cosine[0][i])
				if losstest.Within(t, "cosine", c, float64(1-j%2*2), (float64(d)+4)*u); c < -1 || c > 1 {
					t.Errorf("cosine %v", c)
				}
				own, rest := keys.Slice(j, j+1), contrastive.NewMatrix(n, d)
				copy(rest.Row(0), own.Row(0))
				for k := range n - 1 {
					copy(rest.Row(k+1), keys.Row((j+1+k)%n))
				}
				mrr, err := contrastive.MRR(query, rest)
				if err != nil {
					t.Fatal(err)
				}
				if 1/mrr < last-0.25 {
					t.Errorf("D = %d: key %d of rank %v comes after one of %v", d, j, 1/mrr, last)
				} else if 1/mrr > last+0.25 {
					distinct++
				}
				last = 1 / mrr
			}
		}
		if distinct <= 2*3 {
			t.Errorf("%d different cosines: rounding made no difference", distinct)
		}
	})
}

// TestExclude leaves keys out of searches, of which many coincide, in no order.
func TestExclude(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 10))
		const n = 70
		x := losstest.Normal(r, n, 5)
		for i := range 20 {
			copy(x.Row(3*i), x.Row(60+i%3))
		}
		all, allCosine, err := contrastive.TopK(x, x, n)
		if err != nil {
			t.Fatal(err)
		}
		exclude := make([][]int, n)
		for i := range exclude {
			exclude[i] = r.Perm(n)[:r.IntN(n+1)]
		}
		exclude[0], exclude[1], exclude[2] = nil, r.Perm(n), r.Perm(n)[:n-1]
		for _, self := range []bool{false, true} {
			for _, k := range []int{1, 2, 20, n - 1} {
				index, cosine, err := contrastive.Search{Exclude: exclude, ExcludeSelf: self}.TopK(x, x, k)
				if err != nil {
					t.Fatal(err)
				}
				for i := range n {
					want, wantCosine := []int{}, []float32{}
					for p, j := range all[i] {
						if len(want) < k && !slices.Contains(exclude[i], j) && !(self && i == j) {
							want, wantCosine = append(want, j), append(wantCosine, allCosine[i][p])
						}
					}
					if !slices.Equal(index[i], want) || !slices.Equal(cosine[i], wantCosine) {
						t.Fatalf("k = %d, ExcludeSelf %v, row %d: %v %v, want %v %v", k, self, i, index[i], cosine[i], want, wantCosine)
					}
				}
			}
		}

		// Without the nearest two of three, the third votes.
		line := contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{1, 0, 1, 1, 0, 1}}
		got, err := contrastive.Search{Exclude: [][]int{{1, 0}}}.KNN(line, []int{5, 6, 7}, line.Slice(0, 1), 2, 0.07)
		if err != nil || got[0] != 7 {
			t.Errorf("KNN is %v, %v", got, err)
		}
	})
}

// TestExcludeSelf searches one set, which has rows that coincide, for all rows but
// the query.
func TestExcludeSelf(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 8))
		const n = 101
		x := losstest.Normal(r, n, 5)
		for i := range 20 {
			copy(x.Row(3*i), x.Row(60+i%3))
		}
		allIndex, allCosine, err := contrastive.TopK(x, x, n)
		if err != nil {
			t.Fatal(err)
		}
		search := contrastive.Search{ExcludeSelf: true}
		for _, k := range []int{1, 2, 10, n - 1} {
			for _, queries := range []int{1, 40, n} {
				index, cosine, err := search.TopK(x.Slice(0, queries), x, k)
				if err != nil {
					t.Fatal(err)
				}
				for i := range queries {
					at := slices.Index(allIndex[i], i)
					want := slices.Delete(slices.Clone(allIndex[i]), at, at+1)[:k]
					wantCosine := slices.Delete(slices.Clone(allCosine[i]), at, at+1)[:k]
					if !slices.Equal(index[i], want) || !slices.Equal(cosine[i], wantCosine) {
						t.Fatalf("k = %d, row %d: %v %v, want %v %v", k, i, index[i], cosine[i], want, wantCosine)
					}
				}
			}
		}

		// Pairs that coincide but for their labels: each has the other's.
		rows, pairs, labels := losstest.Normal(r, n, 5), contrastive.NewMatrix(2*n, 5), make([]int, 2*n)
		for i := range labels {
			copy(pairs.Row(i), rows.Row(i/2))
			labels[i] = i
		}
		got, err := search.KNN(pairs, labels, pairs, 1, 0.07)
		if err != nil {
			t.Fatal(err)
		}
		for i, label := range got {
			if label != i^1 {
				t.Errorf("row %d is %d, want %d", i, label, i^1)
			}
		}
	})
}

// TestSearchOptions evaluates with every number of workers, which changes nothing,
// and every precision, which bounds the errors of cosines.
func TestSearchOptions(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 10))
		const n, d, k = 150, 70, 20
		x, y := losstest.Normal(r, n, d), losstest.Normal(r, n, d)
		labels := make([]int, n)
		for i := range labels {
			labels[i] = i % 7
			for j := range d {
				y.Row(i)[j] += x.Row(i)[j]
			}
		}
		want := losstest.Cosines(x, y)
		type answers struct {
			index  [][]int
			cosine [][]float32
			labels []int
			recall []float64
			mrr    float64
		}
		ask := func(o options) answers {
			s, a, errs := contrastive.Search{Options: o}, answers{}, [4]error{}
			a.index, a.cosine, errs[0] = s.TopK(x, y, k)
			a.labels, errs[1] = s.KNN(y, labels, x, k, 0.07)
			a.recall, errs[2] = s.RecallAt(x, y, 1, 5)
			a.mrr, errs[3] = s.MRR(x, y)
			if err := errors.Join(errs[:]...); err != nil {
				t.Fatal(err)
			}
			return a
		}
		for p, rounding := range map[contrastive.Precision]float64{contrastive.Highest: 0, contrastive.High: 3 * 0x1p-16, contrastive.Medium: 3 * 0x1p-8} {
			one := ask(options{Workers: 1, Precision: p})
			for i := range n {
				for m, j := range one.index[i] {
					losstest.Within(t, fmt.Sprintf("%v: cosine", p), float64(one.cosine[i][m]), want[i][j], rounding+(d+4)*u)
				}
			}
			for _, workers := range []int{0, 2, 3, 7, 300} {
				if many := ask(options{Workers: workers, Precision: p}); !reflect.DeepEqual(many, one) {
					t.Errorf("%v, %d workers: another answer", p, workers)
				}
			}
			if p == contrastive.Highest {
				s := answers{mrr: one.mrr}
				s.index, s.cosine, _ = contrastive.TopK(x, y, k)
				s.labels, _ = contrastive.KNN(y, labels, x, k, 0.07)
				s.recall, _ = contrastive.RecallAt(x, y, 1, 5)
				s.mrr, _ = contrastive.MRR(x, y)
				if !reflect.DeepEqual(s, one) {
					t.Error("the functions are not the zero Search")
				}
			}
		}
	})
}

func TestRanks(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, s := range shapes {
			queries, keys := losstest.Normal(r, s.n, s.d), losstest.Normal(r, s.n+3, s.d)
			for i := range queries.Data {
				keys.Data[i] += 0.5 * queries.Data[i]
			}
			if s.d == 1 {
				continue // all cosines are 1 or -1: a rank is a matter of rounding
			}
			mrr, at := 0.0, make([]float64, 3)
			for i, row := range losstest.Cosines(queries, keys) {
				rank := 1
				for _, v := range row {
					if v > row[i] {
						rank++
					}
				}
				mrr += 1 / float64(rank) / float64(s.n)
				for n, k := range []int{1, 5, 10} {
					if rank <= k {
						at[n] += 1 / float64(s.n)
					}
				}
			}
			got, err := contrastive.MRR(queries, keys)
			if err != nil {
				t.Fatal(err)
			}
			rounding := float64(s.n+2) * 0x1p-53 // of sums of as many shares
			losstest.Within(t, "MRR", got, mrr, 2*rounding)
			recall, err := contrastive.RecallAt(queries, keys, 1, 5, 10)
			if err != nil {
				t.Fatal(err)
			}
			for n := range at {
				losstest.Within(t, "RecallAt", recall[n], at[n], rounding)
			}
		}
		// Of keys that coincide, half are before the own one.
		same := contrastive.NewMatrix(99, 3)
		for i := range same.Rows {
			copy(same.Row(i), []float32{1, 2, 3})
		}
		mrr, err := contrastive.MRR(same, same)
		if err != nil {
			t.Fatal(err)
		}
		losstest.Within(t, "MRR of equal keys", mrr, 1.0/50, 101*0x1p-53/50)
		recall, err := contrastive.RecallAt(same, same, 49, 50, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(recall, []float64{0, 1, 1}) {
			t.Errorf("RecallAt(49, 50, 1000) of 99 equal keys is %v", recall)
		}
	})
}

func TestKNN(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		train, test := contrastive.NewMatrix(90, 3), contrastive.NewMatrix(30, 3)
		var labels []int
		for i := range train.Rows {
			labels = append(labels, 10*(i%3))
			for d := range 3 {
				train.Row(i)[d] = float32(0.2 * r.NormFloat64())
			}
			train.Row(i)[i%3]++
		}
		for i := range test.Rows {
			test.Row(i)[i%3] = float32(1 + r.Float64())
		}
		for _, k := range []int{1, 5, 90} {
			got, err := contrastive.KNN(train, labels, test, k, 0.07)
			if err != nil {
				t.Fatal(err)
			}
			for i, label := range got {
				if label != 10*(i%3) {
					t.Errorf("k = %d: row %d is %d, want %d", k, i, label, 10*(i%3))
				}
			}
		}
		// One vote each, of equal weight: the lower label wins.
		two := contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}}
		between := contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{1, 1}}
		if got, err := contrastive.KNN(two, []int{7, 3}, between, 2, 1); err != nil || got[0] != 3 {
			t.Errorf("a tie of 7 and 3 goes to %v, %v", got, err)
		}
		// No temperature is so low that the votes overflow, or none is left.
		for _, temperature := range []float64{1e-4, math.SmallestNonzeroFloat64} {
			x := contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{1, 0, 1, 0.1, 1, 0.2}}
			if got, err := contrastive.KNN(x, []int{5, 3, 3}, x.Slice(0, 1), 3, temperature); err != nil || got[0] != 5 {
				t.Errorf("temperature %v: %v, want 5 (%v)", temperature, got, err)
			}
			if got, err := contrastive.KNN(x, []int{5, 5, 3}, contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{-1, -1}}, 3, temperature); err != nil || got[0] != 5 {
				t.Errorf("temperature %v, all at negative cosines: %v, want 5 (%v)", temperature, got, err)
			}
		}
		// At a low temperature the nearest wins against the many.
		near := contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{1, 0.9}}
		three := contrastive.Matrix{Rows: 3, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1, 0, 1}}
		for temperature, want := range map[float64]int{1e-3: 1, 10: 2} {
			if got, err := contrastive.KNN(three, []int{1, 2, 2}, near, 3, temperature); err != nil || got[0] != want {
				t.Errorf("temperature %v: %v, want %d (%v)", temperature, got, want, err)
			}
		}
	})
}

func TestMetricErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	x, y, short, narrow := losstest.Normal(r, 4, 3), losstest.Normal(r, 4, 3), losstest.Normal(r, 3, 3), losstest.Normal(r, 4, 2)
	nan := losstest.Clone(x)
	nan.Row(2)[1] = float32(math.NaN())
	topK := func(q, k contrastive.Matrix, n int) error {
		_, _, err := contrastive.TopK(q, k, n)
		return err
	}
	excluding := func(exclude [][]int) error {
		_, _, err := contrastive.Search{Exclude: exclude}.TopK(x, y, 1)
		return err
	}
	for _, c := range []struct {
		function string
		err      error
		want     error
		part     string
	}{
		{"Alignment", second(contrastive.Alignment(x, short, 2)), contrastive.ErrShape, "y is 3×3, x is 4×3"},
		{"Alignment", second(contrastive.Alignment(x, y, 0)), contrastive.ErrParameter, "alpha is 0"},
		{"Alignment", second(contrastive.Alignment(x, y, math.NaN())), contrastive.ErrParameter, "alpha is NaN"},
		{"Alignment", second(contrastive.Alignment(x, y, 1001)), contrastive.ErrParameter, "alpha is 1001"},
		{"Uniformity", second(contrastive.Uniformity(x, math.NaN())), contrastive.ErrParameter, "t is NaN"},
		{"Uniformity", second(contrastive.Uniformity(x, 0)), contrastive.ErrParameter, "t is 0"},
		{"Uniformity", second(contrastive.Uniformity(x, 0x1.1p100)), contrastive.ErrParameter, "t is 1.34"},
		{"Alignment", second(contrastive.Alignment(x, nan, 2)), contrastive.ErrNotFinite, "y row 2 column 1 is NaN"},
		{"Uniformity", second(contrastive.Uniformity(contrastive.Matrix{}, 2)), contrastive.ErrEmpty, "x is 0×0"},
		{"Uniformity", second(contrastive.Uniformity(losstest.Normal(r, 1, 3), 2)), contrastive.ErrShape, "a pair needs 2"},
		{"Uniformity", second(contrastive.Uniformity(x, -1)), contrastive.ErrParameter, "t is -1"},
		{"Uniformity", second(contrastive.Uniformity(nan, 2)), contrastive.ErrNotFinite, "x row 2 column 1"},
		{"Collapse", second(contrastive.Collapse(nan)), contrastive.ErrNotFinite, "x row 2"},
		{"Collapse", second(contrastive.Collapse(contrastive.Matrix{Rows: 2, Cols: 2, Stride: 1, Data: make([]float32, 4)})), contrastive.ErrShape, "stride of 1"},
		{"TopK", topK(x, y, 0), contrastive.ErrParameter, "k is 0 and must be from 1 to the 4 rows of keys"},
		{"TopK", topK(x, y, 5), contrastive.ErrParameter, "k is 5"},
		{"TopK", topK(x, contrastive.Matrix{}, 1), contrastive.ErrEmpty, "keys is 0×0"},
		{"Alignment", second(contrastive.Alignment(x, contrastive.Matrix{}, 2)), contrastive.ErrEmpty, "y is 0×0"},
		{"TopK", topK(x, narrow, 1), contrastive.ErrShape, "keys is 4×2, queries is 4×3"},
		{"TopK", topK(nan, y, 1), contrastive.ErrNotFinite, "queries row 2"},
		{"KNN", second(contrastive.Search{ExcludeSelf: true}.KNN(x, []int{1, 2, 3, 4}, y, 4, 1)), contrastive.ErrParameter, "k is 4 and must be from 1 to the 3 rows of train but its own"},
		{"KNN", second(contrastive.Search{ExcludeSelf: true}.KNN(short, []int{1, 2, 3}, y, 1, 1)), contrastive.ErrShape, "a row of train, which is 3×3, for each of test, which is 4×3"},
		{"RecallAt", second(contrastive.Search{ExcludeSelf: true}.RecallAt(x, y, 1)), contrastive.ErrParameter, "ExcludeSelf"},
		{"MRR", second(contrastive.Search{ExcludeSelf: true}.MRR(x, y)), contrastive.ErrParameter, "ExcludeSelf"},
		{"MRR", second(contrastive.Search{Exclude: [][]int{{0}, {}, {}, {}}}.MRR(x, y)), contrastive.ErrParameter, "Exclude may leave out"},
		{"RecallAt", second(contrastive.Search{Exclude: [][]int{}}.RecallAt(x, y, 1)), contrastive.ErrParameter, "Exclude may leave out"},
		{"TopK", excluding([][]int{}), contrastive.ErrShape, "Exclude has 0 elements, queries is 4×3"},
		{"TopK", excluding([][]int{{}, {0, 3}, {3}, {4}}), contrastive.ErrParameter, "Exclude[3][0] is 4, keys is 4×3"},
		{"TopK", excluding([][]int{{}, {-1}, {}, {}}), contrastive.ErrParameter, "Exclude[1][0] is -1"},
		{"TopK", excluding([][]int{{2, 0, 2}, {}, {}, {}}), contrastive.ErrParameter, "Exclude[0][2] is 2 for the second time"},
		{"KNN", second(contrastive.Search{Exclude: [][]int{{0}, {0}, {3, 2, 1, 0}, {}}}.KNN(x, []int{1, 2, 3, 4}, y, 1, 1)), contrastive.ErrParameter, "Exclude[2] leaves test row 2 no row of train"},
		{"MRR", second(contrastive.Search{Options: options{Workers: -1}}.MRR(x, y)), contrastive.ErrParameter, "Workers is -1"},
		{"KNN", second(contrastive.Search{Options: options{Precision: 3}}.KNN(x, []int{1, 2, 3, 4}, y, 1, 1)), contrastive.ErrParameter, "Precision is 3"},
		{"KNN", second(contrastive.KNN(x, []int{1, 2}, y, 1, 1)), contrastive.ErrShape, "labels has 2 elements"},
		{"KNN", second(contrastive.KNN(x, []int{1, 2, 3, 4}, y, 9, 1)), contrastive.ErrParameter, "k is 9"},
		{"KNN", second(contrastive.KNN(x, []int{1, 2, 3, 4}, y, 1, 0)), contrastive.ErrParameter, "temperature is 0"},
		{"RecallAt", second(contrastive.RecallAt(x, y, 1, 0)), contrastive.ErrParameter, "k is 0"},
		{"RecallAt", second(contrastive.RecallAt(x, short, 1)), contrastive.ErrShape, "no key for the last"},
		{"MRR", second(contrastive.MRR(x, nan)), contrastive.ErrNotFinite, "keys row 2"},
	} {
		if !errors.Is(c.err, c.want) || !strings.Contains(c.err.Error(), c.part) || !called(c.err, c.function) {
			t.Errorf("%v, want %v with %q", c.err, c.want, c.part)
		}
	}
}

// TestNothingKept looks for arguments that a call has left behind, in a pool or in a
// queue: the collector must find none.
func TestNothingKept(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector keeps what it has seen")
	}
	queue, err := contrastive.NewQueue(100, 8)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(13, 14))
	labels := make([]int, 30)
	calls := map[string]func() []weak.Pointer[float32]{}
	for name, call := range map[string]func(x, y contrastive.Matrix) error{
		"Alignment":  func(x, y contrastive.Matrix) error { return second(contrastive.Alignment(x, y, 2)) },
		"Uniformity": func(x, y contrastive.Matrix) error { return second(contrastive.Uniformity(x, 2)) },
		"Collapse":   func(x, y contrastive.Matrix) error { return second(contrastive.Collapse(x)) },
		"TopK": func(x, y contrastive.Matrix) error {
			_, _, err := contrastive.TopK(x, y, 3)
			return err
		},
		"KNN":            func(x, y contrastive.Matrix) error { return second(contrastive.KNN(x, labels, y, 3, 0.07)) },
		"RecallAt":       func(x, y contrastive.Matrix) error { return second(contrastive.RecallAt(x, y, 3)) },
		"MRR":            func(x, y contrastive.Matrix) error { return second(contrastive.MRR(x, y)) },
		"Enqueue":        func(x, y contrastive.Matrix) error { return errors.Join(queue.Enqueue(x), queue.Enqueue(y)) },
		"MomentumUpdate": func(x, y contrastive.Matrix) error { return contrastive.MomentumUpdate(x.Data, y.Data, 0.5) },
		"MomentumUpdates": func(x, y contrastive.Matrix) error {
			return contrastive.MomentumUpdates([][]float32{x.Data}, [][]float32{y.Data}, 0.5)
		},
		"GradientCache": func(x, y contrastive.Matrix) error {
			q, k := newLinearTower(x, losstest.Normal(r, 8, 2)), newLinearTower(y, losstest.Normal(r, 8, 2))
			return second(contrastive.GradientCache{Loss: contrastive.CLIP{}}.Step(contrastive.Towers{Query: q.tower(), Key: k.tower()}, contrastive.Batch{}))
		},
		"Sharded": func(x, y contrastive.Matrix) error {
			l := contrastive.Sharded{Loss: contrastive.CLIP{}, Collective: contrastive.NewLocalGroup(1)[0]}
			return second(l.Eval(t.Context(), contrastive.Batch{Query: x, Key: y}, contrastive.Gradients{}))
		},
	} {
		calls[name] = func() []weak.Pointer[float32] {
			x, y := contrastive.NewMatrix(30, 8), contrastive.NewMatrix(30, 8)
			for i := range x.Data {
				x.Data[i], y.Data[i] = float32(r.NormFloat64()), float32(r.NormFloat64())
			}
			if err := call(x, y); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return pointers(x, y)
		}
	}
	for _, v := range losstest.Variants {
		calls[v.Name] = func() []weak.Pointer[float32] {
			b := v.Batch(r, 15, 8)
			g := v.Destinations(b)
			losstest.Eval(t, v.Name, v.Make(0.1, 0, options{}), b, g)
			return pointers(b.Query, b.Key, b.Negatives, b.Hard, b.Scores, g.Query, g.Key, g.Negatives, g.Hard)
		}
	}
	for name, call := range calls {
		kept := call()
		runtime.GC() // once: what is in pools survives it
		for i, p := range kept {
			if p.Value() != nil {
				t.Errorf("%s keeps argument %d", name, i)
			}
		}
	}
}

// pointers returns one to the data of each matrix that has any.
func pointers(matrices ...contrastive.Matrix) (all []weak.Pointer[float32]) {
	for _, m := range matrices {
		if len(m.Data) > 0 {
			all = append(all, weak.Make(&m.Data[0]))
		}
	}
	return all
}
