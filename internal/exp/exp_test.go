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

// TestLeast checks where results round to 0, and to the least number before.
func TestLeast(t *testing.T) {
	least := float32(math.SmallestNonzeroFloat32)
	for _, c := range []struct {
		name      string
		got, want float32
	}{
		{"2^-149", Exp2(-149), least},
		{"2^-149.5", Exp2(-149.5), least},
		{"2^-150 and less", Exp2(-150), 0},
		{"e^-103.5", Exp(-103.5), least}, // 2^-149.3
		{"e^-104", Exp(-104), 0},         // 2^-150.04
	} {
		if c.got != c.want {
			t.Errorf("%s is %v, want %v", c.name, c.got, c.want)
		}
	}
}
