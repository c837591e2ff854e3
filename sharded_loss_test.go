package contrastive_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/ref"
)

// TestShardedInGradientCache has ranks whose encoders work in chunks: Backward gets the
// bits of Sharded.Eval on all embeddings.
func TestShardedInGradientCache(t *testing.T) {
	r := rand.New(rand.NewPCG(63, 1))
	const inputs, dim = 9, 6
	rows := []int{5, 1, 8}
	weights := [2]contrastive.Matrix{losstest.Normal(r, inputs, dim), losstest.Normal(r, inputs, dim)}
	var x [3][2]contrastive.Matrix
	for i, n := range rows {
		x[i] = [2]contrastive.Matrix{losstest.Normal(r, n, inputs), losstest.Normal(r, n, inputs)}
	}
	for _, way := range shardWays {
		onRanks(contrastive.NewLocalGroup(3), func(rank int, c contrastive.Collective) {
			n := rows[rank]
			s := contrastive.Sharded{Loss: contrastive.CLIP{Temperature: 0.1}, Collective: c, Ring: way.ring}
			whole := [2]*linearTower{newLinearTower(x[rank][0], weights[0]), newLinearTower(x[rank][1], weights[1])}
			b := contrastive.Batch{Query: contrastive.NewMatrix(n, dim), Key: contrastive.NewMatrix(n, dim)}
			whole[0].encode(0, n, b.Query)
			whole[1].encode(0, n, b.Key)
			g := losstest.Destinations(b)
			want, err := s.Eval(t.Context(), b, g)
			if err != nil {
				t.Errorf("%s: rank %d: %v", way.name, rank, err)
				return
			}
			whole[0].backward(0, n, g.Query)
			whole[1].backward(0, n, g.Key)

			chunks := [2]*linearTower{newLinearTower(x[rank][0], weights[0]), newLinearTower(x[rank][1], weights[1])}
			cache := contrastive.GradientCache{Loss: s.In(t.Context()), Chunk: 3}
			got, err := cache.Step(contrastive.Towers{Query: chunks[0].tower(), Key: chunks[1].tower()}, contrastive.Batch{})
			if err != nil || got != want {
				t.Errorf("%s: rank %d: %+v, %v, want %+v", way.name, rank, got, err, want)
				return
			}
			for side := range chunks {
				for i, v := range chunks[side].grad {
					losstest.Within(t, "parameter gradient", v, whole[side].grad[i], float64(n)*0x1p-53*whole[side].absolute[i])
				}
			}
		})
	}
}

// TestShardedComposite has ranks train three towers by Matryoshka over InfoNCE with hard
// negatives of some queries and a filter, in chunks: the sum of their gradients of the
// parameters is that of the direct step on the whole batch, within the errors that the
// oracle's masses bound.
func TestShardedComposite(t *testing.T) {
	const inputs, dim = 9, 6
	counts := [][]int{{2, 0, 1, 0, 3}, {0}, {1, 1, 0, 0, 2, 0, 0, 1}}
	inner := ref.InfoNCE{Temperature: 0.1, InBatch: true, Filter: ref.AbsoluteMargin, FilterMargin: -0.0625}
	oracle := ref.Matryoshka{Loss: inner, Dims: []int{2, 6, 4}, Weights: []float64{0.5, 1, 0.75}}
	unfiltered := inner
	unfiltered.Filter, unfiltered.FilterMargin = ref.NoFilter, 0
	r := rand.New(rand.NewPCG(67, 1))
	var weights [3]contrastive.Matrix
	var x [3]contrastive.Matrix // of all ranks
	var c shardedTrial
	var s bounds
	for ok := false; !ok; s, ok = newBounds(c.parts, c.batch, contrastive.Highest) {
		var b contrastive.Batch
		for _, list := range counts {
			b.HardCounts = append(b.HardCounts, list...)
		}
		hard := 0
		for _, n := range b.HardCounts {
			hard += n
		}
		for k, m := range [...]*contrastive.Matrix{&b.Query, &b.Key, &b.Hard} {
			weights[k] = losstest.Normal(r, inputs, dim)
			x[k] = losstest.Normal(r, [...]int{len(b.HardCounts), len(b.HardCounts), hard}[k], inputs)
			*m = contrastive.NewMatrix(x[k].Rows, dim)
			if err := newLinearTower(x[k], weights[k]).encode(0, x[k].Rows, *m); err != nil {
				t.Fatal(err)
			}
		}
		c = shardedTrial{generalTrial: newGeneralTrial(t, "composite", oracle, losstest.Reference(b))}
		for k := range c.parts {
			c.parts[k].ranks = len(counts)
		}
	}
	if unfiltered.Eval(c.reference).Loss == inner.Eval(c.reference).Loss {
		t.Fatal("the filter leaves out nothing")
	}
	loss := lossOf(oracle, options{}).(contrastive.Matryoshka)
	direct := c.destinations()
	one := losstest.Eval(t, c.name, loss, c.batch, direct)

	for _, way := range shardWays {
		for _, outside := range [...]bool{false, true} {
			name := fmt.Sprintf("%s, Matryoshka outside: %t", way.name, outside)
			towers := make([][3]*linearTower, len(counts))
			results := make([]contrastive.Result, len(counts))
			onRanks(contrastive.NewLocalGroup(len(counts)), func(rank int, group contrastive.Collective) {
				first, firstHard := 0, 0
				for _, list := range counts[:rank] {
					first += len(list)
					firstHard += sum(list)
				}
				end, endHard := first+len(counts[rank]), firstHard+sum(counts[rank])
				var all contrastive.Towers
				for k, tower := range [...]*contrastive.Tower{&all.Query, &all.Key, &all.Hard} {
					ends := [...][2]int{{first, end}, {first, end}, {firstHard, endHard}}[k]
					rows := x[k].Slice(ends[0], ends[1])
					towers[rank][k] = newLinearTower(rows, weights[k])
					if rows.Rows > 0 {
						*tower = towers[rank][k].tower()
					}
				}
				l := contrastive.Sharded{Loss: loss, Collective: group, Ring: way.ring}.In(t.Context())
				if outside {
					each := loss
					each.Loss = contrastive.Sharded{Loss: loss.Loss, Collective: group, Ring: way.ring}.In(t.Context())
					l = each
				}
				var err error
				results[rank], err = contrastive.GradientCache{Loss: l, Chunk: 3}.Step(all, contrastive.Batch{HardCounts: counts[rank]})
				if err != nil {
					t.Errorf("%s: rank %d: %v", name, rank, err)
				}
			})
			for rank, got := range results {
				if got != results[0] {
					t.Errorf("%s: rank %d has %+v, rank 0 has %+v", name, rank, got, results[0])
				}
				losstest.Within(t, name+": Loss", got.Loss, one.Loss, 2*s.loss)
				losstest.Within(t, name+": TemperatureGrad", got.TemperatureGrad, one.TemperatureGrad, 2*s.temperature)
			}
			for k, wants := range [...][][]float64{c.want.Query, c.want.Key, c.want.Hard} {
				whole := newLinearTower(x[k], weights[k])
				if err := whole.backward(0, x[k].Rows, losstest.Outputs(direct)[[...]int{0, 1, 3}[k]]); err != nil {
					t.Fatal(err)
				}
				for p := range whole.grad {
					got, bound := 0.0, float64(x[k].Rows)*0x1p-52*whole.absolute[p]
					for rank := range towers {
						got += towers[rank][k].grad[p]
					}
					for i, want := range wants {
						size := 0.0
						for _, w := range want {
							size = math.Hypot(size, w)
						}
						bound += 2 * math.Abs(float64(x[k].Row(i)[p/dim])) * (s.rows[[...]int{0, 1, 3}[k]][i] + u*size)
					}
					losstest.Within(t, fmt.Sprintf("%s: gradient of parameter %d of tower %d", name, p, k), got, whole.grad[p], bound)
				}
			}
		}
	}
}

func sum(x []int) int {
	n := 0
	for _, v := range x {
		n += v
	}
	return n
}

// TestShardedInFailure has an encoder fail on one rank, which then ends the context that
// the ranks share: the others, which wait for it in the loss, must return.
func TestShardedInFailure(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	onRanks(contrastive.NewLocalGroup(3), func(rank int, c contrastive.Collective) {
		tower := contrastive.Tower{Rows: 2, Dim: 3, Encode: func(lo, hi int, z contrastive.Matrix) error {
			if rank == 1 {
				return errInjected
			}
			return nil
		}}
		s := contrastive.Sharded{Loss: contrastive.CLIP{}, Collective: c}
		_, err := contrastive.GradientCache{Loss: s.In(ctx)}.Step(contrastive.Towers{Query: tower, Key: tower}, contrastive.Batch{})
		if rank == 1 {
			cancel(err)
		}
		if !errors.Is(err, errInjected) {
			t.Errorf("rank %d: %v, want %v", rank, err, errInjected)
		}
	})
}
