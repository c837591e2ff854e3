package simd_test

import (
	"os"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive/simd"
)

// TestSetLevel checks the default, which is the last level but for amx, and that a level
// that cannot be used is refused by name and changes nothing.
func TestSetLevel(t *testing.T) {
	before, levels := simd.Level(), simd.Levels()
	defaults := slices.DeleteFunc(slices.Clone(levels), func(l string) bool { return l == "amx" })
	if want := defaults[len(defaults)-1]; before != want && os.Getenv("CONTRASTIVE_SIMD") == "" {
		t.Errorf("the default of %v is %q, want %q", levels, before, want)
	}
	const want = `simd: SetLevel: unknown level "tmul", must be one of generic, neon, avx2, avx512, avx512bf16, amx`
	if err := simd.SetLevel("tmul"); err == nil || err.Error() != want || simd.Level() != before {
		t.Errorf("SetLevel(tmul) = %v, level %q; want %s, level %q", err, simd.Level(), want, before)
	}
}
