package gomlx_test

import (
	"fmt"
	"log"
	"math/rand/v2"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/gomlx"
	"github.com/contrastive-go/contrastive/simd"
	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/ml/train/optimizer"
)

// An encoder learns two views of the same points by NT-Xent. The function mlp builds its
// graph, and views draws a batch.
func Example() {
	backend, err := gobackend.New("ops_sequential")
	if err != nil {
		log.Fatal(err)
	}
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(1); err != nil {
		log.Fatal(err)
	}
	trainer := gomlx.NewTrainer(backend, store, optimizer.Adam().LearningRate(1e-2).Done())
	encoder, err := trainer.NewEncoder("/encoder", mlp)
	if err != nil {
		log.Fatal(err)
	}
	step := func(x, y []float32) (contrastive.Result, error) {
		q, err := encoder.Encode(rows(x))
		if err != nil {
			return contrastive.Result{}, err
		}
		k, err := encoder.Encode(rows(y))
		if err != nil {
			return contrastive.Result{}, err
		}
		dq, dk := contrastive.NewMatrix(32, embedding), contrastive.NewMatrix(32, embedding)
		r, err := contrastive.NTXent{}.Eval(
			contrastive.Batch{Query: q.Embeddings, Key: k.Embeddings},
			contrastive.Gradients{Query: dq, Key: dk})
		if err != nil {
			return r, err
		}
		if err := q.Backward(dq); err != nil {
			return r, err
		}
		if err := k.Backward(dk); err != nil {
			return r, err
		}
		return r, trainer.Step()
	}
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 101 {
		r, err := step(views(random, 32))
		if err != nil {
			log.Fatal(err)
		}
		if n%100 == 0 {
			fmt.Printf("step %d: loss %.1f\n", n, r.Loss)
		}
	}
	// Output:
	// step 0: loss 3.7
	// step 100: loss 3.5
}

// A batch of 64 pairs is encoded 16 at a time, by two encoders.
func ExampleEncoder_Tower() {
	trainer, _ := newTrainer()
	x, y := views(rand.New(rand.NewPCG(1, 2)), 64)
	tower := func(scope string, of []float32) contrastive.Tower {
		e, err := trainer.NewEncoder(scope, mlp)
		if err != nil {
			log.Fatal(err)
		}
		return e.Tower(64, embedding, func(lo, hi int) ([]*tensors.Tensor, error) {
			return []*tensors.Tensor{rows(of[lo*inputs : hi*inputs])}, nil
		})
	}
	towers := contrastive.Towers{Query: tower("/query", x), Key: tower("/key", y)}
	cache := contrastive.GradientCache{Loss: contrastive.CLIP{}, Chunk: 16}
	var first, last contrastive.Result
	for n := range 20 {
		var err error
		if last, err = cache.Step(towers, contrastive.Batch{}); err != nil {
			log.Fatal(err)
		}
		if err := trainer.Step(); err != nil {
			log.Fatal(err)
		}
		if n == 0 {
			first = last
		}
	}
	fmt.Println(last.Loss < first.Loss/2)
	// Output: true
}

// An encoder of one's own is a function that builds its graph.
func ExampleEncoderFunc() {
	trainer, _ := newTrainer()
	var unit gomlx.EncoderFunc = func(scope *model.Scope, in []*graph.Node) *graph.Node {
		return graph.L2Normalize(mlp(scope, in), -1)
	}
	encoder, err := trainer.NewEncoder("/unit", unit)
	if err != nil {
		log.Fatal(err)
	}
	x, _ := views(rand.New(rand.NewPCG(1, 2)), 2)
	z, err := encoder.Embed(rows(x))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d×%d, of norms %.3f and %.3f\n", z.Rows, z.Cols, simd.Norm(z.Row(0)), simd.Norm(z.Row(1)))
	// Output: 2×16, of norms 1.000 and 1.000
}

// Both views have passed before the loss is known, and then each goes back.
func ExamplePass() {
	trainer, _ := newTrainer()
	encoder, err := trainer.NewEncoder("/encoder", mlp)
	if err != nil {
		log.Fatal(err)
	}
	x, y := views(rand.New(rand.NewPCG(1, 2)), 8)
	var passes [2]*gomlx.Pass
	for i, view := range [][]float32{x, y} {
		if passes[i], err = encoder.Encode(rows(view)); err != nil {
			log.Fatal(err)
		}
	}
	gradients := contrastive.Gradients{Query: contrastive.NewMatrix(8, embedding), Key: contrastive.NewMatrix(8, embedding)}
	_, err = contrastive.NTXent{}.Eval(contrastive.Batch{Query: passes[0].Embeddings, Key: passes[1].Embeddings}, gradients)
	if err != nil {
		log.Fatal(err)
	}
	for i, dz := range []contrastive.Matrix{gradients.Query, gradients.Key} {
		if err := passes[i].Backward(dz); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(trainer.Step())
	// Output: <nil>
}

// MoCo: queries by an online encoder, keys by a momentum encoder, which takes no gradient,
// and then into a queue.
func ExampleMomentumUpdate() {
	trainer, store := newTrainer()
	online, err := trainer.NewEncoder("/online", mlp)
	if err != nil {
		log.Fatal(err)
	}
	target, err := trainer.NewEncoder("/target", mlp)
	if err != nil {
		log.Fatal(err)
	}
	queue, err := contrastive.NewQueue(4096, embedding)
	if err != nil {
		log.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 4 {
		x, y := views(random, 32)
		query, err := online.Encode(rows(x))
		if err != nil {
			log.Fatal(err)
		}
		if n == 0 { // the variables of both exist now, or with their first embeddings
			if _, err := target.Embed(rows(y)); err != nil {
				log.Fatal(err)
			}
			if err := gomlx.MomentumUpdate(store, "/target", "/online", 0); err != nil { // a copy
				log.Fatal(err)
			}
		}
		keys, err := target.Embed(rows(y))
		if err != nil {
			log.Fatal(err)
		}
		dq := contrastive.NewMatrix(32, embedding)
		_, err = contrastive.InfoNCE{InBatch: true}.Eval(
			contrastive.Batch{Query: query.Embeddings, Key: keys, Queue: queue},
			contrastive.Gradients{Query: dq})
		if err != nil {
			log.Fatal(err)
		}
		if err := query.Backward(dq); err != nil {
			log.Fatal(err)
		}
		if err := trainer.Step(); err != nil {
			log.Fatal(err)
		}
		if err := gomlx.MomentumUpdate(store, "/target", "/online", 0.99); err != nil {
			log.Fatal(err)
		}
		if err := queue.Enqueue(keys); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(queue.Len(), "keys after", optimizer.GetGlobalStep(store), "steps")
	// Output: 128 keys after 4 steps
}

// newTrainer returns a trainer with Adam and its store.
func newTrainer() (*gomlx.Trainer, *model.Store) {
	backend, err := gobackend.New("ops_sequential")
	if err != nil {
		log.Fatal(err)
	}
	store := model.NewStore()
	if err := store.SetRNGStateFromSeed(1); err != nil {
		log.Fatal(err)
	}
	return gomlx.NewTrainer(backend, store, optimizer.Adam().LearningRate(1e-2).Done()), store
}
