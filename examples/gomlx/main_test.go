package main

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// The loss outside the graph trains as the one inside does.
func TestCurves(t *testing.T) {
	backend, err := gobackend.New("ops_sequential")
	if err != nil {
		t.Fatal(err)
	}
	out, in, err := newTrainers(backend)
	if err != nil {
		t.Fatal(err)
	}
	data := rand.New(rand.NewPCG(3, 4))
	var first, last float64
	for step := range 20 {
		x, y := views(data, 24)
		a, err := out.step(x, y)
		if err != nil {
			t.Fatal(err)
		}
		b, err := in.step(x, y)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(a-b) > 1e-5 {
			t.Errorf("step %d: loss %v outside the graph, %v inside", step, a, b)
		}
		if step == 0 {
			first = a
		}
		last = a
	}
	if !(last < 0.8*first) {
		t.Errorf("the loss goes from %v to %v", first, last)
	}
}

func TestMomentumUpdate(t *testing.T) {
	store := model.NewStore()
	for path, values := range map[string][]float32{
		"/online/a/w": {1, 2}, "/online/b": {3}, "/target/a/w": {5, 6}, "/target/b": {7}, "/other": {9},
	} {
		if _, err := store.CreateVariable(path, tensors.FromFlatDataAndDimensions(values, len(values))); err != nil {
			t.Fatal(err)
		}
	}
	if err := MomentumUpdate(store, "/target", "/online", 0.75); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]float32{
		"/online/a/w": {1, 2}, "/online/b": {3}, "/target/a/w": {4, 5}, "/target/b": {6}, "/other": {9},
	} {
		tensors.MustConstFlatData(store.GetVariable(path).MustValue(), func(got []float32) {
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%s is %v, want %v", path, got, want)
				}
			}
		})
	}
	if err := MomentumUpdate(store, "/nowhere", "/online", 0.75); !errors.Is(err, contrastive.ErrShape) {
		t.Errorf("error is %v", err)
	}
}
