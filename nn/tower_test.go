package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive"
)

// TestTower: a step in chunks has the gradients of one in a piece. Those are sums over
// rows in another order: n terms, each within some 100 roundings of the same.
func TestTower(t *testing.T) {
	const n = 11
	rng := newRand(41)
	encoder := Sequential{NewLinear(5, 8, true, rng), &GELU{}, NewLayerNorm(8), NewLinear(8, 4, true, rng)}
	x, y := random(rng, n, 5), random(rng, n, 5)
	loss := contrastive.CLIP{Temperature: 0.5}

	both := contrastive.NewMatrix(2*n, 5)
	for i := range n {
		copy(both.Row(i), x.Row(i))
		copy(both.Row(n+i), y.Row(i))
	}
	z := encoder.Forward(both, true)
	dz := contrastive.NewMatrix(2*n, 4)
	want, err := loss.Eval(contrastive.Batch{Query: z.Slice(0, n), Key: z.Slice(n, 2*n)},
		contrastive.Gradients{Query: dz.Slice(0, n), Key: dz.Slice(n, 2*n)})
	if err != nil {
		t.Fatal(err)
	}
	encoder.Backward(dz, false)
	whole := slices.Clone(slices.Concat(Grads(encoder)...))
	for _, p := range encoder.Params() {
		p.ZeroGrad()
	}

	cache := contrastive.GradientCache{Loss: loss, Chunk: 4}
	got, err := cache.Step(contrastive.Towers{Query: Tower(encoder, x), Key: Tower(encoder, y)}, contrastive.Batch{})
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(got.Loss-want.Loss) > 1e-6 {
		t.Errorf("loss %v, want %v", got.Loss, want.Loss)
	}
	var size float64
	for _, g := range whole {
		size = max(size, math.Abs(float64(g)))
	}
	for i, g := range slices.Concat(Grads(encoder)...) {
		if d := math.Abs(float64(g - whole[i])); d > 2*n*100*u*size {
			t.Errorf("gradient %d is %v, want %v", i, g, whole[i])
		}
	}
}

// TestTowerDropout: what is dropped is the same in both passes over a chunk, and not in
// two towers or steps.
func TestTowerDropout(t *testing.T) {
	x := ones(6, 50)
	d := &Dropout{P: 0.5, Seed: 3}
	net := Sequential{Sequential{d}}
	var seen [][]float32
	for range 2 {
		for _, tower := range []contrastive.Tower{Tower(net, x), Tower(net, x)} {
			for lo := 0; lo < 6; lo += 2 {
				z := contrastive.NewMatrix(2, 50)
				if err := tower.Encode(lo, lo+2, z); err != nil {
					t.Fatal(err)
				}
				seen = append(seen, z.Data)
			}
			for lo := 0; lo < 6; lo += 2 {
				if err := tower.Backward(lo, lo+2, ones(2, 50)); err != nil {
					t.Fatal(err)
				}
				if want := seen[len(seen)-3+lo/2]; !slices.Equal(d.y.Data, want) {
					t.Errorf("rows from %d drop something else the second time", lo)
				}
			}
		}
	}
	for i, a := range seen {
		for _, b := range seen[:i] {
			if slices.Equal(a, b) {
				t.Error("two chunks drop the same")
			}
		}
	}
	mustPanic(t, "nn: Tower: BatchNorm", func() { Tower(Sequential{NewBatchNorm(50, true)}, x) })
}
