// Recommender trains tables of users and items, with and without logQ (Yi et al., 2019).
package main

import (
	"errors"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"sort"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
	"github.com/contrastive-go/contrastive/retrieval"
	"github.com/contrastive-go/contrastive/simd"
)

const manyUsers, manyItems, choices, dim, batch, epochs = 2000, 1000, 20, 32, 500, 12

func main() {
	without, err1 := train(false)
	with, err2 := train(true)
	if err := errors.Join(err1, err2); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("of %d held-out choices %.3f are among ten of %d items, without logQ %.3f\n", manyUsers, with, manyItems, without)
}

func train(corrected bool) (recall float64, err error) {
	rng := rand.New(rand.NewPCG(1, 2))
	users, items, heldOut := choose(rng)
	user, item := nn.NewEmbedding(manyUsers, dim, rng), nn.NewEmbedding(manyItems, dim, rng)
	user.Sparse, item.Sparse = true, true
	optimizer := &nn.Adagrad{Params: nn.Params(user, item)}
	logQ := make([]float32, manyItems)
	if corrected {
		logQ = nn.LogQ(items, manyItems)
	}
	sampler := nn.Sampler{Rows: len(items), Size: batch}
	dq, dk := contrastive.NewMatrix(batch, dim), contrastive.NewMatrix(batch, dim)
	for step := range epochs * sampler.Steps() {
		rows := sampler.Batch(step)
		keys := nn.Pick(items, rows)
		q, qErr := user.Forward(nn.Pick(users, rows))
		k, kErr := item.Forward(keys)
		_, err := contrastive.InfoNCE{Temperature: 0.1}.Eval(
			contrastive.Batch{Query: q, Key: k, KeyLogQ: nn.Pick(logQ, keys), Labels: keys}, // popular items are negatives most often
			contrastive.Gradients{Query: dq, Key: dk})
		if err := errors.Join(qErr, kErr, err); err != nil {
			return 0, err
		}
		user.Backward(dq)
		item.Backward(dk)
		if err := optimizer.Step(0.1); err != nil {
			return 0, err
		}
	}
	ranking, err := retrieval.Rank(user.Table(), item.Table(), retrieval.Relevance{Keys: heldOut}, retrieval.Options{}, 10)
	if err == nil {
		recall = ranking.Recall[0]
	}
	return recall, err
}

// choose draws pairs of a user and an item, by taste and popularity, and one more item for each user.
func choose(rng *rand.Rand) (users, items []int, heldOut [][]int) {
	taste, kind := nn.NewEmbedding(manyUsers, 8, rng).Table(), nn.NewEmbedding(manyItems, 8, rng).Table()
	weight := make([]float64, manyItems+1)
	draw := func() int { return sort.SearchFloat64s(weight, weight[manyItems]*(1-rng.Float64())) - 1 }
	for u := range manyUsers {
		for j := range manyItems {
			weight[j+1] = weight[j] + math.Exp(4*float64(simd.Dot(taste.Row(u), kind.Row(j))))/float64(j+1)
		}
		for range choices {
			users, items = append(users, u), append(items, draw())
		}
		heldOut = append(heldOut, []int{draw()})
	}
	return users, items, heldOut
}
