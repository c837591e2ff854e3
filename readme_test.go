package contrastive_test

import (
	"os"
	"strings"
	"testing"
)

// TestReadme checks that the call that README.md shows is that of Example, which
// runs.
func TestReadme(t *testing.T) {
	read := func(name string) string {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	const first, last = "dq, dk := ", "Key: dk})\n"
	_, call, found := strings.Cut(read("README.md"), first)
	call, _, ended := strings.Cut(call, last)
	if !found || !ended {
		t.Fatalf("README.md has no call from %q to %q", first, last)
	}
	call = strings.ReplaceAll(first+call+last, "\n", "\n\t")
	if !strings.Contains(read("example_test.go"), "\n\t"+strings.TrimSuffix(call, "\t")) {
		t.Errorf("Example does not have the call of README.md:\n%s", call)
	}
}
