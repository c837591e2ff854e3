package contrastive

import (
	"slices"

	"github.com/contrastive-go/contrastive/internal/engine"
)

// classSums are the sums of the vectors of each class that a row has. The positives of
// an anchor are its class without itself, and enter its loss as their sum.
type classSums struct {
	index   map[int]int32 // by label
	of      []int32       // class of each row
	members []int         // of each class
	dim     int
	sums    []float64 // for each class, the sum of its vectors, then of its anchors by weight
}

// reset prepares c for rows with the given labels.
func (c *classSums) reset(labels []int, dim int) {
	if c.index == nil {
		c.index = make(map[int]int32)
	}
	clear(c.index)
	c.of, c.members, c.sums, c.dim = c.of[:0], c.members[:0], c.sums[:0], dim
	for _, l := range labels {
		k, ok := c.index[l]
		if !ok {
			k = int32(len(c.members))
			c.index[l] = k
			c.members = append(c.members, 0)
			c.sums = slices.Grow(c.sums, 2*dim)[:len(c.sums)+2*dim]
			clear(c.sums[len(c.sums)-2*dim:])
		}
		c.of = append(c.of, k)
	}
}

// add adds a vector to the class of its label, if a row has that. The weight is that of
// an anchor, 0 for what is none.
func (c *classSums) add(label int, x []float32, weight float64) {
	k, ok := c.index[label]
	if !ok {
		return
	}
	c.members[k]++
	sums := c.sums[2*c.dim*int(k):]
	for d, v := range x {
		sums[d] += float64(v)
	}
	if weight > 0 {
		for d, v := range x {
			sums[c.dim+d] += weight * float64(v)
		}
	}
}

// positives returns the number of those of row i, which is x, and the sum of their
// cosines with it.
func (c *classSums) positives(i int, x []float32) (n int, cosines float64) {
	sums := c.sums[2*c.dim*int(c.of[i]):]
	for d, v := range x {
		cosines += float64(v) * (sums[d] - float64(v))
	}
	return c.members[c.of[i]] - 1, cosines
}

// addPull adds to g what the positives of row i of list contribute to its gradient, and
// the anchors whose positive it is, given the weight of row i, and −∂Loss/∂(mean logit of
// an anchor's positives) of a weight of 1.
func (c *classSums) addPull(list *engine.List, i int, pull, weight float64, g []float32) {
	n := c.members[c.of[i]] - 1
	if n == 0 {
		return
	}
	pull /= float64(n)
	list.AddScaled(2*pull*weight, i, g) // the sums contain the row itself, twice
	sums := c.sums[2*c.dim*int(c.of[i]):]
	for d := range g {
		g[d] -= float32(pull * (weight*sums[d] + sums[c.dim+d]))
	}
}
