//go:build !purego

package asm_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive/internal/isa"
)

// TestRequires checks that no kernel uses an instruction that its level does not
// promise. The generators derive the Requires comments from the instructions, and
// package isa selects levels by the table that Grants reads, so that neither can
// fall behind the other.
func TestRequires(t *testing.T) {
	levels := make(map[string]isa.Level)
	for _, l := range isa.All() {
		levels[l.Suffix()] = l
	}
	suffixes := strings.Join(slices.Collect(maps.Keys(levels)), "|")
	kernel := regexp.MustCompile(`// func \w+?(` + suffixes + `)\(.*\n// Requires: (.*)\n`)

	files, err := filepath.Glob("*_" + runtime.GOARCH + ".s")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		kernels := kernel.FindAllStringSubmatch(string(src), -1)
		if n := strings.Count(string(src), "\nTEXT "); len(kernels) != n || n == 0 {
			t.Errorf("%s: %d functions, %d with a Requires comment", file, n, len(kernels))
		}
		for _, k := range kernels {
			for _, feature := range strings.Split(k[2], ", ") {
				if !isa.Grants(levels[k[1]], feature) {
					t.Errorf("%s: a kernel for %s requires %s", file, k[1], feature)
				}
			}
		}
	}
}

// TestLegacyLoads checks that no parameter is loaded by an instruction that keeps the upper
// half of a vector register: while one of these is in use, it may take as long as a kernel.
func TestLegacyLoads(t *testing.T) {
	files, err := filepath.Glob("*_amd64.s")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	load := regexp.MustCompile(`(?m)^\tMOVS[SD]\s+\S+\(FP\), X.*$`)
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range load.FindAll(src, -1) {
			t.Errorf("%s: %s", file, line)
		}
	}
}
