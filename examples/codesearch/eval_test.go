package main

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/simd"
)

func TestScoreRows(t *testing.T) {
	// The right candidates have the ranks 1, 1½ (beside an equal one), 3 and, of
	// the empty query, 2½.
	rows := [][]float64{{9, 1, 2, 3}, {0, 5, 5, 1}, {7, 8, 6, 0}, {0, 0, 0, 0}}
	s := scoreRows(4, func(i int) []float64 { return rows[i] })
	want := (1 + 1/1.5 + 1./3 + 1/2.5) / 4
	if math.Abs(s.MRR-want) > 8*0x1p-53 || s.At1 != 0.25 || s.At5 != 1 || s.At10 != 1 {
		t.Errorf("got %+v, want MRR %v, recall 0.25, 1, 1", s, want)
	}
}

// TestSameMetrics checks that the baselines are measured as the model is.
func TestSameMetrics(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	q, k := contrastive.NewMatrix(60, 8), contrastive.NewMatrix(60, 8)
	for i := range q.Data {
		k.Data[i] = float32(r.NormFloat64())
		q.Data[i] = k.Data[i] + 1.5*float32(r.NormFloat64())
	}
	clear(q.Row(7)) // a query of which nothing is left
	ours := scoreRows(q.Rows, func(i int) []float64 {
		row := make([]float64, k.Rows)
		for j := range row {
			row[j] = float64(simd.Cosine(q.Row(i), k.Row(j)))
		}
		return row
	})
	mrr, err := contrastive.MRR(q, k)
	if err != nil {
		t.Fatal(err)
	}
	recall, err := contrastive.RecallAt(q, k, 1, 5, 10)
	if err != nil {
		t.Fatal(err)
	}
	// Both are means of at most 60 terms in float64.
	const rounding = 64 * 0x1p-53
	for _, c := range []struct {
		name      string
		ours, his float64
	}{{"MRR", ours.MRR, mrr}, {"recall@1", ours.At1, recall[0]}, {"recall@5", ours.At5, recall[1]}, {"recall@10", ours.At10, recall[2]}} {
		if math.Abs(c.ours-c.his) > rounding {
			t.Errorf("%s: %v by scoreRows, %v by package contrastive", c.name, c.ours, c.his)
		}
	}
	if ours.At1 == 0 || ours.At1 == 1 {
		t.Errorf("recall@1 of %v tests nothing", ours.At1)
	}
}

func TestNewPools(t *testing.T) {
	c := &Corpus{}
	for i := range 400 {
		c.Functions = append(c.Functions, Function{Package: string(rune('a' + i%26)), Line: i, Paired: i%4 != 0})
	}
	n := len(c.Paired(DevSplit))
	pools, err := NewPools(c, DevSplit, 10, 3)
	if err != nil {
		t.Fatal(err)
	}
	if len(pools) != min(3, n/10) {
		t.Fatalf("%d pools of 10 from %d pairs", len(pools), n)
	}
	seen := map[*Function]bool{}
	for _, p := range pools {
		if len(p) != 10 {
			t.Errorf("a pool of %d", len(p))
		}
		for _, f := range p {
			if seen[f] || !f.Paired || SplitOf(f.Package) != DevSplit {
				t.Fatalf("%+v is twice there, or should not be", f)
			}
			seen[f] = true
		}
	}
	if _, err := NewPools(c, DevSplit, n+1, 3); err == nil {
		t.Error("a pool larger than the split was drawn")
	}
}

func TestEvaluate(t *testing.T) {
	scores := []Score{{MRR: 0.5, At1: 0.2, At5: 0.4, At10: 0.6}, {MRR: 0.7, At1: 0.4, At5: 0.6, At10: 0.8}}
	next := 0
	m := Method{"method", func(Task, Pool) (Score, error) {
		next++
		return scores[(next-1)%2], nil
	}}
	var out bytes.Buffer
	if err := Evaluate(&out, make([]Pool, 2), []Method{m}); err != nil {
		t.Fatal(err)
	}
	line := "  method                         0.600 ± 0.141   0.300 0.500 0.700\n" // √(2·0.1²/1) = 0.141
	if got := strings.Count(out.String(), line); got != int(tasks) {
		t.Errorf("%q has %q %d times, want %d", out.String(), line, got, tasks)
	}
}
