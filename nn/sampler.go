package nn

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// A Sampler draws the batches of a training. Batches of one epoch have no row in common;
// what does not fill a batch at the end of an epoch is left out of it. What a step sees
// depends on Seed and the step alone, so that a run that is resumed needs no more than
// the number of its step.
type Sampler struct {
	Rows int // in all, at least Size
	Size int // rows of a batch, at least 1
	Seed uint64

	order []int // of the epoch
	drawn shuffle
}

// A shuffle is what an order depends on.
type shuffle struct {
	rows, epoch int
	seed        uint64
}

// Steps returns the number of batches in an epoch.
func (s *Sampler) Steps() int {
	s.check()
	return s.Rows / s.Size
}

// Batch returns the rows of a step, counted from 0, valid until the next call. It panics
// if Size is not from 1 to Rows or the step is negative.
func (s *Sampler) Batch(step int) []int {
	s.check()
	if step < 0 {
		panic(fmt.Sprintf("nn: Sampler: Batch(%d): a step is not negative", step))
	}
	epoch, place := step/s.Steps(), step%s.Steps()
	if now := (shuffle{s.Rows, epoch, s.Seed}); s.drawn != now {
		s.drawn = now
		s.shuffle(epoch)
	}
	return s.order[place*s.Size : (place+1)*s.Size]
}

func (s *Sampler) check() {
	if s.Size < 1 || s.Size > s.Rows {
		panic(fmt.Sprintf("nn: Sampler: Size is %d and must be from 1 to Rows, %d", s.Size, s.Rows))
	}
}

func (s *Sampler) shuffle(epoch int) {
	s.order = slices.Grow(s.order[:0], s.Rows)[:s.Rows]
	for i := range s.order {
		s.order[i] = i
	}
	rng := rand.New(rand.NewPCG(s.Seed, uint64(epoch)))
	rng.Shuffle(len(s.order), func(i, j int) { s.order[i], s.order[j] = s.order[j], s.order[i] })
}
