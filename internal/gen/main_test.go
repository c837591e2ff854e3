package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive/internal/isa"
)

// TestUpToDate fails if a file of package asm is not what the generators write,
// or if there is a generated file that no generator writes any more.
func TestUpToDate(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(outDir, name))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s is out of date: run go generate ./...", name)
		}
	}
	have, err := filepath.Glob(filepath.Join(outDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range have {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if files[filepath.Base(path)] == nil && bytes.HasPrefix(data, []byte("// "+config.GeneratedWarning())) {
			t.Errorf("%s has no generator", path)
		}
	}
}

// TestLevels checks that the table has a row for every level that has assembly.
func TestLevels(t *testing.T) {
	have := []isa.Level{isa.Generic}
	for _, l := range levels {
		have = append(have, l.Level)
	}
	if want := isa.All(); !slices.Equal(have, want) {
		t.Errorf("levels %v, want %v", have, want)
	}
}
