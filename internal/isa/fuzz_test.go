package isa

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// FuzzChoose gives CONTRASTIVE_SIMD any value, on processors with any levels: the
// level is one that the processor has, and AMX only if it is asked for and permitted;
// what is reported is one line that a value cannot forge.
func FuzzChoose(f *testing.F) {
	for i, name := range append(names[:], "", "amx", "AVX2", " avx2", "avx2\n", "\x1b[2J", "ävx", "avx\x00", "generic,avx2") {
		f.Add(name, uint8(i), i%2 == 0)
		f.Add(name, uint8(1<<AMX|1<<AVX512), i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, name string, has uint8, permitted bool) {
		available := []Level{Generic}
		for l := NEON; l <= AMX; l++ {
			if has>>l&1 == 1 {
				available = append(available, l)
			}
		}
		want, reports := Generic, name != ""
		for _, l := range available {
			if l != AMX {
				want = l
			}
		}
		if i := slices.Index(names[:], name); i >= 0 && slices.Contains(available, Level(i)) && (Level(i) != AMX || permitted) {
			want, reports = Level(i), false
		}
		permit := func(l Level) error {
			if name != l.String() {
				t.Errorf("%v is asked for, not %q", l, name)
			}
			if l == AMX && !permitted {
				return errors.New("refused")
			}
			return nil
		}
		var w strings.Builder
		if got := choose(available, name, permit, &w); got != want {
			t.Errorf("choose(%v, %q) = %v, want %v", available, name, got, want)
		}
		line, rest, ended := strings.Cut(w.String(), "\n")
		if ended != reports || rest != "" || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("choose(%v, %q) reports %q", available, name, w.String())
		}
	})
}
