package contrastive_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/losstest"
)

// A linearTower embeds the rows of its inputs by one matrix, in float64, and
// keeps the sums of the absolute values of its gradient's terms.
type linearTower struct {
	inputs   contrastive.Matrix
	weights  contrastive.Matrix // inputs × embedding
	grad     []float64
	absolute []float64
	calls    []string
}

func newLinearTower(inputs, weights contrastive.Matrix) *linearTower {
	n := weights.Rows * weights.Cols
	return &linearTower{inputs: inputs, weights: weights, grad: make([]float64, n), absolute: make([]float64, n)}
}

func (l *linearTower) tower() contrastive.Tower {
	return contrastive.Tower{Rows: l.inputs.Rows, Dim: l.weights.Cols, Encode: l.encode, Backward: l.backward}
}

func (l *linearTower) encode(lo, hi int, z contrastive.Matrix) error {
	l.calls = append(l.calls, fmt.Sprintf("encode %d-%d", lo, hi))
	for i := lo; i < hi; i++ {
		for j := range z.Cols {
			var sum float64
			for k, x := range l.inputs.Row(i) {
				sum += float64(x) * float64(l.weights.Row(k)[j])
			}
			z.Row(i - lo)[j] = float32(sum)
		}
	}
	return nil
}

func (l *linearTower) backward(lo, hi int, dz contrastive.Matrix) error {
	l.calls = append(l.calls, fmt.Sprintf("backward %d-%d", lo, hi))
	for i := lo; i < hi; i++ {
		for k, x := range l.inputs.Row(i) {
			for j, d := range dz.Row(i - lo) {
				l.grad[k*dz.Cols+j] += float64(x) * float64(d)
				l.absolute[k*dz.Cols+j] += math.Abs(float64(x) * float64(d))
			}
		}
	}
	return nil
}

// Chunks change nothing: the loss sees the same bits, and the gradients of the
// parameters are the same sums in float64, in another order.
func TestGradientCacheIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 1))
	const n, inputs, dim = 50, 20, 12
	queries, keys := losstest.Normal(r, n, inputs), losstest.Normal(r, n, inputs)
	weights := [2]contrastive.Matrix{losstest.Normal(r, inputs, dim), losstest.Normal(r, inputs, dim)}
	labels := make([]int, n)
	for i := range labels {
		labels[i] = r.IntN(n / 2)
	}
	loss := contrastive.CLIP{Temperature: 0.1}
	step := func(chunk int) (contrastive.Result, [2]*linearTower) {
		towers := [2]*linearTower{newLinearTower(queries, weights[0]), newLinearTower(keys, weights[1])}
		result, err := contrastive.GradientCache{Loss: loss, Chunk: chunk}.Step(contrastive.Towers{Query: towers[0].tower(), Key: towers[1].tower()}, contrastive.Batch{Labels: labels})
		if err != nil {
			t.Fatal(err)
		}
		return result, towers
	}

	whole := [2]*linearTower{newLinearTower(queries, weights[0]), newLinearTower(keys, weights[1])}
	b := contrastive.Batch{Query: contrastive.NewMatrix(n, dim), Key: contrastive.NewMatrix(n, dim), Labels: labels}
	whole[0].encode(0, n, b.Query)
	whole[1].encode(0, n, b.Key)
	g := losstest.Destinations(b)
	want := losstest.Eval(t, "CLIP", loss, b, g)
	whole[0].backward(0, n, g.Query)
	whole[1].backward(0, n, g.Key)

	for _, chunk := range []int{0, 1, 7, 25, 49, 50, 51} {
		got, towers := step(chunk)
		if got != want {
			t.Errorf("chunks of %d: result %+v, want %+v", chunk, got, want)
		}
		for side, tower := range towers {
			for i, v := range tower.grad {
				losstest.Within(t, "parameter gradient", v, whole[side].grad[i], n*0x1p-53*whole[side].absolute[i])
			}
		}
	}

	_, towers := step(20)
	if got, want := strings.Join(towers[0].calls, ", "), "encode 0-20, encode 20-40, encode 40-50, backward 0-20, backward 20-40, backward 40-50"; got != want {
		t.Errorf("calls are %s, want %s", got, want)
	}
}

// The default chunk is of 256 inputs.
func TestGradientCacheDefaultChunk(t *testing.T) {
	r := rand.New(rand.NewPCG(63, 1))
	query, key := newLinearTower(losstest.Normal(r, 300, 2), losstest.Normal(r, 2, 2)), newLinearTower(losstest.Normal(r, 300, 2), losstest.Normal(r, 2, 2))
	if _, err := (contrastive.GradientCache{Loss: contrastive.CLIP{}}).Step(contrastive.Towers{Query: query.tower(), Key: key.tower()}, contrastive.Batch{}); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(query.calls, ", "), "encode 0-256, encode 256-300, backward 0-256, backward 256-300"; got != want {
		t.Errorf("calls are %s, want %s", got, want)
	}
}

// What the towers are given is theirs to write to, and nothing else: rows of zeros,
// whatever the step before has left, and no memory beyond the chunk.
func TestGradientCacheGives(t *testing.T) {
	r := rand.New(rand.NewPCG(62, 1))
	const n, dim = 10, 4
	for _, chunk := range []int{3, 5, n} {
		cache := contrastive.GradientCache{Loss: contrastive.CLIP{}, Chunk: chunk}
		query, key := newLinearTower(losstest.Normal(r, n, 6), losstest.Normal(r, 6, dim)), newLinearTower(losstest.Normal(r, n, 6), losstest.Normal(r, 6, dim))
		fits := func(call string, lo, hi int, m contrastive.Matrix) {
			if want := (hi - lo) * dim; m.Rows != hi-lo || m.Cols != dim || len(m.Data) != want || cap(m.Data) != want {
				t.Errorf("%s %d to %d: %d×%d, %d elements of %d", call, lo, hi-1, m.Rows, m.Cols, len(m.Data), cap(m.Data))
			}
		}
		tower := query.tower()
		tower.Encode = func(lo, hi int, z contrastive.Matrix) error {
			fits("Encode", lo, hi, z)
			for i, v := range z.Data {
				if v != 0 {
					t.Errorf("Encode %d to %d: row %d is given with %v", lo, hi-1, lo+i/dim, v)
					break
				}
			}
			if err := query.encode(lo, hi, z); err != nil {
				return err
			}
			if lo == 0 {
				clear(z.Row(1)) // as if it had been left alone
			}
			return nil
		}
		tower.Backward = func(lo, hi int, dz contrastive.Matrix) error {
			fits("Backward", lo, hi, dz)
			for d, v := range dz.Row(0) {
				if lo+1 < hi && lo == 0 && dz.Row(1)[d] != 0 || math.IsNaN(float64(v)) {
					t.Errorf("the gradients of rows 0 and 1 are %v and %v", dz.Row(0), dz.Row(1))
				}
			}
			return nil
		}
		for range 3 {
			if _, err := cache.Step(contrastive.Towers{Query: tower, Key: key.tower()}, contrastive.Batch{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// MoCo's keys take no gradient, and a loss may have no keys at all.
func TestGradientCacheOfOneTower(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 1))
	query, key := newLinearTower(losstest.Normal(r, 10, 6), losstest.Normal(r, 6, 4)), newLinearTower(losstest.Normal(r, 10, 6), losstest.Normal(r, 6, 4))
	still := key.tower()
	still.Backward = nil
	queue := losstest.NewQueue(t, 32, losstest.Normal(r, 20, 4))
	if _, err := (contrastive.GradientCache{Loss: contrastive.InfoNCE{}, Chunk: 4}).Step(contrastive.Towers{Query: query.tower(), Key: still}, contrastive.Batch{Queue: queue}); err != nil {
		t.Fatal(err)
	}
	if len(key.calls) != 3 || len(query.calls) != 6 {
		t.Errorf("calls are %v and %v", query.calls, key.calls)
	}
	labels := make([]int, 10)
	if _, err := (contrastive.GradientCache{Loss: contrastive.SupCon{}}).Step(contrastive.Towers{Query: query.tower()}, contrastive.Batch{Labels: labels}); err != nil {
		t.Error(err)
	}
}

func TestGradientCacheErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 1))
	failure := errors.New("out of paper")
	for _, c := range []struct {
		name   string
		change func(c *contrastive.GradientCache, query, key *contrastive.Tower, b *contrastive.Batch)
		want   error
		part   string
	}{
		{"no loss", func(c *contrastive.GradientCache, _, _ *contrastive.Tower, _ *contrastive.Batch) { c.Loss = nil }, contrastive.ErrParameter, "Loss is nil"},
		{"chunk", func(c *contrastive.GradientCache, _, _ *contrastive.Tower, _ *contrastive.Batch) { c.Chunk = -1 }, contrastive.ErrParameter, "Chunk is -1"},
		{"query given", func(_ *contrastive.GradientCache, _, _ *contrastive.Tower, b *contrastive.Batch) {
			b.Query = losstest.Normal(r, 8, 4)
		}, contrastive.ErrParameter, "has a Query"},
		{"key given without a tower", func(_ *contrastive.GradientCache, _, k *contrastive.Tower, b *contrastive.Batch) {
			*k, b.Key = contrastive.Tower{}, losstest.Normal(r, 8, 4)
		}, contrastive.ErrParameter, "has a Key"},
		{"no encoder", func(_ *contrastive.GradientCache, q, _ *contrastive.Tower, _ *contrastive.Batch) { q.Encode = nil }, contrastive.ErrParameter, "Query has no Encode"},
		{"no rows", func(_ *contrastive.GradientCache, _, k *contrastive.Tower, _ *contrastive.Batch) { k.Rows = 0 }, contrastive.ErrEmpty, "Key has 0 rows of 4"},
		{"negative", func(_ *contrastive.GradientCache, q, _ *contrastive.Tower, _ *contrastive.Batch) { q.Dim = -4 }, contrastive.ErrShape, "8 rows of -4"},
		{"too large", func(_ *contrastive.GradientCache, q, _ *contrastive.Tower, _ *contrastive.Batch) {
			q.Rows, q.Dim = math.MaxInt, 2
		}, contrastive.ErrShape, "no memory"},
		{"sizes differ", func(_ *contrastive.GradientCache, _, k *contrastive.Tower, _ *contrastive.Batch) { k.Rows = 6 }, contrastive.ErrShape, "Key is 6×4, Query is 8×4"},
		{"encode fails", func(_ *contrastive.GradientCache, _, k *contrastive.Tower, _ *contrastive.Batch) {
			encode := k.Encode
			k.Encode = func(lo, hi int, z contrastive.Matrix) error {
				if lo == 3 {
					return failure
				}
				return encode(lo, hi, z)
			}
		}, failure, "Key rows 3 to 5 not encoded"},
		{"not finite", func(_ *contrastive.GradientCache, q, _ *contrastive.Tower, _ *contrastive.Batch) {
			encode := q.Encode
			q.Encode = func(lo, hi int, z contrastive.Matrix) error {
				err := encode(lo, hi, z)
				if lo == 6 {
					z.Row(1)[2] = float32(math.NaN())
				}
				return err
			}
		}, contrastive.ErrNotFinite, "GradientCache: CLIP: Query row 7 column 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, k := newLinearTower(losstest.Normal(r, 8, 6), losstest.Normal(r, 6, 4)), newLinearTower(losstest.Normal(r, 8, 6), losstest.Normal(r, 6, 4))
			cache, query, key, b := contrastive.GradientCache{Loss: contrastive.CLIP{}, Chunk: 3}, q.tower(), k.tower(), contrastive.Batch{}
			c.change(&cache, &query, &key, &b)
			_, err := cache.Step(contrastive.Towers{Query: query, Key: key}, b)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.part) || !called(err, "GradientCache") {
				t.Fatalf("error is %v, want %v with %q", err, c.want, c.part)
			}
			for _, call := range append(q.calls, k.calls...) {
				if strings.HasPrefix(call, "backward") {
					t.Errorf("%s in spite of the error", call)
				}
			}
		})
	}

	q, k := newLinearTower(losstest.Normal(r, 8, 6), losstest.Normal(r, 6, 4)), newLinearTower(losstest.Normal(r, 8, 6), losstest.Normal(r, 6, 4))
	key := k.tower()
	key.Backward = func(lo, hi int, dz contrastive.Matrix) error { return failure }
	_, err := contrastive.GradientCache{Loss: contrastive.CLIP{}, Chunk: 3}.Step(contrastive.Towers{Query: q.tower(), Key: key}, contrastive.Batch{})
	if !errors.Is(err, failure) || !strings.Contains(err.Error(), "Key rows 0 to 2 not differentiated") {
		t.Errorf("error is %v", err)
	}
}
