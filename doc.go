// Package contrastive computes contrastive-learning losses and their gradients
// on the CPU, without cgo and without holding the matrix of similarities.
//
// A loss is a plain struct of hyper-parameters whose zero fields mean the values
// of its paper. It is evaluated on a [Batch] of embeddings and fills in the
// [Gradients] that are wanted:
//
//	dq, dk := contrastive.NewMatrix(n, d), contrastive.NewMatrix(n, d)
//	r, err := contrastive.CLIP{Temperature: tau}.Eval(
//		contrastive.Batch{Query: images, Key: texts},
//		contrastive.Gradients{Query: dq, Key: dk})
//
// The embeddings are raw: losses normalise rows, and gradients flow back through
// the normalisation to what the encoder returned. Feed dq and dk to the encoder's
// backward pass. In a framework that only differentiates scalars, the sum of
// dq·q with dq held constant has the right gradient.
//
// # Losses
//
//	InfoNCE         queries against keys, shared negatives or a queue (CPC, MoCo)
//	NTXent          two views, all others negatives (SimCLR)
//	CLIP            two modalities, both directions, learnable temperature
//	SigLIP          two modalities, pair by pair, learnable temperature and bias
//	SupCon          positives by class
//	DCL             NTXent without the positive in the denominator, also weighted
//	HardNegative    negatives weighted by hardness, and debiased
//	NegativeCosine  no negatives: predictions and targets (BYOL, SimSiam)
//	BarlowTwins     no negatives: decorrelated features
//	VICReg          no negatives: variance, invariance, covariance
//
// [Queue] is MoCo's dictionary; [MomentumUpdates] and [CosineSchedule] serve
// momentum encoders, [LogitScale] a temperature that is learned, and [WarmupCosine]
// the learning rate; a [GradientCache] takes batches whose activations do not fit
// in memory; and [Alignment], [Uniformity], [Collapse], [TopK], [KNN], [RecallAt]
// and [MRR] tell how embeddings fare.
//
// [Sharded] evaluates a loss over a batch whose rows are spread over processes or
// machines, which a [Collective] connects.
//
// # Notation
//
// N is the number of queries, K that of the keys they are compared with, D the
// dimension. τ is the temperature, s a cosine, s/τ a logit, and u = 2⁻²⁴ the unit
// roundoff of float32. Logarithms are natural and losses are in nats.
//
// # Cost
//
// Counting a product of N×D and D×K as one, the value of a loss takes one
// product, and its gradients one each; [CLIP] takes one more, since its weights
// depend on sums that are complete only after all pairs; [NTXent], [SupCon],
// [DCL] and [HardNegative] compute each pair once for both its anchors. Below
// temperatures of 0.02 the greatest similarity of each anchor is found in a sweep
// of its own, which takes one more. Memory beyond inputs and gradients is
// O((N+K)·D), whatever the number of pairs.
//
// # Accuracy
//
// Products are computed in float32; norms, the similarities of positive pairs,
// sums over keys and the loss in float64. The error of the loss and of gradients
// is no worse than that of the plain float32 method (normalise, multiply,
// log-softmax), plus that of the exponential, which package simd bounds. A loss
// near 0 keeps its relative accuracy, where the plain method loses every digit:
// the positive is never subtracted from a sum that contains it. The exception is
// SupCon, whose denominators contain the positives.
//
// # Determinism
//
// On one instruction set, results are the same bits for any number of workers
// and from run to run. They differ between instruction sets by rounding. See
// package simd for how to choose one.
//
// # Errors
//
// Bad input is an error that wraps [ErrShape], [ErrEmpty], [ErrNotFinite] or
// [ErrParameter] and names the loss, the argument, the row and the numbers. No
// gradient is written before all inputs have been checked.
package contrastive
