package main

import (
	"io"
	"testing"
)

func TestTrain(t *testing.T) {
	first, err := train(1, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	last, err := train(60, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !(last.Loss < first.Loss/2 && last.Accuracy > 0.5) {
		t.Errorf("loss %.3f and accuracy %.3f, at first %.3f and %.3f", last.Loss, last.Accuracy, first.Loss, first.Accuracy)
	}
}
