package contrastive

import (
	"context"
	"math"
)

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
