package main

import "testing"

// Half of the choices are of the 40 most popular items of 1,000: without the correction
// those are not found.
func TestCorrection(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	without, err := train(false)
	if err != nil {
		t.Fatal(err)
	}
	with, err := train(true)
	if err != nil {
		t.Fatal(err)
	}
	if !(with > 0.25 && with > 2*without) {
		t.Errorf("recall is %.3f with the correction, %.3f without", with, without)
	}
}
