// Package nn has what an encoder on top of vectors or features is made of: layers with
// their gradients, optimisers, and checkpoints. It has no graph: a program calls Forward,
// a loss of package contrastive, and Backward, and sees every matrix on the way.
//
//	encoder := nn.Sequential{nn.NewLinear(384, 256, true, rng), &nn.ReLU{}, nn.NewLinear(256, 128, true, rng)}
//	optimizer := &nn.AdamW{Params: nn.Params(encoder), WeightDecay: 0.01}
//	for step := range steps {
//		z := encoder.Forward(x, true) // both views, one under the other
//		result, err := contrastive.NTXent{}.Eval(
//			contrastive.Batch{Query: z.Slice(0, n), Key: z.Slice(n, 2*n)},
//			contrastive.Gradients{Query: dz.Slice(0, n), Key: dz.Slice(n, 2*n)})
//		…
//		encoder.Backward(dz, false)
//		err = optimizer.Step(contrastive.WarmupCosine(1e-3, step, 10, steps))
//	}
//
// Matrices are row-major float32, a row for each example. Products are those of package
// blas; sums over rows that are not products are in float64 unless a layer says
// otherwise. Results are the same bits for any number of workers, and after the first
// batch of its size nothing allocates memory.
//
// A tower that encodes several sides of a batch, such as queries and keys, takes them
// in one matrix, as above: one call of Forward, one of Backward.
//
// # Errors
//
// Shapes that do not fit are errors of the program and panic. What comes from data or
// settings, such as an index, a learning rate or a gradient that is not finite, is an
// error that begins with "nn: ", names the argument, and wraps
// [contrastive.ErrShape], [contrastive.ErrParameter] or [contrastive.ErrNotFinite]. A NaN
// in a matrix goes through all layers, to the loss that refuses it.
package nn
