package mpi_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/mpi"
)

// A program that mpirun starts once for each rank evaluates CLIP over the rows of all of
// them, here 1,000 of each.
func Example() {
	world, err := mpi.Init()
	if err != nil {
		log.Fatal(err)
	}
	defer world.Close()
	fmt.Println("rank", world.Rank(), "of", world.Size(), "by", mpi.Library())

	q, k := contrastive.NewMatrix(1000, 128), contrastive.NewMatrix(1000, 128) // from an encoder
	dq, dk := contrastive.NewMatrix(1000, 128), contrastive.NewMatrix(1000, 128)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	loss := contrastive.Sharded{Loss: contrastive.CLIP{}, Collective: world, Ring: true}
	r, err := loss.Eval(ctx, contrastive.Batch{Query: q, Key: k}, contrastive.Gradients{Query: dq, Key: dk})
	if err != nil {
		log.Print(err)
		world.Abort(1)
	}
	fmt.Println("loss", r.Loss)
}

// Gradients of parameters are summed over the ranks, and are the same bits on all.
func ExampleWorld() {
	world, err := mpi.Init()
	if err != nil {
		log.Fatal(err)
	}
	defer world.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	gradient := []float32{float32(world.Rank()), 1}
	if err := world.AllReduce(ctx, gradient); err != nil {
		log.Fatal(err)
	}
	fmt.Println(gradient[1] == float32(world.Size()))
}
