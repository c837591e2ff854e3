package contrastive

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/contrastive-go/contrastive/simd"
)

// A combination adds up losses and their gradients, which reach their destinations when
// no loss can fail any more.
type combination struct {
	part, total gradientBuffers
	batch       Batch // the caller's, as grads is
	grads       Gradients
	result      Result
	shards      shardedParts // what the parts are evaluated by, if not each by itself
}

// A combined loss is made of parts, which are losses.
type combined interface {
	// check returns an error unless there are parts that can be evaluated on a batch, and
	// combine evaluates them.
	check(b *Batch, g *Gradients) error
	combine(c *combination, b Batch, g Gradients) (Result, error)

	// parts returns what all ranks have in common besides the parts: a name for them, and
	// what tells one from another.
	parts() (name string, numbers []uint64, weights []float32)
}

func evaluateParts[L combined](name string, l L, b Batch, g Gradients) (Result, error) {
	c := combinations.Get().(*combination)
	defer c.release()
	c.batch, c.grads = b, g // what the check is shown escapes, and c is there already
	err := l.check(&c.batch, &c.grads)
	if err != nil {
		return Result{}, wrap(name, err)
	}
	r, err := l.combine(c, b, g)
	return r, wrap(name, err)
}

// gradientBuffers are memory for Gradients.
type gradientBuffers struct {
	matrices [4]Matrix
	losses   []float64
}

var combinations = sync.Pool{New: func() any { return new(combination) }}

func (c *combination) release() {
	c.batch, c.grads = Batch{}, Gradients{}
	if !c.shards.end() {
		combinations.Put(c)
	}
}

// checkSums returns an error unless sums of gradients of a batch can go to g.
func checkSums(b *Batch, g *Gradients) error {
	if err := checkMatrix("Query", b.Query); err != nil {
		return err
	}
	if g.Losses != nil {
		if err := checkLength("Gradients.Losses", len(g.Losses), b.Query); err != nil {
			return err
		}
	}
	return checkGradients(b, g)
}

// begin prepares for sums of gradients that go to g.
func (c *combination) begin(g Gradients) {
	c.grads, c.result = g, Result{}
	total := c.total.like(g)
	for _, m := range total.matrices() {
		clear(m.Data)
	}
	clear(total.Losses)
}

// like returns Gradients in b's memory that want what g does.
func (b *gradientBuffers) like(g Gradients) Gradients {
	for i, m := range g.matrices() {
		b.matrices[i] = reshape(b.matrices[i], m.Rows, m.Cols)
	}
	wanted := func(i int) Matrix {
		if b.matrices[i].Rows == 0 {
			return Matrix{}
		}
		return b.matrices[i]
	}
	like := Gradients{Query: wanted(0), Key: wanted(1), Negatives: wanted(2), Hard: wanted(3)}
	if g.Losses != nil {
		b.losses = resize(b.losses, len(g.Losses))
		like.Losses = b.losses
	}
	return like
}

// matrices returns those of g, in the order of its fields.
func (g *Gradients) matrices() [4]Matrix { return [4]Matrix{g.Query, g.Key, g.Negatives, g.Hard} }

// add evaluates a loss and adds weight times what it finds.
func (c *combination) add(l Loss, b Batch, wanted Gradients, weight float32) (Result, error) {
	part := c.part.like(wanted)
	r, err := c.shards.eval(l, b, part)
	if err != nil {
		return r, err
	}
	w := float64(weight)
	c.result.Loss += w * r.Loss
	c.result.TemperatureGrad += w * r.TemperatureGrad
	c.result.BiasGrad += w * r.BiasGrad
	for i, m := range part.matrices() {
		for k := range m.Rows {
			simd.Axpy(weight, m.Row(k), c.total.matrices[i].Row(k)[:m.Cols])
		}
	}
	for i, v := range part.Losses {
		c.total.losses[i] += w * v
	}
	return r, nil
}

// finish stores the sums. The fields of the Result that do not add up are those of r.
func (c *combination) finish(r Result) Result {
	for i, dst := range c.grads.matrices() {
		for k := range dst.Rows {
			row := dst.Row(k)
			for d, v := range c.total.matrices[i].Row(k) {
				c.grads.store(&row[d], float64(v))
			}
		}
	}
	copy(c.grads.Losses, c.total.losses)
	r.Loss, r.TemperatureGrad, r.BiasGrad = c.result.Loss, c.result.TemperatureGrad, c.result.BiasGrad
	return r
}

// isMissing reports whether there is no loss to evaluate.
func isMissing(l Loss) bool { return l == nil || isNilPointer(l) }

// checkCombination returns an error unless there are parts, and weights for them.
func checkCombination(parts string, n int, weights []float32) error {
	if n == 0 {
		return fmt.Errorf("%s is empty: %w", parts, ErrParameter)
	}
	if weights != nil && len(weights) != n {
		return fmt.Errorf("Weights has %d elements, %s has %d: %w", len(weights), parts, n, ErrShape)
	}
	for i, w := range weights {
		if must := isNonNegative(w); must != "" {
			return fmt.Errorf("Weights[%d] is %v and must be %s: %w", i, w, must, ErrParameter)
		}
	}
	return nil
}

func weightAt(weights []float32, i int) float32 {
	if weights == nil {
		return 1
	}
	return weights[i]
}

// shardedParts evaluate the parts of a combined loss: over the ranks of a Sharded, or, as
// the zero value, over one batch. Before the first, the ranks agree on what the parts are.
type shardedParts struct {
	sharded Sharded
	ctx     context.Context
	peers   peers
	numbers []uint64
}

// eval evaluates a part.
func (p *shardedParts) eval(l Loss, b Batch, g Gradients) (Result, error) {
	if p.ctx == nil {
		return l.Eval(b, g)
	}
	return Sharded{Loss: l, Collective: p.sharded.Collective, Ring: p.sharded.Ring}.Eval(p.ctx, b, g)
}

// end forgets the caller's data. It reports whether memory may be in use by a transfer
// that has failed.
func (p *shardedParts) end() (lost bool) {
	p.sharded, p.ctx = Sharded{}, nil
	p.peers.leave()
	return p.peers.lost
}

// wordParts is the number of parts, in a status that otherwise has the words of a loss.
const wordParts = wordRing + 1

// evalCombined evaluates a loss that is made of others, part by part.
func (s Sharded) evalCombined(ctx context.Context, l combined, b Batch, g Gradients) (Result, error) {
	c := combinations.Get().(*combination)
	defer c.release()
	c.shards.sharded = s
	if err := c.shards.agree(ctx, l, b, g); err != nil {
		return Result{}, named(err)
	}
	c.shards.ctx = ctx
	return l.combine(c, b, g) // whose errors are those of Eval, for the parts
}

// agree returns an error unless all ranks have the same parts, and good input to them as a
// whole.
func (p *shardedParts) agree(ctx context.Context, l combined, b Batch, g Gradients) error {
	if err := p.peers.join(ctx, p.sharded.Collective, jointSharded); err != nil {
		return err
	}
	loss := lossIndex(nameOf(p.sharded.Loss))
	name, numbers, weights := l.parts()
	var words [wordParts + 1]uint64
	words[wordLoss], words[wordParts] = loss, uint64(len(numbers))
	if p.sharded.Ring {
		words[wordRing] = 1
	}
	err := withFunction(lossNames[loss], l.check(&b, &g))
	if err := p.peers.meet(err, words[firstWord:]); err != nil {
		return err
	}
	for i, what := range [...]string{"Loss", "Ring", "the number of " + name} {
		show := [...]func(word uint64) any{showLoss, showBool, showInt}[i]
		if err := p.peers.same(firstWord+i, what, ErrParameter, show); err != nil {
			return err
		}
	}
	// Of which all ranks now have as many.
	p.numbers = append(p.numbers[:0], numbers...)
	for i := range numbers {
		p.numbers = append(p.numbers, uint64(math.Float32bits(weightAt(weights, i))))
	}
	n := len(p.numbers)
	all, err := p.peers.gatherWords(p.peers.words, p.numbers, func(int) int { return n })
	p.peers.words = all
	if err != nil {
		return err
	}
	for i, w := range all {
		k := i % n
		switch {
		case w == all[k]:
		case k < len(numbers):
			return p.peers.errorf("%s[%d] of rank %d is %d, and that of rank 0 is %d", name, k, i/n, w, all[k])
		default:
			return p.peers.errorf("Weights[%d] of rank %d is %v, and that of rank 0 is %v", k-len(numbers), i/n, showFloat(w), showFloat(all[k]))
		}
	}
	return nil
}
