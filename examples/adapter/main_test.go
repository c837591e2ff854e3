package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Queries are documents in another order of dimensions, with noise.
func TestFit(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var pairs bytes.Buffer
	for range 1000 {
		q, d := make([]float64, 16), make([]float64, 16)
		for i := range d {
			d[i] = rng.NormFloat64()
			q[(i+5)%16] = d[i] + 0.1*rng.NormFloat64()
		}
		if err := json.NewEncoder(&pairs).Encode(map[string][]float64{"query": q, "document": d}); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	if err := fit(&pairs, filepath.Join(t.TempDir(), "adapter"), &out); err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`recall@1 (\S+)`).FindAllStringSubmatch(out.String(), -1)
	if len(found) != 2 {
		t.Fatalf("it says\n%s", out.String())
	}
	before, err := strconv.ParseFloat(found[0][1], 64)
	if err != nil {
		t.Fatal(err)
	}
	after, err := strconv.ParseFloat(found[1][1], 64)
	if err != nil {
		t.Fatal(err)
	}
	if !(before < 0.05 && after > 0.9) {
		t.Errorf("recall@1 is %.3f, and %.3f before", after, before)
	}
	if err := fit(strings.NewReader(`{"query": [1], "document": [2]} {"query": ["x"]}`), "", &out); err == nil || !strings.HasPrefix(err.Error(), "pair 2: ") {
		t.Errorf("a pair that is none: %v", err)
	}
}
