package contrastive

import "fmt"

// A Batch is what a loss is evaluated on. Embeddings are raw: every loss normalises
// each row to unit length, and its gradients flow back through that normalisation,
// unless it is BarlowTwins, VICReg, EmbeddingMSE or one that takes dot products or
// Euclidean distances. Where rows are normalised, one of zeros has similarity 0 to
// everything and gradient 0. A row whose norm is below 2⁻¹²⁶ counts as one, in queues
// and metrics, too.
//
// A zero Matrix, a nil Queue and a nil slice are absent. A slice that is empty, but
// not nil, is of the wrong length. What is given to a loss that does not take it is
// [ErrUnused].
type Batch struct {
	// Query holds N×D embeddings: view 1, anchors, predictions or images.
	Query Matrix

	// Key holds K×D embeddings: view 2, targets or texts. Without Positives, K is N
	// and row i is the positive of query i.
	Key Matrix

	// Negatives optionally holds M×D further negatives, shared by all queries.
	Negatives Matrix

	// Queue optionally holds further negatives that take no gradient: MoCo's
	// dictionary.
	Queue *Queue

	// Hard optionally holds H×D negatives of one query each: first those of query
	// 0, then those of query 1, and so on.
	Hard Matrix

	// HardCounts optionally holds how many rows of Hard each of the N queries has,
	// 0 allowed. They add up to H. Nil means H/N each.
	HardCounts []int

	// Positives optionally holds N lists of rows of Key, without repeats: the positives
	// of each query. A query with an empty list has no loss. It may be a negative, as
	// its gradient tells, of keys.
	Positives [][]int

	// PositiveWeights optionally holds a weight for each element of Positives, finite
	// and not negative, whose sum is positive for each query. What counts is its share
	// in that sum. Nil means equal weights.
	PositiveWeights [][]float32

	// Labels optionally holds N class ids of queries, and of keys if KeyLabels is nil
	// and K is N. SupCon takes rows of one class for each other's positives; InfoNCE,
	// NTXent, CLIP and SigLIP do not take them for each other's negatives.
	Labels []int

	// KeyLabels and NegativeLabels optionally hold K and M class ids. Without Labels
	// they are ErrParameter.
	KeyLabels, NegativeLabels []int

	// Exclude optionally holds N lists of rows of Key that are neither positives nor
	// negatives of a query.
	Exclude [][]int

	// Weights optionally holds N weights of queries, finite, not negative and not
	// all 0. The loss is then Σ wᵢ·Lᵢ / Σ wᵢ instead of the mean of the losses Lᵢ
	// of the queries.
	Weights []float32

	// KeyLogQ and NegativeLogQ optionally hold, for each of the K keys and M negatives,
	// the logarithm of the probability with which it came into the batch. It is
	// subtracted from every logit of the column, of positives, too, so that popular
	// items are not learned to be unlikely: Yi et al., "Sampling-Bias-Corrected Neural
	// Modeling for Large Corpus Item Recommendations" (2019), equation 3. Their magnitude is
	// at most 2⁶⁰, or 2¹²⁰/τ if that is less.
	KeyLogQ, NegativeLogQ []float32

	// GuideQuery, GuideKey and GuideNegatives optionally hold the N×G, K×G and M×G
	// embeddings of the batch by another model, for a [Filter].
	GuideQuery, GuideKey, GuideNegatives Matrix

	// Scores holds what a loss is to learn of the pairs: N×1 graded similarities of
	// queries and keys, or N×(1+h) scores by a teacher, of the key of each query
	// and of its h rows of Hard.
	Scores Matrix
}

// Gradients names what receives the derivatives of the loss, and its parts.
//
// Query, Key, Negatives and Hard receive ∂Loss/∂input. A zero Matrix means that the
// gradient is not wanted; it is not computed. The others have the shape of their
// input, may be strided, and must share no element with each other or with an input.
// They are left untouched when Eval returns an error. An element too large for
// float32 saturates at ±MaxFloat32.
type Gradients struct {
	Query, Key, Negatives, Hard Matrix

	// Losses, unless it is nil, has N elements, and receives the loss of each
	// query before it is weighted, 0 for a query that does not count. It is
	// overwritten, and left untouched when Eval returns an error.
	Losses []float64

	// Accumulate adds gradients to what the matrices hold, which is not checked,
	// instead of overwriting that: for a sum of losses, or batches in parts.
	Accumulate bool
}

// A Result is what one evaluation learns. Fields that have no meaning for a
// loss are 0.
type Result struct {
	Loss            float64 // in nats unless the loss says otherwise
	TemperatureGrad float64 // ∂Loss/∂τ; ∂Loss/∂log(1/τ) is -τ times this
	BiasGrad        float64 // ∂Loss/∂bias (SigLIP)

	// Accuracy is the share of the anchors whose positive is more similar than
	// every negative, by more than rounding: 2⁻²⁰ of cosine, 2⁻¹⁴ if Precision is
	// High, 2⁻⁶ if Medium, and as much of dot products, relative to the product of
	// the greatest norms of queries and of others, each rounded up to a power of 2.
	// Anchors without a negative do not count; if none has one, as with a queue that
	// nothing has been enqueued to, it is 0. It is always 0 for SupCon,
	// NegativeCosine, BarlowTwins, VICReg and the losses of given pairs.
	Accuracy float64

	PositiveCosine float64 // mean cosine of positive pairs
	NegativeCosine float64 // mean cosine of negative pairs, 0 if there are none
}

// A Loss evaluates a batch and, where wanted, its gradients. The losses of this
// package are plain structs of hyper-parameters whose zero fields mean the
// defaults that their comments state; they are safe for concurrent use.
//
// Eval returns an error that wraps [ErrShape], [ErrEmpty], [ErrNotFinite] or
// [ErrParameter]; its text names the loss, the argument, the row and the
// numbers. After an error no destination has been written.
type Loss interface {
	Eval(b Batch, g Gradients) (Result, error)
}

// A Similarity is what embeddings are compared by.
type Similarity uint8

const (
	DefaultSimilarity Similarity = iota // that of the loss, which documents it
	Cosine                              // of the angle between the rows
	Dot                                 // the dot product of the rows as they are
)

// String returns the name of s.
func (s Similarity) String() string {
	switch s {
	case DefaultSimilarity:
		return "DefaultSimilarity"
	case Cosine:
		return "Cosine"
	case Dot:
		return "Dot"
	}
	return fmt.Sprintf("Similarity(%d)", uint8(s))
}

// check returns an error unless s is one of those above.
func (s Similarity) check() error {
	if s > Dot {
		return fmt.Errorf("Similarity is %d, which is none of DefaultSimilarity, Cosine and Dot: %w", s, ErrParameter)
	}
	return nil
}

// or returns s, or that of the loss if s is the default.
func (s Similarity) or(own Similarity) Similarity {
	if s == DefaultSimilarity {
		return own
	}
	return s
}

// A Filter leaves out a negative of a query that may be one of its positives, because a
// guide finds the pair more similar than the query and its positives. With g the guide's
// similarities, gᵢ the least of those of query i and its positives, and m FilterMargin, it
// leaves out negative j of query i if gᵢⱼ is greater than a limit.
//
// The guide's similarities are the cosines of the batch's GuideQuery and GuideKey, if they
// are given: then other rows of Key are filtered, and Negatives if GuideNegatives is given.
// Otherwise they are the loss's own, before margins and the like, and Key, Negatives, Hard
// and Queue are filtered. No gradient flows through the choice.
//
// Qwen3 Embedding (Zhang et al., 2025) has AbsoluteMargin with 0.1 and no guide, GISTEmbed
// (Solatorio, 2024) with a margin of m has AbsoluteMargin with −m and a guide.
type Filter uint8

const (
	NoFilter       Filter = iota
	AbsoluteMargin        // the limit is gᵢ + m
	RelativeMargin        // the limit is gᵢ + m·|gᵢ|
)

func (f Filter) check(margin float32) error {
	switch {
	case f > RelativeMargin:
		return fmt.Errorf("Filter is %d, which is none of NoFilter, AbsoluteMargin and RelativeMargin: %w", f, ErrParameter)
	case f == NoFilter && margin != 0:
		return fmt.Errorf("FilterMargin is %v without a Filter: %w", margin, ErrParameter)
	}
	return nil
}

// Options are common to all losses.
type Options struct {
	// Workers is the greatest number of goroutines that share the work. Zero means
	// GOMAXPROCS. A batch that one of them is through with in about half a millisecond
	// is not shared, since waking another would take longer than it saves: at D = 128,
	// those of fewer than some 220 pairs with AVX2 and NEON, and 440 with AVX-512.
	// Results do not depend on it, bit for bit.
	Workers int

	// Precision is that of the matrix products.
	Precision Precision

	// KeepBytes bounds the memory, beyond O((N+K)·D), for the exponentials of pairs that
	// losses of two sweeps keep for the second: 4 bytes a pair, half as many pairs where
	// queries and keys are one list. What has no room is computed again. Zero means
	// 32 MiB, and a negative number none. Results do not depend on it, bit for bit.
	KeepBytes int
}

// defaultKeepBytes holds the pairs of 2,896 queries and keys.
const defaultKeepBytes = 32 << 20

// A Precision bounds the error of the matrix products, in the terms of
// torch.set_float32_matmul_precision and jax.lax.Precision: that of a cosine, to
// which an error of float32, (D+2)·2⁻²⁴, comes, and that of the weights of pairs in
// gradients, relative to each. Every instruction set honours all three; one that
// gains nothing by less computes Highest.
//
// AMD's processors with AVX512_BF16 gain by Medium. On level amx, which is used on request
// only (package simd), a float32 is the sum of three, two or one bfloat16, of which six,
// three and one products are formed.
type Precision uint8

const (
	Highest Precision = iota // no worse than plain float32
	High                     // 3·2⁻¹⁶
	Medium                   // 3·2⁻⁸
)

// String returns the name of p.
func (p Precision) String() string {
	switch p {
	case Highest:
		return "Highest"
	case High:
		return "High"
	case Medium:
		return "Medium"
	}
	return fmt.Sprintf("Precision(%d)", uint8(p))
}
