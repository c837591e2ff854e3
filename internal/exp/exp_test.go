package exp

import (
	"math"
	"testing"

	"github.com/contrastive-go/contrastive/internal/floattest"
)

func TestExponentials(t *testing.T) {
	floattest.EachFloat32(func(x []float32) {
		for _, v := range x {
			floattest.CheckExp(t, "Exp2", v, Exp2(v), math.Exp2(float64(v)), 4)
			floattest.CheckExp(t, "Exp", v, Exp(v), math.Exp(float64(v)), 4)
		}
	})
}
