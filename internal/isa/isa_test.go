package isa

import (
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
	available := []Level{Generic, AVX2}
	for _, c := range []struct {
		name     string
		want     Level
		reported string
	}{
		{"", AVX2, ""},
		{"generic", Generic, ""},
		{"avx2", AVX2, ""},
		{"avx512", AVX2, "not supported"},
		{"amx", AVX2, "not supported"},
		{"neon", AVX2, "not supported"},
		{"AVX2", AVX2, "unknown"},
		{"sse", AVX2, "unknown"},
	} {
		var w strings.Builder
		if got := choose(available, c.name, &w); got != c.want {
			t.Errorf("choose(%q) = %v, want %v", c.name, got, c.want)
		}
		if c.reported == "" && w.Len() > 0 || !strings.Contains(w.String(), c.reported) || strings.Count(w.String(), "\n") > 1 {
			t.Errorf("choose(%q) reports %q, want %q", c.name, w.String(), c.reported)
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
