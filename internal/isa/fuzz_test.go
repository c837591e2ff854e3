package isa

import (
	"slices"
	"strings"
	"testing"
	"unicode"
)

// FuzzChoose gives CONTRASTIVE_SIMD any value, on processors with any levels: the
// level is one that the processor has, and what is reported is one line that a
// value cannot forge.
func FuzzChoose(f *testing.F) {
	for i, name := range append(names[:], "", "AVX2", " avx2", "avx2\n", "\x1b[2J", "ävx", "avx\x00", "generic,avx2") {
		f.Add(name, uint8(i))
	}
	f.Fuzz(func(t *testing.T, name string, has uint8) {
		available := []Level{Generic}
		for l := NEON; l <= AMX; l++ {
			if has>>l&1 == 1 {
				available = append(available, l)
			}
		}
		best := available[len(available)-1]
		want, reports := best, name != ""
		if i := slices.Index(names[:], name); i >= 0 && slices.Contains(available, Level(i)) {
			want, reports = Level(i), false
		}
		var w strings.Builder
		if got := choose(available, name, &w); got != want {
			t.Errorf("choose(%v, %q) = %v, want %v", available, name, got, want)
		}
		line, rest, ended := strings.Cut(w.String(), "\n")
		if ended != reports || rest != "" || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("choose(%v, %q) reports %q", available, name, w.String())
		}
	})
}
