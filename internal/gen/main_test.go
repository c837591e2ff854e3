package main

import (
	"bytes"
	"fmt"
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
			t.Errorf("%s is not what the generator writes; run go generate ./... if that is right\n%s", name, firstDifference(got, want))
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

// firstDifference shows the first line in which two texts differ, under the function that
// it is in.
func firstDifference(have, generated []byte) string {
	a, b := bytes.Split(have, []byte("\n")), bytes.Split(generated, []byte("\n"))
	function := ""
	for i := range max(len(a), len(b)) {
		var x, y []byte
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if bytes.HasPrefix(x, []byte("TEXT")) || bytes.HasPrefix(x, []byte("func")) {
			function = string(x)
		}
		if !bytes.Equal(x, y) {
			return fmt.Sprintf("%s\n%d:\nhave      %s\ngenerated %s", function, i+1, x, y)
		}
	}
	return ""
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
