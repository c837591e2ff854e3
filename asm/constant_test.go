package asm_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestConstants checks that no kernel reads 64 bytes of constants at once: data is aligned
// to 32 bytes, so that half of these reads would cross a cache line.
func TestConstants(t *testing.T) {
	files, err := filepath.Glob("*_amd64.s")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	wide := regexp.MustCompile(`\bZ\d+\b`)
	reads := 0
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		kernel := ""
		for line := range strings.Lines(string(src)) {
			switch {
			case strings.HasPrefix(line, "TEXT ·"):
				kernel, _, _ = strings.Cut(strings.TrimPrefix(line, "TEXT ·"), "(")
			case strings.HasPrefix(line, "\t") && strings.Contains(line, "vector_"):
				reads++
				if wide.MatchString(line) && !strings.HasPrefix(line, "\tVBROADCAST") {
					t.Errorf("%s: %s: %s", file, kernel, strings.TrimSpace(line))
				}
			}
		}
	}
	if reads == 0 {
		t.Error("no kernel reads constants")
	}
}
