package evaluate

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive"
)

// clusters returns points around the corners of a simplex, one for each class.
func clusters(r *rand.Rand, classes, perClass, dim int, noise float64) (contrastive.Matrix, []int) {
	x := contrastive.NewMatrix(classes*perClass, dim)
	labels := make([]int, x.Rows)
	for i := range x.Rows {
		labels[i] = i % classes
		for j := range dim {
			x.Row(i)[j] = float32(noise * r.NormFloat64())
		}
		x.Row(i)[labels[i]]++
	}
	return x, labels
}

func split(noise float64) Split {
	const classes, dim = 10, 24
	r := rand.New(rand.NewPCG(1, 2))
	s := Split{Classes: classes}
	s.Train, s.TrainLabels = clusters(r, classes, 20, dim, noise)
	s.Test, s.TestLabels = clusters(r, classes, 12, dim, noise)
	return s
}

func accuracies(t *testing.T, s Split) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	add := func(name string, v float64, err error) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = v
	}
	v, err := NearestNeighbour(s)
	add("1-NN", v, err)
	v, err = WeightedKNN(s, 10, 0.1)
	add("kNN", v, err)
	v, err = LinearProbe(s, 1)
	add("linear probe", v, err)
	v, _, err = FewShot(s, 5, 4, 1)
	add("few-shot", v, err)
	v, err = ZeroShot(s.Test, contrastive.Matrix{Rows: s.Classes, Cols: s.Train.Cols, Stride: s.Train.Stride, Data: s.Train.Data}, s.TestLabels)
	add("zero-shot", v, err)
	return all
}

// Classes that lie apart are told apart, and those that do not, by chance.
func TestAccuracies(t *testing.T) {
	for name, v := range accuracies(t, split(0.01)) {
		if v != 1 {
			t.Errorf("%s of classes that lie apart is %v", name, v)
		}
	}
	s := split(1)
	for i := range s.Train.Rows {
		s.Train.Row(i)[s.TrainLabels[i]]-- // nothing but noise
	}
	for name, v := range accuracies(t, s) {
		if v > 0.25 { // of 10 classes, with 120 test points
			t.Errorf("%s of noise is %v", name, v)
		}
	}
}

// The linear probe does not depend on the scales and means of features.
func TestLinearProbeScales(t *testing.T) {
	s := split(0.4)
	plain, err := LinearProbe(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []contrastive.Matrix{s.Train, s.Test} {
		for i := range x.Rows {
			for j := range x.Row(i) {
				x.Row(i)[j] = x.Row(i)[j]*float32(math.Exp2(float64(j-10))) + float32(j)
			}
		}
	}
	scaled, err := LinearProbe(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LinearProbe(s, 1)
	if plain < 0.5 || plain == 1 || math.Abs(scaled-plain) > 0.02 || again != scaled || err != nil {
		t.Errorf("accuracy is %v, with other scales %v and then %v, %v", plain, scaled, again, err)
	}
}

func TestFewShot(t *testing.T) {
	s := split(0.25)
	one, sd, err := FewShot(s, 1, 10, 3)
	if err != nil {
		t.Fatal(err)
	}
	five, _, err := FewShot(s, 5, 10, 3)
	if err != nil {
		t.Fatal(err)
	}
	if !(five > one) || sd <= 0 || one > 1 {
		t.Errorf("accuracy is %v ± %v with one label and %v with five", one, sd, five)
	}
	if again, _, _ := FewShot(s, 1, 10, 3); again != one {
		t.Errorf("the same seed gives %v and %v", one, again)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(s *Split)
		want   error
	}{
		{"no images", func(s *Split) { s.Test = contrastive.Matrix{}; s.TestLabels = nil }, contrastive.ErrEmpty},
		{"labels", func(s *Split) { s.TrainLabels = s.TrainLabels[1:] }, contrastive.ErrShape},
		{"columns", func(s *Split) { s.Test = contrastive.NewMatrix(120, 3) }, contrastive.ErrShape},
		{"data", func(s *Split) { s.Train.Data = s.Train.Data[1:] }, contrastive.ErrShape},
		{"class", func(s *Split) { s.TestLabels[3] = 10 }, contrastive.ErrParameter},
		{"NaN", func(s *Split) { s.Train.Row(7)[1] = float32(math.NaN()) }, contrastive.ErrNotFinite},
	} {
		s := split(0.1)
		c.change(&s)
		if _, err := NearestNeighbour(s); !errors.Is(err, c.want) {
			t.Errorf("%s: error is %v, want %v", c.name, err, c.want)
		}
		if _, _, err := FewShot(s, 1, 1, 1); !errors.Is(err, c.want) {
			t.Errorf("%s: error of FewShot is %v, want %v", c.name, err, c.want)
		}
		if _, err := LinearProbe(s, 1); !errors.Is(err, c.want) {
			t.Errorf("%s: error of LinearProbe is %v, want %v", c.name, err, c.want)
		}
	}
	if _, _, err := FewShot(split(0.1), 21, 1, 1); !errors.Is(err, contrastive.ErrShape) {
		t.Errorf("more labels than images: %v", err)
	}
	if _, _, err := FewShot(split(0.1), 0, 1, 1); !errors.Is(err, contrastive.ErrParameter) {
		t.Errorf("no labels: %v", err)
	}
}
