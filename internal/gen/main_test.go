package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
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
