package main

import (
	"math"
	"sync"
	"testing"

	"github.com/contrastive-go/contrastive"
)

// curve trains on made-up pairs and returns the loss of each step.
func curve(t *testing.T, ranks contrastive.Collective) []float64 {
	var examples []Example
	for i := range 60 {
		x := Example{Group: i / 2}
		for task := range x.Summary {
			x.Summary[task] = []Feature{{Row: uint32(i % 16), Weight: 1}, {Row: uint32(16 + i%7), Weight: 1}}
			x.Comment[task] = append(x.Summary[task], Feature{Row: uint32(32 + i%5), Weight: 1})
			x.Code[task] = []Feature{{Row: uint32(i % 16), Weight: 1}, {Row: uint32(40 + i%11), Weight: 1}}
		}
		examples = append(examples, x)
	}
	var code [][]Feature
	for i := range examples {
		code = append(code, examples[i].Code[CutIdentifier])
	}
	e := NewEncoder(16, 64, 1, code)
	tr, err := NewTrainer(e, examples, Training{Epochs: 3, Batch: 20, Rate: 0.6, WeightRate: 0.15, ScaleRate: 0.05, Seed: 1, Ranks: ranks})
	if err != nil {
		t.Fatal(err)
	}
	var losses []float64
	for !tr.Done() {
		r, err := tr.Step()
		if err != nil {
			t.Error(err)
			return nil
		}
		losses = append(losses, r.Loss)
	}
	return losses
}

func compareCurves(t *testing.T, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d steps, want %d", len(got), len(want))
	}
	for i := range want {
		// What rounding makes of one step, the next steps multiply.
		if math.Abs(got[i]-want[i]) > 1e-4*want[i] {
			t.Errorf("loss of step %d is %v, want %v", i, got[i], want[i])
		}
	}
}

// Ranks that train together see the losses that one process does, and all the
// same.
func TestRanks(t *testing.T) {
	want := curve(t, nil)
	if last := len(want) - 1; last != 8 || !(want[last] < want[0]) {
		t.Fatalf("losses are %v", want)
	}
	for _, n := range []int{1, 2, 3, 7} {
		curves := make([][]float64, n)
		var wg sync.WaitGroup
		for r, c := range contrastive.NewLocalGroup(n) {
			wg.Go(func() { curves[r] = curve(t, c) })
		}
		wg.Wait()
		for r := range curves {
			compareCurves(t, curves[r], want)
			for i := range curves[r] {
				if curves[r][i] != curves[0][i] {
					t.Fatalf("loss of step %d is %v on rank 0 and %v on rank %d of %d", i, curves[0][i], curves[r][i], r, n)
				}
			}
		}
	}
}
