package contrastive_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/race"
)

func TestMomentumUpdate(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, m := range []float32{0, 1e-3, 0.5, 0.996, 0.999, 1} {
			for n := range 70 {
				target, online := make([]float32, n), make([]float32, n)
				for i := range n {
					target[i], online[i] = float32(r.NormFloat64()), float32(r.NormFloat64())
				}
				before := slices.Clone(target)
				if err := contrastive.MomentumUpdate(target, online, m); err != nil {
					t.Fatal(err)
				}
				for i := range n {
					a, b := float64(before[i]), float64(online[i])
					want := float64(m)*a + (1-float64(m))*b
					bound := 3 * u * (math.Abs(a) + math.Abs(b))
					if m == 0 || m == 1 {
						bound = 0
					}
					losstest.Within(t, "MomentumUpdate", float64(target[i]), want, bound)
				}
			}
		}
	})
}

// TestMomentumUpdateRange takes all pairs of values from the least to the greatest.
func TestMomentumUpdateRange(t *testing.T) {
	var values []float32
	for _, v := range []float32{0, 0x1p-149, 3 * 0x1p-149, 0x1p-126, 0x1.fffffep-126, 1, 3e38, math.MaxFloat32} {
		values = append(values, v, -v)
	}
	isatest.Each(t, func(t *testing.T) {
		for _, m := range []float32{0, 0x1p-30, 0.25, 0.5, 0.996, 0.999, 0x1.fffffep-1, 1} {
			for _, a := range values {
				for _, b := range values {
					target := slices.Repeat([]float32{a}, 31)
					if err := contrastive.MomentumUpdate(target, slices.Repeat([]float32{b}, 31), m); err != nil {
						t.Fatal(err)
					}
					a, b, m := float64(a), float64(b), float64(m)
					for _, got := range target {
						losstest.Within(t, fmt.Sprintf("MomentumUpdate of %v by %v with %v", a, b, m), float64(got), m*a+(1-m)*b, 3*u*(math.Abs(a)+math.Abs(b))+0x1p-147)
					}
					if t.Failed() {
						return
					}
				}
			}
		}
	})
}

// A list is updated as its parts are, or not at all.
func TestMomentumUpdates(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	lists := func() (target, online [][]float32) {
		for _, n := range []int{7, 0, 33} {
			target = append(target, losstest.Normal(r, 1, n).Data)
			online = append(online, losstest.Normal(r, 1, n).Data)
		}
		return target, online
	}
	target, online := lists()
	var want [][]float32
	for i := range target {
		v := slices.Clone(target[i])
		if err := contrastive.MomentumUpdate(v, online[i], 0.9); err != nil {
			t.Fatal(err)
		}
		want = append(want, v)
	}
	if err := contrastive.MomentumUpdates(target, online, 0.9); err != nil {
		t.Fatal(err)
	}
	for i := range target {
		if !slices.Equal(target[i], want[i]) {
			t.Errorf("slice %d is %v, want %v", i, target[i], want[i])
		}
	}
	for _, c := range []struct {
		change func(target, online [][]float32) ([][]float32, [][]float32)
		m      float32
		want   error
		part   string
	}{
		{func(target, online [][]float32) ([][]float32, [][]float32) { return target, online[:2] }, 0.9, contrastive.ErrShape, "target has 3 slices, online has 2"},
		{func(target, online [][]float32) ([][]float32, [][]float32) {
			online[2] = online[2][1:]
			return target, online
		}, 0.9, contrastive.ErrShape, "target[2] has 33 elements, online[2] has 32"},
		{func(target, online [][]float32) ([][]float32, [][]float32) {
			online[2][32] = float32(math.NaN())
			return target, online
		}, 0.9, contrastive.ErrNotFinite, "online[2] element 32 is NaN"},
		{func(target, online [][]float32) ([][]float32, [][]float32) { return target, online }, 2, contrastive.ErrParameter, "m is 2"},
	} {
		target, online := c.change(lists())
		before := slices.Clone(target[0])
		err := contrastive.MomentumUpdates(target, online, c.m)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.part) || !called(err, "MomentumUpdates") {
			t.Errorf("error is %v, want %v with %q", err, c.want, c.part)
		}
		if !slices.Equal(target[0], before) {
			t.Errorf("the target has changed in spite of: %v", err)
		}
	}
}

// TestMomentumUpdatesOverlap takes tensors from one array, in an order that is not that
// of their addresses. A parameter that moves twice, or by what has moved, is an error.
func TestMomentumUpdatesOverlap(t *testing.T) {
	const n = 20
	for _, c := range []struct {
		name           string
		target, online [][2]int // first and end in the array
		part           string   // of the error, if it is one
	}{
		{"apart", [][2]int{{8, 10}, {0, 4}, {4, 8}}, [][2]int{{10, 12}, {12, 16}, {16, 20}}, ""},
		{"interleaved", [][2]int{{12, 16}, {0, 4}, {8, 9}}, [][2]int{{4, 8}, {16, 20}, {9, 10}}, ""},
		{"online twice", [][2]int{{0, 4}, {4, 8}}, [][2]int{{8, 12}, {8, 12}}, ""},
		{"online overlapping", [][2]int{{0, 4}, {4, 8}}, [][2]int{{8, 12}, {10, 14}}, ""},
		{"themselves", [][2]int{{4, 8}, {0, 4}}, [][2]int{{4, 8}, {0, 4}}, ""},
		{"empty within another", [][2]int{{0, 4}, {2, 2}, {4, 8}}, [][2]int{{8, 12}, {1, 1}, {12, 16}}, ""},
		{"twice", [][2]int{{4, 8}, {0, 4}, {4, 8}}, [][2]int{{8, 12}, {12, 16}, {16, 20}}, "target[2] overlaps target[0]"},
		{"twice, from one online", [][2]int{{0, 4}, {0, 4}}, [][2]int{{8, 12}, {8, 12}}, "target[1] overlaps target[0]"},
		{"twice, from themselves", [][2]int{{0, 4}, {0, 4}}, [][2]int{{0, 4}, {0, 4}}, "target[1] overlaps target[0]"},
		{"by one", [][2]int{{3, 7}, {0, 4}}, [][2]int{{8, 12}, {12, 16}}, "target[1] overlaps target[0]"},
		{"inside", [][2]int{{0, 8}, {10, 12}, {3, 4}}, [][2]int{{12, 20}, {8, 10}, {8, 9}}, "target[2] overlaps target[0]"},
		{"inside, after an empty one", [][2]int{{0, 8}, {3, 3}, {5, 6}}, [][2]int{{12, 20}, {8, 8}, {8, 9}}, "target[2] overlaps target[0]"},
		{"another's online", [][2]int{{0, 4}, {4, 8}}, [][2]int{{8, 12}, {0, 4}}, "target[0] overlaps online[1]"},
		{"another's online by one", [][2]int{{0, 4}, {8, 12}}, [][2]int{{11, 15}, {16, 20}}, "target[1] overlaps online[0]"},
		{"another's online, in its middle", [][2]int{{2, 3}, {8, 14}}, [][2]int{{10, 11}, {14, 20}}, "target[1] overlaps online[0]"},
		{"another's online, after one that ends there", [][2]int{{0, 4}, {4, 8}}, [][2]int{{4, 8}, {8, 12}}, "target[1] overlaps online[0]"},
		{"exchanged", [][2]int{{0, 4}, {4, 8}}, [][2]int{{4, 8}, {0, 4}}, "overlaps online["},
		{"its own by one", [][2]int{{12, 14}, {0, 4}}, [][2]int{{14, 16}, {3, 7}}, "target[1] overlaps online[1]"},
	} {
		array := losstest.Normal(rand.New(rand.NewPCG(8, 9)), 1, n).Data
		slicesOf := func(places [][2]int) (all [][]float32) {
			for _, p := range places {
				all = append(all, array[p[0]:p[1]])
			}
			return all
		}
		before, target, online := slices.Clone(array), slicesOf(c.target), slicesOf(c.online)
		err := contrastive.MomentumUpdates(target, online, 0.5)
		if c.part != "" {
			if !errors.Is(err, contrastive.ErrShape) || !strings.Contains(err.Error(), c.part) {
				t.Errorf("%s: %v, want %q", c.name, err, c.part)
			}
			if !slices.Equal(array, before) {
				t.Errorf("%s: parameters have changed in spite of the error", c.name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		moved := map[int]int{} // the online element of each
		for i, p := range c.target {
			for j := range p[1] - p[0] {
				moved[p[0]+j] = c.online[i][0] + j
			}
		}
		for i, got := range array {
			want, bound := float64(before[i]), 0.0
			if j, ok := moved[i]; ok {
				other := float64(before[j])
				want, bound = (want+other)/2, 3*u*(math.Abs(want)+math.Abs(other))+0x1p-147
			}
			losstest.Within(t, c.name, float64(got), want, bound)
		}
	}
}

func TestMomentumUpdatesAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	r := rand.New(rand.NewPCG(8, 9))
	var target, online [][]float32
	for range 300 {
		target, online = append(target, losstest.Normal(r, 1, 5).Data), append(online, losstest.Normal(r, 1, 5).Data)
	}
	if n := testing.AllocsPerRun(100, func() {
		if err := contrastive.MomentumUpdates(target, online, 0.5); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestMomentumUpdateErrors(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	shared := []float32{1, 2, 3, 4}
	for _, c := range []struct {
		target, online []float32
		m              float32
		want           error
		part           string
	}{
		{[]float32{1, 2}, []float32{1}, 0.5, contrastive.ErrShape, "target has 2 elements, online has 1"},
		{shared[:3], shared[1:], 0.5, contrastive.ErrShape, "overlaps"},
		{[]float32{1}, []float32{2}, -0.1, contrastive.ErrParameter, "m is -0.1"},
		{[]float32{1}, []float32{2}, 1.1, contrastive.ErrParameter, "m is 1.1"},
		{[]float32{1}, []float32{2}, nan, contrastive.ErrParameter, "m is NaN"},
		{[]float32{1, nan}, []float32{2, 3}, 0.5, contrastive.ErrNotFinite, "target element 1 is NaN"},
		{[]float32{1, 2}, []float32{inf, 3}, 0.5, contrastive.ErrNotFinite, "online element 0 is +Inf"},
	} {
		before := slices.Clone(c.target)
		err := contrastive.MomentumUpdate(c.target, c.online, c.m)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.part) || !called(err, "MomentumUpdate") {
			t.Errorf("%v, want %v with %q", err, c.want, c.part)
		}
		for i, v := range before {
			if math.Float32bits(c.target[i]) != math.Float32bits(v) {
				t.Errorf("%q: target has changed", c.part)
			}
		}
	}
	if err := contrastive.MomentumUpdate(shared, shared, 0.5); err != nil || !slices.Equal(shared, []float32{1, 2, 3, 4}) {
		t.Errorf("an update from itself: %v, %v", shared, err)
	}
}
