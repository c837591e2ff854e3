package contrastive_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"math"
	"os"
	"path/filepath"
	"sync"

	"github.com/contrastive-go/contrastive"
)

// The target encoder has as many tensors as the online encoder.
func ExampleMomentumUpdates() {
	target, online := [][]float32{{0, 0}, {1}}, [][]float32{{1, 2}, {3}}
	if err := contrastive.MomentumUpdates(target, online, 0.5); err != nil {
		log.Fatal(err)
	}
	fmt.Println(target)
	// Output: [[0.5 1] [2]]
}

// All ranks of MoCo enqueue the keys of all, and their queues stay equal.
func ExampleQueue_EnqueueAll() {
	var wg sync.WaitGroup
	queues := make([]*contrastive.Queue, 2)
	for rank, group := range contrastive.NewLocalGroup(2) {
		wg.Go(func() {
			keys := contrastive.NewMatrix(1+rank, 2)
			for i := range keys.Data {
				keys.Data[i] = float32(i + 1)
			}
			queue, err := contrastive.NewQueue(8, 2)
			if err == nil {
				err = queue.EnqueueAll(context.Background(), group, keys)
			}
			if err != nil {
				fmt.Println(err)
			}
			queues[rank] = queue
		})
	}
	wg.Wait()
	fmt.Println(queues[0].Len(), queues[1].Len())
	// Output: 3 3
}

// A training loop leaves out rows that the encoder has spoilt.
func ExampleNotFiniteError() {
	nan := float32(math.NaN())
	b := contrastive.Batch{
		Query: contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, nan}},
		Key:   contrastive.Matrix{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 0, 0, 1}},
	}
	_, err := contrastive.CLIP{}.Eval(b, contrastive.Gradients{})
	var bad *contrastive.NotFiniteError
	if errors.As(err, &bad) {
		fmt.Println(bad.Argument, bad.Row, bad.Col)
	}
	fmt.Println(errors.Is(err, contrastive.ErrNotFinite), err)
	// Output:
	// Query 1 1
	// true contrastive: CLIP: Query row 1 column 1 is NaN: not finite
}

// The options of all losses are a field that they share.
func ExampleOptions() {
	loss := contrastive.NTXent{
		Temperature: 0.1,
		Options:     contrastive.Options{Workers: 4, Precision: contrastive.High},
	}
	fmt.Println(loss.Workers, loss.Precision)
	// Output: 4 High
}

// The queue and the encoder's parameters are in one file, so that they are of one step.
func ExampleQueue_MarshalBinary() {
	type checkpoint struct {
		Step       int
		Parameters [][]float32
		Queue      *contrastive.Queue
	}
	queue, err := contrastive.NewQueue(4, 2)
	if err != nil {
		log.Fatal(err)
	}
	if err := queue.Enqueue(contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{3, 4}}); err != nil {
		log.Fatal(err)
	}

	var file bytes.Buffer
	if err := gob.NewEncoder(&file).Encode(checkpoint{100, [][]float32{{1, 2}}, queue}); err != nil {
		log.Fatal(err)
	}
	var restored checkpoint
	if err := gob.NewDecoder(&file).Decode(&restored); err != nil {
		log.Fatal(err)
	}
	fmt.Println(restored.Step, restored.Parameters, restored.Queue.Keys().Row(0))
	// Output: 100 [[1 2]] [0.6 0.8]
}

// A queue that exists becomes the one that was written, and stays as it is after an error.
func ExampleQueue_UnmarshalBinary() {
	old, err := contrastive.NewQueue(4, 2)
	if err != nil {
		log.Fatal(err)
	}
	if err := old.Enqueue(contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{3, 4}}); err != nil {
		log.Fatal(err)
	}
	data, err := old.MarshalBinary()
	if err != nil {
		log.Fatal(err)
	}
	var queue contrastive.Queue
	if err := queue.UnmarshalBinary(data); err != nil {
		log.Fatal(err)
	}
	fmt.Println(queue.Len(), queue.Keys().Row(0))
	fmt.Println(queue.UnmarshalBinary(data[1:]) != nil, queue.Len())
	// Output:
	// 1 [0.6 0.8]
	// true 1
}

// A file that has lost its end is told from one that is not there.
func ExampleLoadQueue() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "queue")
	for _, damage := range []func(){
		func() {},
		func() {
			queue, err := contrastive.NewQueue(4, 2)
			if err != nil {
				log.Fatal(err)
			}
			if err := queue.Save(path); err != nil {
				log.Fatal(err)
			}
			if err := os.Truncate(path, 20); err != nil {
				log.Fatal(err)
			}
		},
	} {
		damage()
		_, err := contrastive.LoadQueue(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			fmt.Println("begin with an empty queue")
		case errors.Is(err, contrastive.ErrCorrupt):
			fmt.Println("take the backup")
		}
	}
	// Output:
	// begin with an empty queue
	// take the backup
}

// BYOL's target follows more and more slowly.
func ExampleCosineSchedule() {
	for _, step := range []int{0, 50, 100} {
		fmt.Printf("%.3f\n", contrastive.CosineSchedule(0.996, 1, step, 100))
	}
	// Output:
	// 0.996
	// 0.998
	// 1.000
}
