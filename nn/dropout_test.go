package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive"
)

func ones(rows, cols int) contrastive.Matrix {
	m := contrastive.NewMatrix(rows, cols)
	for i := range m.Data {
		m.Data[i] = 1
	}
	return m
}

func TestDropout(t *testing.T) {
	const rows, cols, p = 100, 333, 0.2
	x := ones(rows, cols)
	l := &Dropout{P: p, Seed: 1}
	if y := l.Forward(x, false); !slices.Equal(y.Data, x.Data) {
		t.Error("it drops outside of training")
	}

	first := slices.Clone(l.Forward(x, true).Data)
	dropped := 0
	for i, v := range first {
		switch v {
		case 0:
			dropped++
		case 1.25:
		default:
			t.Fatalf("element %d is %v, want 0 or 1/(1−P)", i, v)
		}
	}
	// Five deviations of a binomial distribution.
	if d := math.Abs(float64(dropped) - p*rows*cols); d > 5*math.Sqrt(p*(1-p)*rows*cols) {
		t.Errorf("%d of %d elements are dropped, want a share of %g", dropped, rows*cols, p)
	}
	// What neighbours, in a row and in a column, have in common is p², if they are
	// independent.
	var right, below int
	for i := range rows - 1 {
		for j := range cols - 1 {
			if first[i*cols+j] == 0 {
				if first[i*cols+j+1] == 0 {
					right++
				}
				if first[(i+1)*cols+j] == 0 {
					below++
				}
			}
		}
	}
	pairs := float64((rows - 1) * (cols - 1))
	for _, n := range []int{right, below} {
		if math.Abs(float64(n)-p*p*pairs) > 6*math.Sqrt(p*p*pairs) {
			t.Errorf("%d of %g pairs of neighbours are dropped, want a share of %g", n, pairs, p*p)
		}
	}

	// The gradient is dropped where the output is.
	if dx := l.Backward(x, true); !slices.Equal(dx.Data, first) {
		t.Error("gradients are not dropped as the outputs are")
	}
	second := slices.Clone(l.Forward(x, true).Data)
	if slices.Equal(first, second) {
		t.Error("two passes drop the same")
	}
	if l.Draws() != 2 {
		t.Errorf("%d draws, want 2", l.Draws())
	}
	l.Seek(0)
	if y := l.Forward(x, true); !slices.Equal(y.Data, first) {
		t.Error("the first pass again drops something else")
	}
	l.Seek(1<<40 + 12345)
	if l.Draws() != 1<<40+12345 {
		t.Errorf("%d draws after Seek", l.Draws())
	}
	other := &Dropout{P: p, Seed: 2}
	if y := other.Forward(x, true); slices.Equal(y.Data, first) {
		t.Error("two seeds drop the same")
	}
	none := &Dropout{}
	if y := none.Forward(x, true); !slices.Equal(y.Data, x.Data) {
		t.Error("P = 0 drops")
	}
}
