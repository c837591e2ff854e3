package asm_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRegisters checks that kernels for AVX2 have no vector register beyond the 15th: the
// others are AVX-512's, and avo, which takes them when all are in use, derives a Requires
// comment from mnemonics and operand types alone.
func TestRegisters(t *testing.T) {
	files, err := filepath.Glob("*_amd64.s")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	beyond := regexp.MustCompile(`\b[XYZ](1[6-9]|2\d|3[01])\b`)
	checked := 0
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range strings.Split(string(src), "\nTEXT ·")[1:] {
			name, _, _ := strings.Cut(body, "(")
			if !strings.HasSuffix(name, "AVX2") {
				continue
			}
			checked++
			if r := beyond.FindString(body); r != "" {
				t.Errorf("%s: %s has the register %s", file, name, r)
			}
		}
	}
	if checked == 0 {
		t.Error("there are no kernels for AVX2")
	}
}
