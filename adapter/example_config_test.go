package adapter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/adapter"
)

// The names are those of command lines and files.
func ExampleKind() {
	for _, k := range []adapter.Kind{adapter.Linear, adapter.LowRank, adapter.MLP} {
		fmt.Println(k)
	}
	// Output:
	// linear
	// low-rank
	// mlp
}

// The first leaves an index of documents as it is; after the others it is made anew.
func ExampleSides() {
	for _, s := range []adapter.Sides{adapter.Queries, adapter.Both, adapter.Shared} {
		fmt.Println(s)
	}
	// Output:
	// queries
	// both
	// shared
}

// Training is watched, and what came of it is in the adapter.
func ExampleProgress() {
	const n, dim = 40, 4
	rng := rand.New(rand.NewPCG(1, 2))
	queries, documents := contrastive.NewMatrix(n, dim), contrastive.NewMatrix(n, dim)
	for i := range queries.Data {
		queries.Data[i], documents.Data[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
	}
	config := adapter.Config{
		Kind: adapter.LowRank, Rank: 2, Sides: adapter.Both, Epochs: 2, BatchSize: 20, ValidationShare: -1,
		Progress: func(p adapter.Progress) {
			fmt.Printf("step %d of %d, epoch %d of %d\n", p.Step, p.Steps, p.Epoch, p.Epochs)
		},
	}
	a, err := adapter.Fit(context.Background(), adapter.Data{Queries: queries, Documents: documents}, config)
	if err != nil {
		fmt.Println(err)
		return
	}
	var training adapter.Training = a.Training
	fmt.Println(a.Kind, a.Sides, training.Pairs, "pairs,", training.Steps, "steps")
	// Output:
	// step 0 of 4, epoch 0 of 2
	// step 1 of 4, epoch 0 of 2
	// step 2 of 4, epoch 0 of 2
	// step 2 of 4, epoch 1 of 2
	// step 3 of 4, epoch 1 of 2
	// step 4 of 4, epoch 1 of 2
	// step 4 of 4, epoch 2 of 2
	// low-rank both 40 pairs, 4 steps
}

// A reader is a file, or what a server sends. Damage is noticed.
func ExampleRead() {
	data, err := os.ReadFile("testdata/adapter.safetensors")
	if err != nil {
		fmt.Println(err)
		return
	}
	a, err := adapter.Read(bytes.NewReader(data))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(a.Dim(), a.Kind, a.Sides)
	data[len(data)-1] ^= 1
	_, err = adapter.Read(bytes.NewReader(data))
	fmt.Println(errors.Is(err, adapter.ErrFormat))
	// Output:
	// 4 linear queries
	// true
}
