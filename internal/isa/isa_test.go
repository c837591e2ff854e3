package isa

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestDetectIsCumulative(t *testing.T) {
	yes, no := map[string]bool{"A": true, "B": true}, map[string]bool{"C": true, "D": false}
	for _, c := range []struct {
		gates []gate
		want  []Level
	}{
		{nil, []Level{Generic}},
		{[]gate{{AVX2, Generic, yes}}, []Level{Generic, AVX2}},
		{[]gate{{AVX2, Generic, yes}, {AVX512, AVX2, no}}, []Level{Generic, AVX2}},
		{[]gate{{AVX2, Generic, no}, {AVX512, AVX2, yes}}, []Level{Generic}},
		{[]gate{{AVX512, Generic, yes}, {AVX512BF16, AVX512, no}, {AMX, AVX512, yes}}, []Level{Generic, AVX512, AMX}},
		{[]gate{{AVX512, Generic, no}, {AVX512BF16, AVX512, yes}, {AMX, AVX512, yes}}, []Level{Generic}},
	} {
		if got := detect(c.gates); !slices.Equal(got, c.want) {
			t.Errorf("detect(%v) = %v, want %v", c.gates, got, c.want)
		}
	}
}

func TestChoose(t *testing.T) {
	haswell, skylake := []Level{Generic, AVX2}, []Level{Generic, AVX2, AVX512}
	zen4, sapphireRapids := append(skylake[:3:3], AVX512BF16), append(skylake[:3:3], AMX)
	for _, c := range []struct {
		available []Level
		name      string
		refused   bool
		want      Level
		reported  string
	}{
		{haswell, "", false, AVX2, ""},
		{haswell, "generic", false, Generic, ""},
		{haswell, "avx2", false, AVX2, ""},
		{haswell, "avx512", false, AVX2, "not supported"},
		{haswell, "amx", false, AVX2, "not supported"},
		{haswell, "neon", false, AVX2, "not supported"},
		{haswell, "AVX2", false, AVX2, "unknown"},
		{haswell, "sse", false, AVX2, "unknown"},
		{[]Level{Generic}, "", false, Generic, ""},
		{[]Level{Generic, NEON}, "", false, NEON, ""},
		{skylake, "", false, AVX512, ""},
		{zen4, "", false, AVX512BF16, ""},
		{zen4, "avx512", false, AVX512, ""},
		// AMX is there, and never the default.
		{sapphireRapids, "", false, AVX512, ""},
		{sapphireRapids, "", true, AVX512, ""},
		{sapphireRapids, "amx", false, AMX, ""},
		{sapphireRapids, "avx2", true, AVX2, ""},
		{sapphireRapids, "amx", true, AVX512, `CONTRASTIVE_SIMD: level "amx" cannot be used: refused; using avx512`},
		{sapphireRapids, "tmul", false, AVX512, "unknown"},
		{append(zen4[:4:4], AMX), "", false, AVX512BF16, ""},
	} {
		var asked []Level
		permit := func(l Level) error {
			asked = append(asked, l)
			if c.refused && l == AMX {
				return errors.New("refused")
			}
			return nil
		}
		var w strings.Builder
		if got := choose(c.available, c.name, permit, &w); got != c.want {
			t.Errorf("choose(%v, %q) = %v, want %v", c.available, c.name, got, c.want)
		}
		if c.reported == "" && w.Len() > 0 || !strings.Contains(w.String(), c.reported) || strings.Count(w.String(), "\n") > 1 {
			t.Errorf("choose(%v, %q) reports %q, want %q", c.available, c.name, w.String(), c.reported)
		}
		if len(asked) > 1 || len(asked) == 1 && asked[0].String() != c.name {
			t.Errorf("choose(%v, %q) asks for %v", c.available, c.name, asked)
		}
	}
}

func TestSet(t *testing.T) {
	defer func(l Level) { Active = l }(Active)
	for _, l := range Available() {
		if err := Set(l.String()); err != nil || Active != l {
			t.Errorf("Set(%q) = %v, level %v", l, err, Active)
		}
	}
	before := Active
	if err := Set("none"); err == nil || Active != before {
		t.Errorf("Set of an unknown level: %v, level %v", err, Active)
	}
}
