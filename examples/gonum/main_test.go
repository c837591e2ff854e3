package main

import (
	"os"
	"testing"
)

func TestTrain(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	before, after, err := train(60, 64, null)
	if err != nil {
		t.Fatal(err)
	}
	// Of 500 pairs 1 in 500 is found by chance.
	if !(before < 0.05 && after > 0.3) {
		t.Errorf("recall is %.3f, untrained %.3f", after, before)
	}
}
