package adapter

import (
	"math/rand/v2"
	"slices"
)

// A sampler makes batches of pairs of one epoch after the other, in which no query and
// no document is there twice, and no document answers two of the queries: it would be a
// negative of one of them.
//
// The pairs of an epoch wait in random order. One that does not fit into a batch goes to
// the end. What waits after as many batches as the pairs would fill is left out of the
// epoch.
type sampler struct {
	pairs   []pair
	answers [][]int
	size    int
	seed    uint64

	ring           []pair
	first, waiting int

	// The last batches in which there were the query, the document, or a query that the
	// document answers.
	queries, documents, answered []int
	batch                        int

	source rand.PCG
	random *rand.Rand
}

func newSampler(pairs []pair, answers [][]int, documents, size int, seed uint64) *sampler {
	s := &sampler{
		pairs: pairs, answers: answers, size: min(size, len(pairs)), seed: seed,
		ring:    make([]pair, len(pairs)),
		queries: make([]int, len(answers)), documents: make([]int, documents), answered: make([]int, documents),
	}
	s.random = rand.New(&s.source)
	return s
}

// steps returns the number of batches in an epoch.
func (s *sampler) steps() int { return len(s.pairs) / s.size }

// begin begins an epoch, counted from 0.
func (s *sampler) begin(epoch int) {
	copy(s.ring, s.pairs)
	s.first, s.waiting = 0, len(s.ring)
	s.source.Seed(s.seed, seed2(streamBatches, epoch))
	s.random.Shuffle(len(s.ring), func(i, j int) { s.ring[i], s.ring[j] = s.ring[j], s.ring[i] })
}

// searched is how many times as many pairs as a batch takes are looked at to fill it.
const searched = 8

// next appends a batch to the empty dst. It has fewer pairs than others if most that
// wait do not fit, and at least one.
func (s *sampler) next(dst []pair) []pair {
	s.batch++
	for range min(s.waiting, searched*s.size) {
		if len(dst) == s.size {
			break
		}
		p := s.ring[s.first]
		s.first = (s.first + 1) % len(s.ring)
		if s.fits(p) {
			s.take(p)
			s.waiting--
			dst = append(dst, p)
		} else {
			s.ring[(s.first+s.waiting-1)%len(s.ring)] = p
		}
	}
	return dst
}

func (s *sampler) fits(p pair) bool {
	return s.queries[p.query] != s.batch && s.documents[p.document] != s.batch && s.answered[p.document] != s.batch &&
		!slices.ContainsFunc(s.answers[p.query], func(j int) bool { return s.documents[j] == s.batch })
}

func (s *sampler) take(p pair) {
	s.queries[p.query], s.documents[p.document] = s.batch, s.batch
	for _, j := range s.answers[p.query] {
		s.answered[j] = s.batch
	}
}
