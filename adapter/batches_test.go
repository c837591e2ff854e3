package adapter

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// checkBatch fails t if a batch has what it must not have.
func checkBatch(t *testing.T, batch []pair, answers [][]int) {
	t.Helper()
	for n, p := range batch {
		if !slices.Contains(answers[p.query], p.document) {
			t.Fatalf("%v is no pair", p)
		}
		for _, q := range batch[:n] {
			if p.query == q.query || p.document == q.document || slices.Contains(answers[p.query], q.document) || slices.Contains(answers[q.query], p.document) {
				t.Fatalf("%v and %v in one batch", q, p)
			}
		}
	}
}

func allPairs(answers [][]int) (pairs []pair) {
	for i, list := range answers {
		for _, j := range list {
			pairs = append(pairs, pair{i, j})
		}
	}
	return pairs
}

func TestSamplerDistinct(t *testing.T) {
	answers := make([][]int, 100)
	for i := range answers {
		answers[i] = []int{99 - i}
	}
	s := newSampler(allPairs(answers), answers, 100, 24, 1)
	if s.steps() != 4 {
		t.Fatalf("%d steps", s.steps())
	}
	var first []pair
	for epoch := range 3 {
		s.begin(epoch)
		var seen []pair
		for range s.steps() {
			batch := s.next(nil)
			if len(batch) != 24 {
				t.Errorf("a batch of %d", len(batch))
			}
			checkBatch(t, batch, answers)
			seen = append(seen, batch...)
		}
		for i, p := range seen {
			if slices.Contains(seen[:i], p) {
				t.Errorf("%v twice in an epoch", p)
			}
		}
		if slices.Equal(first, seen) {
			t.Error("two epochs in one order")
		}
		first = seen
	}
	s.begin(2)
	if again := s.next(nil); !slices.Equal(again, first[:24]) {
		t.Error("an epoch depends on what was before it")
	}
	if other := newSampler(allPairs(answers), answers, 100, 24, 2); true {
		other.begin(2)
		if slices.Equal(other.next(nil), first[:24]) {
			t.Error("another seed, the same batch")
		}
	}
}

func TestSamplerConflicts(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	answers := make([][]int, 60)
	for i := range answers {
		answers[i] = rng.Perm(40)[:rng.IntN(5)]
	}
	pairs := allPairs(answers)
	s := newSampler(pairs, answers, 40, 8, 1)
	count := map[pair]int{}
	const epochs = 40
	for epoch := range epochs {
		s.begin(epoch)
		seen := map[pair]bool{}
		for range s.steps() {
			batch := s.next(nil)
			if len(batch) == 0 {
				t.Fatal("an empty batch")
			}
			checkBatch(t, batch, answers)
			for _, p := range batch {
				if seen[p] {
					t.Fatalf("%v twice in epoch %d", p, epoch)
				}
				seen[p] = true
				count[p]++
			}
		}
	}
	for _, p := range pairs {
		if count[p] < epochs/2 {
			t.Errorf("%v in %d of %d epochs", p, count[p], epochs)
		}
	}
}

// TestSamplerPopular has one document that answers nearly all queries.
func TestSamplerPopular(t *testing.T) {
	answers := make([][]int, 100)
	for i := range answers {
		answers[i] = []int{0}
	}
	answers[98], answers[99] = []int{1}, []int{2}
	s := newSampler(allPairs(answers), answers, 3, 10, 1)
	s.begin(0)
	total := 0
	for range s.steps() {
		batch := s.next(nil)
		checkBatch(t, batch, answers)
		if len(batch) < 1 || len(batch) > 3 {
			t.Errorf("a batch of %d", len(batch))
		}
		total += len(batch)
	}
	if total != s.steps()+2 {
		t.Errorf("%d pairs in %d batches", total, s.steps())
	}
}

func TestSamplerSmall(t *testing.T) {
	answers := [][]int{{0}, {1}}
	s := newSampler(allPairs(answers), answers, 2, 256, 1)
	s.begin(0)
	if batch := s.next(nil); s.steps() != 1 || len(batch) != 2 {
		t.Errorf("%d steps, first of %d", s.steps(), len(batch))
	}
}

func TestChoose(t *testing.T) {
	rows := []int{2, 3, 5, 7, 11}
	count := map[int]int{}
	rng := rand.New(rand.NewPCG(1, 2))
	const times = 5000
	for range times {
		chosen := choose(rows, 2, rng)
		if len(chosen) != 2 || chosen[0] >= chosen[1] {
			t.Fatalf("%v", chosen)
		}
		for _, r := range chosen {
			count[r]++
		}
	}
	for _, r := range rows {
		// 5 deviations of a binomial distribution with p = 2/5.
		if d := count[r] - times*2/5; d*d > 25*times*6/25 {
			t.Errorf("%d in %d of %d", r, count[r], times)
		}
	}
	if !slices.Equal(rows, []int{2, 3, 5, 7, 11}) {
		t.Error("changed what it chooses from")
	}
	if all := choose(rows, 9, rng); !slices.Equal(all, rows) {
		t.Errorf("%v", all)
	}
}
