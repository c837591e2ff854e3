package main

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute/gobackend"
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
