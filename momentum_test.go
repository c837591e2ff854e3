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
					within(t, "MomentumUpdate", float64(target[i]), want, bound)
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
						within(t, fmt.Sprintf("MomentumUpdate of %v by %v with %v", a, b, m), float64(got), m*a+(1-m)*b, 3*u*(math.Abs(a)+math.Abs(b))+0x1p-147)
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
			target = append(target, normal(r, 1, n).Data)
			online = append(online, normal(r, 1, n).Data)
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
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.part) {
			t.Errorf("error is %v, want %v with %q", err, c.want, c.part)
		}
		if !slices.Equal(target[0], before) {
			t.Errorf("the target has changed in spite of: %v", err)
		}
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
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.part) {
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

func TestCosineSchedule(t *testing.T) {
	for _, c := range []struct {
		step, steps int
		want        float64
	}{
		{-1, 100, 0.996}, {0, 100, 0.996}, {50, 100, 0.998}, {100, 100, 1}, {101, 100, 1}, {0, 0, 1}, {5, -1, 1},
		{25, 100, 1 - 0.004*(math.Cos(math.Pi/4)+1)/2}, // BYOL's formula
	} {
		if got := contrastive.CosineSchedule(0.996, 1, c.step, c.steps); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("step %d of %d: %v, want %v", c.step, c.steps, got, c.want)
		}
	}
	last := 0.0
	for step := range 101 {
		v := contrastive.CosineSchedule(0, 2, step, 100)
		if v < last {
			t.Errorf("step %d: %v after %v", step, v, last)
		}
		last = v
	}
}
