package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestFunctions compares the functions of groups with those of package math, which are
// within 1 ulp, or 2·u, of the exact ones.
func TestFunctions(t *testing.T) {
	uniform := func(from, to float64) func(r *rand.Rand) float64 {
		return func(r *rand.Rand) float64 { return from + (to-from)*r.Float64() }
	}
	power := func(from, to float64) func(r *rand.Rand) float64 {
		return func(r *rand.Rand) float64 { return math.Exp2(from + (to-from)*r.Float64()) }
	}
	eachKernels(t, func(t *testing.T, k *Kernels) {
		for _, c := range []struct {
			name    string
			f       func(x *Group, n int)
			want    func(x float64) float64
			bound   float64
			args    []func(r *rand.Rand) float64
			special []float64
		}{
			{"Exp", k.Exp, math.Exp, 4, []func(r *rand.Rand) float64{uniform(-708, 709), uniform(-1, 1), power(-60, 0)},
				[]float64{-708, -1, -0x1p-60, 0, 0x1p-1074, math.Ln2 / 2, math.Ln2, 709}},
			{"Log", k.Log, math.Log, 6, []func(r *rand.Rand) float64{power(-1022, 1023), uniform(0.5, 2), func(r *rand.Rand) float64 { return 1 + math.Exp2(-52*r.Float64())*(r.Float64()-0.5) }},
				[]float64{0x1p-1022, math.Sqrt2 / 2, math.Nextafter(math.Sqrt2/2, 0), 1 - 0x1p-53, 1, 1 + 0x1p-52, math.Sqrt2, math.Nextafter(math.Sqrt2, 2), math.MaxFloat64}},
			{"Log1p", k.Log1p, math.Log1p, 5, []func(r *rand.Rand) float64{uniform(0, 1), power(-1070, 0)},
				[]float64{0, 0x1p-1074, 0x1p-1022, 0x1p-60, 1 - 0x1p-53, 1}},
		} {
			r := rand.New(rand.NewPCG(1, 2))
			for n := range len(Group{}) + 1 {
				for _, arg := range c.args {
					var args, x Group
					for i := range args {
						if args[i] = arg(r); i < len(c.special) {
							args[i] = c.special[i]
						}
					}
					x = args
					c.f(&x, n)
					for i, v := range args[:n] {
						want := c.want(v)
						if err := math.Abs(x[i] - want); !(err <= (c.bound+2)*u64*math.Abs(want)+0x1p-1074) {
							t.Fatalf("%s(%v) is %v, want %v: error %.2f·u, bound %v·u", c.name, v, x[i], want, err/math.Abs(want)/u64, c.bound)
						}
					}
					for i := (n + groupStep - 1) / groupStep * groupStep; i < len(x); i++ {
						if x[i] != args[i] {
							t.Fatalf("%s of %d numbers writes to number %d", c.name, n, i)
						}
					}
					// A number's bits depend on nothing else.
					for i := range x[:n] {
						var alone Group
						alone[0] = args[i]
						if c.f(&alone, 1); alone[0] != x[i] {
							t.Fatalf("%s(%v) is %v alone and %v in place %d", c.name, args[i], alone[0], x[i], i)
						}
					}
				}
			}
		}
	})
}
