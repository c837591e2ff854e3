package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A run that stops and goes on ends in the same file as one that does not.
func TestResume(t *testing.T) {
	whole, parts := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "parts")
	if err := train(whole, 101, io.Discard); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, steps := range []int{25, 101} {
		if err := train(parts, steps, &out); err != nil {
			t.Fatal(err)
		}
	}
	a, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(parts); err != nil || !bytes.Equal(a, b) {
		t.Errorf("the run that was resumed differs: %v", err)
	}
	if !strings.Contains(out.String(), "step 100 ") || strings.Count(out.String(), "step   0 ") != 1 {
		t.Errorf("it says\n%s", out.String())
	}
}
