// Package isatest runs tests and benchmarks on every level.
package isatest

import (
	"os"
	"testing"

	"github.com/contrastive-go/contrastive/internal/isa"
)

// Each runs f as a subtest on every level this processor has, slowest first. The
// subtests must not be parallel. If the CONTRASTIVE_WANT environment variable
// names a level that the processor lacks, Each fails: a machine that is there to
// test a level must not pass for want of it. CONTRASTIVE_ONLY names the only level
// to test, for processors whose emulation is slow, and must be there too.
func Each(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	defer func(l isa.Level) { isa.Active = l }(isa.Active)
	want, only := os.Getenv("CONTRASTIVE_WANT"), os.Getenv("CONTRASTIVE_ONLY")
	if only != "" {
		want = only
	}
	for _, l := range isa.Available() {
		if only != "" && l.String() != only {
			continue
		}
		if err := isa.Set(l.String()); err != nil {
			t.Error(err)
			continue
		}
		t.Run(l.String(), f)
		if l.String() == want {
			want = ""
		}
	}
	if want != "" {
		t.Errorf("this machine cannot test %q", want)
	}
}

// EachB is Each for benchmarks.
func EachB(b *testing.B, f func(b *testing.B)) {
	defer func(l isa.Level) { isa.Active = l }(isa.Active)
	for _, l := range isa.Available() {
		if err := isa.Set(l.String()); err != nil {
			b.Fatal(err)
		}
		b.Run("isa="+l.String(), f)
	}
}
