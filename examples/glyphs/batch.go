package main

import (
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/examples/glyphs/data"
)

// Every random number comes from a generator whose seed is computed from that of
// the run, what it is for, the step and the sample. So results depend neither on
// goroutines nor on where a run was interrupted, and the "state of the random
// number generator" in a checkpoint is the number of the step.
const (
	streamParameters = iota + 1
	streamOrder
	streamViews
	streamPartners
	streamShuffle
	streamEvaluation
)

// mix returns a hash of its arguments, by the finaliser of SplitMix64 (Steele,
// Lea and Flood, 2014).
func mix(values ...uint64) uint64 {
	var h uint64
	for _, v := range values {
		h += v + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// A Batch is what one step sees: pairs of images, of which views are taken. They
// are pairs of one image with itself, but for CLIP, where they are of one class
// and of two families of fonts.
type Batch struct {
	Step, Steps int
	Rate        float64

	Pairs  int
	Images [2][]int // indices into the set
	Labels []int    // classes

	loader *Loader
}

// A Loader makes the batches of a run.
type Loader struct {
	Set          *data.Set
	Augmentation data.Augmentation
	Seed         uint64
	Pairs, Steps int

	first    []int         // images that pairs begin with
	partners map[int][]int // of each class, for the second modality; nil if there is one
	views    contrastive.Matrix

	permutation []int // of the epoch
	epoch       int
}

// NewLoader returns a loader of pairs of one image with itself or, with
// modalities, of pairs of one class from two families of fonts.
func NewLoader(set *data.Set, s *Settings) *Loader {
	l := &Loader{Set: set, Augmentation: data.Default, Seed: s.Seed, Pairs: s.Batch, Steps: s.Steps}
	if s.Method == "clip" {
		l.partners = map[int][]int{}
	}
	for i := range set.Pixels {
		if l.partners != nil && modality(set, i) == 1 {
			l.partners[set.Labels[i]] = append(l.partners[set.Labels[i]], i)
		} else {
			l.first = append(l.first, i)
		}
	}
	return l
}

// modality returns 0 for images of proportional fonts and 1 for monospaced ones.
func modality(set *data.Set, i int) int {
	if strings.Contains(strings.ToLower(set.Styles[set.Style[i]]), "mono") {
		return 1
	}
	return 0
}

// Batch returns batch number step. Images come in a random order that is new in
// every epoch, and each once in a batch unless it is larger than the set.
func (l *Loader) Batch(step int) *Batch {
	b := &Batch{Step: step, Steps: l.Steps, Pairs: l.Pairs, loader: l}
	n := len(l.first)
	perEpoch := n / l.Pairs // batches; what is left of an epoch is dropped
	for i := range l.Pairs {
		epoch, place := 0, 0
		if perEpoch > 0 {
			epoch, place = step/perEpoch, step%perEpoch*l.Pairs+i
		} else {
			epoch, place = (step*l.Pairs+i)/n, (step*l.Pairs+i)%n
		}
		b.Images[0] = append(b.Images[0], l.first[l.order(epoch)[place]])
	}
	b.Images[1] = b.Images[0]
	for _, image := range b.Images[0] {
		b.Labels = append(b.Labels, l.Set.Labels[image])
	}
	if l.partners != nil {
		rng := rand.New(rand.NewPCG(mix(l.Seed, streamPartners), uint64(step)))
		b.Images[1] = make([]int, l.Pairs)
		for i, class := range b.Labels {
			p := l.partners[class]
			b.Images[1][i] = p[rng.IntN(len(p))]
		}
	}
	return b
}

// order returns the permutation of an epoch, the latest of which is kept.
func (l *Loader) order(epoch int) []int {
	if l.permutation == nil || l.epoch != epoch {
		l.epoch = epoch
		l.permutation = rand.New(rand.NewPCG(mix(l.Seed, streamOrder), uint64(epoch))).Perm(len(l.first))
	}
	return l.permutation
}

// Instances returns the number of the image of each pair: all that a method that
// sees no classes can know of which pairs are the same. It is for a loss whose
// negatives may contain an image twice, and nil if none is.
func (b *Batch) Instances() []int {
	if b.Pairs <= len(b.loader.first) {
		return nil
	}
	return b.Images[0]
}

// Views returns the views of all pairs: first those of the first images, then
// those of the second. They are valid until the next call for any batch.
func (b *Batch) Views() contrastive.Matrix {
	l := b.loader
	if l.views.Rows != 2*b.Pairs {
		l.views = contrastive.NewMatrix(2*b.Pairs, len(l.Set.Pixels[0]))
	}
	first, second := halves(l.views)
	b.Load(first, 0, 0)
	b.Load(second, 1, 0)
	return l.views
}

// Load draws the views of the first (0) or second (1) images of pairs lo and
// following into the rows of x. Drawn again they are the same.
func (b *Batch) Load(x contrastive.Matrix, view, lo int) {
	images := b.Images[view][lo : lo+x.Rows]
	drawViews(x, b.loader.Set, b.loader.Augmentation, images, func(i int) uint64 {
		return mix(b.loader.Seed, streamViews, uint64(b.Step), uint64(view), uint64(lo+i))
	})
}

// drawViews draws a view of each of the images into the rows of x, from the seed
// that each has.
func drawViews(x contrastive.Matrix, set *data.Set, a data.Augmentation, images []int, seed func(i int) uint64) {
	workers := min(runtime.GOMAXPROCS(0), x.Rows)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			source := rand.NewPCG(0, 0)
			rng := rand.New(source)
			for i := w; i < x.Rows; i += workers {
				source.Seed(seed(i), 0)
				a.View(x.Row(i), set, images[i], rng)
			}
		})
	}
	wg.Wait()
}
