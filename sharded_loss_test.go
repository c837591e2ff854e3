package contrastive_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/losstest"
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
