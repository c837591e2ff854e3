package contrastive

import "github.com/contrastive-go/contrastive/simd"

// shardClasses are the sums of the vectors of each class that a row of this rank
// has, over the columns of all ranks: the positives of an anchor enter SupCon as
// the sum of its class without itself.
type shardClasses struct {
	index   map[int]int32 // by label
	of      []int32       // class of each row
	classes []supClass
	dim     int
	sums    []float64 // for each class, the sum of its vectors, then of its anchors
}

// reset prepares c for rows with the given labels.
func (c *shardClasses) reset(labels []int, dim int) {
	if c.index == nil {
		c.index = make(map[int]int32)
	}
	clear(c.index)
	c.of, c.classes, c.sums, c.dim = c.of[:0], c.classes[:0], c.sums[:0], dim
	for _, l := range labels {
		k, ok := c.index[l]
		if !ok {
			k = int32(len(c.classes))
			c.index[l] = k
			c.classes = append(c.classes, supClass{})
			c.sums = extend(c.sums, 2*dim)
		}
		c.of = append(c.of, k)
	}
}

// add adds the first vectors of a block, those that have labels.
func (c *shardClasses) add(vectors Matrix, labels []int, anchors bool) {
	for j := range min(len(labels), vectors.Rows) {
		k, ok := c.index[labels[j]]
		if !ok {
			continue
		}
		c.classes[k].members++
		sums := c.sums[2*c.dim*int(k):]
		for d, v := range vectors.Row(j) {
			sums[d] += float64(v)
		}
		if anchors {
			c.classes[k].anchors++
			for d, v := range vectors.Row(j) {
				sums[c.dim+d] += float64(v)
			}
		}
	}
}

// positiveSum returns the sum of the cosines of row i, which is x, with its
// positives, and their number.
func (c *shardClasses) positiveSum(i int, x []float32) (float64, int) {
	sums, sum := c.sums[2*c.dim*int(c.of[i]):], 0.0
	for d, v := range x {
		sum += float64(v) * (sums[d] - float64(v))
	}
	return sum, c.classes[c.of[i]].members - 1
}

// addPull adds to g the pull of the positives of row i, which is x, and that of the
// anchors whose positive it is; weight is that of an anchor.
func (c *shardClasses) addPull(i int, weight float64, x, g []float32) {
	n := c.classes[c.of[i]].members - 1
	if n == 0 {
		return
	}
	weight /= float64(n)
	simd.Axpy(float32(2*weight), x, g) // the sums contain the row itself, twice
	sums := c.sums[2*c.dim*int(c.of[i]):]
	for d := range g {
		g[d] -= float32(weight * (sums[d] + sums[c.dim+d]))
	}
}
