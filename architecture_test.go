package contrastive_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestArchitecture checks that the files and the tests that ARCHITECTURE.md and
// docs/numerics.md name are there.
func TestArchitecture(t *testing.T) {
	var files, code strings.Builder
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") {
			fmt.Fprintln(&files, path)
			if strings.HasSuffix(path, "_test.go") {
				data, err := os.ReadFile(path)
				code.Write(data)
				return err
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, page := range []string{"ARCHITECTURE.md", "docs/numerics.md"} {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\b[a-z]\w*\.go\b`).FindAllString(string(data), -1) {
			named++
			if !regexp.MustCompile(`(?m)(^|/)` + name + `$`).MatchString(files.String()) {
				t.Errorf("%s names %s, which is not there", page, name)
			}
		}
		for _, name := range regexp.MustCompile(`\bTest[A-Z]\w*`).FindAllString(string(data), -1) {
			named++
			if !strings.Contains(code.String(), "func "+name+"(") {
				t.Errorf("%s names %s, which is not there", page, name)
			}
		}
	}
	if named < 20 {
		t.Errorf("only %d names have been found", named)
	}
}
