package main

import "testing"

func TestHardNegatives(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	without, err := train(0)
	if err != nil {
		t.Fatal(err)
	}
	with, err := train(7)
	if err != nil {
		t.Fatal(err)
	}
	if !(without > 0.7 && with > without) {
		t.Errorf("MRR is %.3f with hard negatives, %.3f without", with, without)
	}
}
