package engine

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive/internal/isa/isatest"
)

// TestSoftplus compares it with log1p and exp of package math, each of which is within 2·u
// of the exact one, and 1 + e^x within 1·u.
func TestSoftplus(t *testing.T) {
	const u = 0x1p-53
	special := []float64{math.Inf(-1), -1e300, -745.2, -720, -700.1, -700, -1, -0x1p-60, 0, 0x1p-1074, 0x1p-60, 1, 36, 37, 700, 701, 1e300, math.Inf(1), math.NaN()}
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, size := range []float64{0.1, 1, 10, 300} {
			for n := range len(Group{}) + 1 {
				var x, value, slope Group
				for i := range x {
					if x[i] = size * r.NormFloat64(); i < len(special) && n%2 == 0 {
						x[i] = special[i]
					}
				}
				Softplus(&x, &value, &slope, n)
				for i, x := range x[:n] {
					e := math.Exp(-math.Abs(x))
					wantValue, wantSlope := max(x, 0)+math.Log1p(e), 1/(1+e)
					if x < 0 {
						wantSlope = e / (1 + e)
					}
					for _, c := range [...]struct {
						what      string
						got, want float64
					}{{"value", value[i], wantValue}, {"slope", slope[i], wantSlope}} {
						if !(math.Abs(c.got-c.want) <= (10+5)*u*c.want) && math.Float64bits(c.got) != math.Float64bits(c.want) && (c.got == c.got || c.want == c.want) {
							t.Fatalf("%s at %v is %v, want %v", c.what, x, c.got, c.want)
						}
					}
				}
			}
		}
	})
}
