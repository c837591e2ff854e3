// Package evaluate measures frozen representations by what little it takes to
// classify with them.
package evaluate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
	"github.com/contrastive-go/contrastive/simd"
	"gonum.org/v1/gonum/stat"
)

// A Split is the representations and classes of training and test images.
type Split struct {
	Train, Test             contrastive.Matrix
	TrainLabels, TestLabels []int
	Classes                 int
}

func (s Split) check() error {
	switch {
	case s.Train.Rows == 0 || s.Test.Rows == 0:
		return fmt.Errorf("%d training and %d test images: %w", s.Train.Rows, s.Test.Rows, contrastive.ErrEmpty)
	case s.Train.Rows != len(s.TrainLabels) || s.Test.Rows != len(s.TestLabels) || s.Train.Cols != s.Test.Cols:
		return fmt.Errorf("training images are %d×%d with %d labels, test images %d×%d with %d: %w", s.Train.Rows, s.Train.Cols, len(s.TrainLabels),
			s.Test.Rows, s.Test.Cols, len(s.TestLabels), contrastive.ErrShape)
	}
	for _, part := range []struct {
		name   string
		x      contrastive.Matrix
		labels []int
	}{{"Train", s.Train, s.TrainLabels}, {"Test", s.Test, s.TestLabels}} {
		if x := part.x; x.Stride < x.Cols || len(x.Data) < (x.Rows-1)*x.Stride+x.Cols {
			return fmt.Errorf("%s is %d×%d with a stride of %d and %d elements of Data: %w", part.name, x.Rows, x.Cols, x.Stride, len(x.Data), contrastive.ErrShape)
		}
		for i, l := range part.labels {
			if l < 0 || l >= s.Classes {
				return fmt.Errorf("%sLabels: element %d is %d of %d classes: %w", part.name, i, l, s.Classes, contrastive.ErrParameter)
			}
			for j, v := range part.x.Row(i) {
				if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
					return fmt.Errorf("%s: row %d, column %d is %v: %w", part.name, i, j, v, contrastive.ErrNotFinite)
				}
			}
		}
	}
	return nil
}

// accuracy returns the share of labels that are those predicted.
func accuracy(predicted, labels []int) float64 {
	right := 0
	for i, l := range labels {
		if predicted[i] == l {
			right++
		}
	}
	return float64(right) / float64(len(labels))
}

// NearestNeighbour classifies by the most similar training image.
func NearestNeighbour(s Split) (float64, error) { return WeightedKNN(s, 1, 1) }

// WeightedKNN classifies by the votes of the k most similar training images: Wu,
// Xiong, Yu and Lin, "Unsupervised Feature Learning via Non-Parametric Instance
// Discrimination" (2018), section 3.4.
func WeightedKNN(s Split, k int, temperature float64) (float64, error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	predicted, err := contrastive.KNN(s.Train, s.TrainLabels, s.Test, k, temperature)
	if err != nil {
		return 0, err
	}
	return accuracy(predicted, s.TestLabels), nil
}

// LinearProbe classifies by multinomial logistic regression.
func LinearProbe(s Split, seed uint64) (float64, error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	return s.logistic(seed)
}

// FewShot classifies by the most similar mean of perClass training images, drawn
// at random from each class, of unit norm: Snell, Swersky and Zemel, "Prototypical
// Networks for Few-shot Learning" (2017), section 2.2, with the cosine. It returns
// the mean accuracy of some draws and its standard deviation.
func FewShot(s Split, perClass, draws int, seed uint64) (mean, sd float64, err error) {
	if err := s.check(); err != nil {
		return 0, 0, err
	}
	if perClass < 1 || draws < 1 {
		return 0, 0, fmt.Errorf("FewShot: perClass is %d and draws is %d, and both must be positive: %w", perClass, draws, contrastive.ErrParameter)
	}
	byClass := make([][]int, s.Classes)
	for i, l := range s.TrainLabels {
		byClass[l] = append(byClass[l], i)
	}
	for l, images := range byClass {
		if n := len(images); n > 0 && n < perClass {
			return 0, 0, fmt.Errorf("FewShot: class %d has %d training images of the %d to draw: %w", l, n, perClass, contrastive.ErrShape)
		}
	}
	r := rand.New(rand.NewPCG(seed, uint64(perClass)))
	var scores []float64
	unit := make([]float32, s.Train.Cols)
	for range draws {
		prototypes := contrastive.NewMatrix(s.Classes, s.Train.Cols)
		for l, images := range byClass {
			for _, k := range r.Perm(len(images))[:min(perClass, len(images))] {
				simd.Normalize(unit, s.Train.Row(images[k]))
				simd.Axpy(1, unit, prototypes.Row(l))
			}
		}
		score, err := ZeroShot(s.Test, prototypes, s.TestLabels)
		if err != nil {
			return 0, 0, err
		}
		scores = append(scores, score)
	}
	if draws == 1 {
		return scores[0], 0, nil
	}
	mean, sd = stat.MeanStdDev(scores, nil)
	return mean, sd, nil
}

// ZeroShot classifies each query by the most similar prompt, of which there is one
// for each class.
func ZeroShot(query, prompts contrastive.Matrix, labels []int) (float64, error) {
	if query.Rows != len(labels) {
		return 0, fmt.Errorf("ZeroShot: query has %d rows, labels %d elements: %w", query.Rows, len(labels), contrastive.ErrShape)
	}
	index, _, err := contrastive.TopK(query, prompts, 1)
	if err != nil {
		return 0, err
	}
	predicted := make([]int, len(index))
	for i, best := range index {
		predicted[i] = best[0]
	}
	return accuracy(predicted, labels), nil
}

// logistic trains on features of mean 0 and deviation 1 by Adam on all images at a
// time, with weight decay, for a number of steps that is enough for the examples'
// sets. The seed is that of the first weights.
func (s Split) logistic(seed uint64) (float64, error) {
	const (
		steps = 200
		rate  = 0.02
		decay = 1e-3
	)
	train, test := s.standardised()
	r := rand.New(rand.NewPCG(seed, 0))
	classifier := nn.NewLinear(train.Cols, s.Classes, false, r)
	w := classifier.Weight
	for i := range w.Value {
		w.Value[i] = float32(0.01 * r.NormFloat64())
	}
	optimizer := &nn.AdamW{Params: classifier.Params()}
	for range steps {
		logits := classifier.Forward(train, true)
		for i, l := range s.TrainLabels {
			row := logits.Row(i)
			softmax(row)
			row[l]--
			simd.ScaleTo(row, row, 1/float64(train.Rows))
		}
		classifier.Backward(logits, false)
		simd.Axpy(decay, w.Value, w.Grad)
		if err := optimizer.Step(rate); err != nil {
			return 0, err
		}
	}
	logits := classifier.Forward(test, false)
	predicted := make([]int, test.Rows)
	for i := range predicted {
		row := logits.Row(i)
		predicted[i] = slices.Index(row, slices.Max(row))
	}
	return accuracy(predicted, s.TestLabels), nil
}

func softmax(x []float32) {
	sum := simd.ExpSum(x, x, 1, slices.Max(x))
	for i := range x {
		x[i] /= sum
	}
}

// standardised returns the features less their mean over the training images and
// divided by their deviation, and a last feature that is 1.
func (s Split) standardised() (train, test contrastive.Matrix) {
	const epsilon = 1e-5
	dim := s.Train.Cols
	mean, deviation := make([]float64, dim), make([]float64, dim)
	column := make([]float64, s.Train.Rows)
	for d := range dim {
		for i := range column {
			column[i] = float64(s.Train.Row(i)[d])
		}
		mean[d], deviation[d] = stat.PopMeanStdDev(column, nil)
	}
	apply := func(x contrastive.Matrix) contrastive.Matrix {
		y := contrastive.NewMatrix(x.Rows, dim+1)
		for i := range x.Rows {
			for d, v := range x.Row(i) {
				y.Row(i)[d] = float32((float64(v) - mean[d]) / (deviation[d] + epsilon))
			}
			y.Row(i)[dim] = 1
		}
		return y
	}
	return apply(s.Train), apply(s.Test)
}
