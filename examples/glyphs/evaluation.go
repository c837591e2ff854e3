package main

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/examples/glyphs/data"
	"github.com/contrastive-go/contrastive/examples/glyphs/evaluate"
	"github.com/contrastive-go/contrastive/examples/glyphs/report"
	"github.com/contrastive-go/contrastive/simd"
)

// Scores are called so in tables.
const (
	scoreNearest = "1-NN"
	scoreKNN     = "kNN"
	scoreLinear  = "linear probe"
	scoreOne     = "1 label"
	scoreFive    = "5 labels"
	scoreZero    = "zero-shot"
)

var scoreNames = []string{scoreNearest, scoreKNN, scoreLinear, scoreOne, scoreFive, scoreZero}

const (
	neighbours        = 20 // a training set has about as many images of a class
	votingTemperature = 0.07
	fewShotDraws      = 10

	// Views of each glyph that are evaluated. Upright glyphs in the middle of
	// their image are too easy to tell methods apart.
	trainViews, testViews = 2, 4

	// Of image files so many are evaluated, as they are.
	trainImages, testImages = 5000, 2000
)

// An Evaluator measures representations of images that no method was trained on.
// All are measured on the same views.
type Evaluator struct {
	train, test             *data.Set
	trainIndex, testIndex   []int // images in the rows of the matrices
	trainImages, testImages contrastive.Matrix
}

// NewEvaluator draws the views that are evaluated.
func NewEvaluator(train, test *data.Set, files bool) *Evaluator {
	e := &Evaluator{train: train, test: test}
	if files {
		e.trainIndex = spread(len(train.Pixels), trainImages)
		e.testIndex = spread(len(test.Pixels), testImages)
		e.trainImages, e.testImages = plain(train, e.trainIndex), plain(test, e.testIndex)
		return e
	}
	for range trainViews {
		e.trainIndex = append(e.trainIndex, spread(len(train.Pixels), len(train.Pixels))...)
	}
	for range testViews {
		e.testIndex = append(e.testIndex, spread(len(test.Pixels), len(test.Pixels))...)
	}
	draw := func(set *data.Set, images []int, which uint64) contrastive.Matrix {
		x := contrastive.NewMatrix(len(images), len(set.Pixels[0]))
		drawViews(x, set, data.Default, images, func(i int) uint64 { return mix(streamEvaluation, which, uint64(i)) })
		return x
	}
	e.trainImages, e.testImages = draw(train, e.trainIndex, 0), draw(test, e.testIndex, 1)
	return e
}

// fewShotNote says what a deviation in the scores of one run is.
var fewShotNote = fmt.Sprintf("± is the standard deviation over %d draws of the labelled images.", fewShotDraws)

// heldOut says what is evaluated.
func (e *Evaluator) heldOut() string {
	if len(e.testIndex) > len(e.test.Pixels) {
		return fmt.Sprintf("%d held-out images of %d classes, each in %d distorted views", len(e.test.Pixels), len(e.test.Classes), len(e.testIndex)/len(e.test.Pixels))
	}
	return fmt.Sprintf("%d held-out images of %d classes", len(e.testIndex), len(e.test.Classes))
}

// spread returns at most limit indices below n, evenly spread.
func spread(n, limit int) []int {
	count := min(n, limit)
	index := make([]int, count)
	for i := range index {
		index[i] = i * n / count
	}
	return index
}

func plain(set *data.Set, images []int) contrastive.Matrix {
	x := contrastive.NewMatrix(len(images), len(set.Pixels[0]))
	for i, image := range images {
		data.Plain(x.Row(i), set, image)
	}
	return x
}

func labelsOf(set *data.Set, images []int) []int {
	labels := make([]int, len(images))
	for i, image := range images {
		labels[i] = set.Labels[image]
	}
	return labels
}

// encode returns f of the rows of x, some at a time.
func encode(x contrastive.Matrix, f func(contrastive.Matrix) contrastive.Matrix) contrastive.Matrix {
	const chunk = 512
	var all contrastive.Matrix
	for lo := 0; lo < x.Rows; lo += chunk {
		h := f(x.Slice(lo, min(lo+chunk, x.Rows)))
		if lo == 0 {
			all = contrastive.NewMatrix(x.Rows, h.Cols)
		}
		for i := range h.Rows {
			copy(all.Row(lo+i), h.Row(i))
		}
	}
	return all
}

// split returns the representations and labels to be evaluated.
func (e *Evaluator) split(f func(contrastive.Matrix) contrastive.Matrix) evaluate.Split {
	return evaluate.Split{
		Train: encode(e.trainImages, f), TrainLabels: labelsOf(e.train, e.trainIndex),
		Test: encode(e.testImages, f), TestLabels: labelsOf(e.test, e.testIndex),
		Classes: len(e.train.Classes),
	}
}

// Pixels scores the images themselves.
func (e *Evaluator) Pixels(seed uint64) ([]report.Score, error) {
	return e.scores(e.split(func(x contrastive.Matrix) contrastive.Matrix { return x }), seed)
}

// Method scores a method, and returns the representations of the test images.
func (e *Evaluator) Method(m Method, seed uint64) ([]report.Score, contrastive.Matrix, error) {
	split := e.split(m.Represent)
	scores, err := e.scores(split, seed)
	if err != nil {
		return nil, contrastive.Matrix{}, err
	}
	if z, ok := m.(ZeroShooter); ok {
		zero, err := e.zeroShot(z)
		if err != nil {
			return nil, contrastive.Matrix{}, err
		}
		scores = append(scores, report.Score{Name: scoreZero, Value: zero})
	}
	return scores, split.Test, nil
}

func (e *Evaluator) scores(s evaluate.Split, seed uint64) ([]report.Score, error) {
	var scores []report.Score
	add := func(name string, value, sd float64, err error) error {
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		scores = append(scores, report.Score{Name: name, Value: value, SD: sd})
		return nil
	}
	nearest, err := evaluate.NearestNeighbour(s)
	if err := add(scoreNearest, nearest, 0, err); err != nil {
		return nil, err
	}
	knn, err := evaluate.WeightedKNN(s, min(neighbours, s.Train.Rows), votingTemperature)
	if err := add(scoreKNN, knn, 0, err); err != nil {
		return nil, err
	}
	linear, err := evaluate.LinearProbe(s, seed)
	if err := add(scoreLinear, linear, 0, err); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name     string
		perClass int
	}{{scoreOne, 1}, {scoreFive, 5}} {
		mean, sd, err := evaluate.FewShot(s, f.perClass, fewShotDraws, seed)
		if err := add(f.name, mean, sd, err); err != nil {
			return nil, err
		}
	}
	return scores, nil
}

// zeroShot classifies the test images of each modality by the classes' mean
// embeddings of training images in the other, and returns the mean accuracy.
func (e *Evaluator) zeroShot(m ZeroShooter) (float64, error) {
	var sum, directions float64
	for side := range 2 {
		var queries []int
		for i, image := range e.testIndex {
			if modality(e.test, image) == side {
				queries = append(queries, i)
			}
		}
		if len(queries) == 0 {
			continue // no held-out font is of this family
		}
		embed := func(side int) func(contrastive.Matrix) contrastive.Matrix {
			return func(x contrastive.Matrix) contrastive.Matrix { return m.Embed(side, x) }
		}
		q := encode(pick(e.testImages, queries), embed(side))
		prompts := contrastive.NewMatrix(len(e.train.Classes), q.Cols)
		z := encode(e.trainImages, embed(1-side))
		for i, image := range e.trainIndex {
			if modality(e.train, image) == 1-side {
				unit := z.Row(i)
				simd.Normalize(unit, unit)
				simd.Axpy(1, unit, prompts.Row(e.train.Labels[image]))
			}
		}
		labels := make([]int, len(queries))
		for i, row := range queries {
			labels[i] = e.test.Labels[e.testIndex[row]]
		}
		accuracy, err := evaluate.ZeroShot(q, prompts, labels)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", scoreZero, err)
		}
		sum += accuracy
		directions++
	}
	return sum / directions, nil
}

func pick(x contrastive.Matrix, index []int) contrastive.Matrix {
	p := contrastive.NewMatrix(len(index), x.Cols)
	for i, row := range index {
		copy(p.Row(i), x.Row(row))
	}
	return p
}

// similarities returns cosines of test representations: of images of one class,
// and of images of two.
func (e *Evaluator) similarities(h contrastive.Matrix) (positive, negative []float64) {
	const pairs = 4000
	labels := labelsOf(e.test, e.testIndex)
	byClass := map[int][]int{}
	for i, class := range labels {
		byClass[class] = append(byClass[class], i)
	}
	rng := rand.New(rand.NewPCG(mix(streamEvaluation), 2))
	for range pairs {
		i := rng.IntN(len(labels))
		if same := byClass[labels[i]]; len(same) > 1 {
			at := slices.Index(same, i)
			j := same[(at+1+rng.IntN(len(same)-1))%len(same)]
			positive = append(positive, float64(simd.Cosine(h.Row(i), h.Row(j))))
		}
		if j := rng.IntN(len(labels)); labels[j] != labels[i] {
			negative = append(negative, float64(simd.Cosine(h.Row(i), h.Row(j))))
		}
	}
	return positive, negative
}
