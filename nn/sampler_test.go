package nn

import (
	"math"
	"slices"
	"testing"
)

func TestSampler(t *testing.T) {
	s := &Sampler{Rows: 10, Size: 3, Seed: 5}
	if s.Steps() != 3 {
		t.Errorf("%d steps, want 3", s.Steps())
	}
	var steps [][]int
	for step := range 6 {
		steps = append(steps, slices.Clone(s.Batch(step)))
	}
	for epoch := range 2 {
		all := slices.Sorted(slices.Values(slices.Concat(steps[3*epoch : 3*epoch+3]...)))
		if len(slices.Compact(all)) != 9 || all[0] < 0 || all[8] > 9 {
			t.Errorf("epoch %d has rows %v", epoch, steps[3*epoch:3*epoch+3])
		}
	}
	if slices.Equal(slices.Concat(steps[:3]...), slices.Concat(steps[3:]...)) {
		t.Error("two epochs have one order")
	}
	if got := (&Sampler{Rows: 10, Size: 3, Seed: 5}).Batch(4); !slices.Equal(got, steps[4]) {
		t.Errorf("step 4 on its own is %v, want %v", got, steps[4])
	}
	s.Seed = 6
	if slices.Equal(s.Batch(4), steps[4]) {
		t.Error("another seed has the same batches")
	}
}

func TestLogQ(t *testing.T) {
	got := LogQ([]int{0, 3, 0, 0, 2, 3, 0, 0, 3, 0}, 4)
	for i, want := range []float64{math.Log(0.6), math.Log(0.1), math.Log(0.1), math.Log(0.3)} {
		if math.Abs(float64(got[i])-want) > 2*u*math.Abs(want) {
			t.Errorf("item %d is %v, want %v", i, got[i], want)
		}
	}
	if got := LogQ(nil, 2); got[0] != 0 || got[1] != 0 {
		t.Errorf("without ids: %v", got)
	}
}
