package asm_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestUpperHalvesCleared checks that no amd64 kernel that uses vectors of more than
// 128 bits returns without VZEROUPPER: the SSE instructions that the Go compiler
// emits would be slow until the next one. After it, up to the return, no such vector
// is touched and nothing branches.
func TestUpperHalvesCleared(t *testing.T) {
	wide := regexp.MustCompile(`\b[YZ][0-9]+\b`)
	branch := regexp.MustCompile(`^\tJ|^\w+:`)
	files, err := filepath.Glob("*_amd64.s")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, kernel := range strings.Split(string(src), "\nTEXT ")[1:] {
			name, body, _ := strings.Cut(kernel, "\n")
			if !wide.MatchString(body) {
				continue
			}
			returns, clear := 0, false
			for line := range strings.Lines(body) {
				switch {
				case strings.HasPrefix(line, "\tVZEROUPPER"):
					clear = true
				case strings.HasPrefix(line, "\tRET"):
					if returns++; !clear {
						t.Errorf("%s: %s returns with dirty upper halves", file, name)
					}
					clear = false
				case wide.MatchString(line), branch.MatchString(line):
					clear = false
				}
			}
			if returns == 0 {
				t.Errorf("%s: %s has no return", file, name)
			}
		}
	}
}
