package contrastive

import (
	"github.com/contrastive-go/contrastive/internal/engine"
)

// A part is one kind of what a rank sends about its columns. Its message holds the parts
// one after the other.
type part uint8

const (
	partKeys part = iota
	partGuideKeys
	partKeyLogQ
	partNegatives // the parts before it are what positives are found by
	partGuideNegatives
	partNegativeLogQ
	partKeyLabels // of examples, if rows are columns
	partNegativeLabels
	partRowWeights // of examples, for sums of classes
	partKeyLimits  // of a filter, if keys are anchors
	partWeights    // of keys that are anchors: known once their sums are
	numParts
)

// A shardLayout tells whose rows are where.
type shardLayout struct {
	dim       int
	examples  []int  // rows of Query, of each rank
	keyRows   []int  // rows of Key
	keyCounts []int  // of those, or, if rows are columns, of rows, those that travel
	negatives []int  // rows of Negatives
	pairsOf   []int  // positives that are listed
	first     int    // rows of Query of the ranks before this one
	firstKey  int    // rows of Key of these
	total     int    // rows of Query
	views     int    // if rows are columns, those of an example
	lists     bool   // whether positives are listed
	anyLists  bool   // whether any rank lists keys
	allWants  uint64 // the gradients that any rank wants
	sendsKeys bool
	travel    bool // whether columns of other ranks are needed
	ring      bool
	weightLen int           // elements of the weight of a key: a shift, and a coefficient for each term
	widths    [numParts]int // elements of a row of each part, 0 for what does not travel
}

// keyCount is the number of keys of a rank that travel, or, if rows are columns, of
// rows. Those that are negatives come after them.
func (l *shardLayout) keyCount(r int) int     { return l.keyCounts[r] }
func (l *shardLayout) exampleCount(r int) int { return l.examples[r] }
func (l *shardLayout) colCount(r int) int     { return l.keyCounts[r] + l.negatives[r] }

func (l *shardLayout) negativeCount(r int) int { return l.negatives[r] }

// sum adds up the counts of the ranks from first up to end.
func (l *shardLayout) sum(first, end int, count func(r int) int) int {
	n := 0
	for r := first; r < end; r++ {
		n += count(r)
	}
	return n
}

// largest returns the greatest count.
func (l *shardLayout) largest(count func(r int) int) int {
	n := 0
	for r := range l.examples {
		n = max(n, count(r))
	}
	return n
}

// partRows returns the number of rows of a part of the message of a rank.
func (l *shardLayout) partRows(p part, r int) int {
	switch p {
	case partNegatives, partGuideNegatives, partNegativeLogQ, partNegativeLabels:
		return l.negatives[r]
	case partRowWeights:
		return l.examples[r]
	case partKeyLabels:
		if l.views > 0 {
			return l.examples[r]
		}
	}
	return l.keyCounts[r]
}

// length returns the number of elements of a part of the message of a rank, and at where
// it begins, which is the length of the message up to it.
func (l *shardLayout) length(p part, r int) int { return l.widths[p] * l.partRows(p, r) }

func (l *shardLayout) at(p part, r int) int {
	n := 0
	for q := range p {
		n += l.length(q, r)
	}
	return n
}

// statLen is the number of elements of the sums of a key that is an anchor of one term:
// a log-sum-exp, a mean, and the greatest similarity.
const statLen = 2*wordLen + 1

// shardMemory is what a shard computes with, kept from call to call.
type shardMemory struct {
	queries  []float32 // unit vectors of the queries, unless they are columns
	own      []float32 // message of this rank
	arriving [2][]float32
	gathered [numParts][]float32

	rowGrad, rowPart []float32 // gradients of the rows: their sum, and what a section adds
	colGrad          []float32 // gradients of the columns of a section
	out, in          []float32 // sums over the ranks so far, to the next and from the last
	lossOf           []float64 // losses of the queries
}

// setCounts sets which keys travel.
func (a *shard) setCounts() {
	a.views = 0
	if a.oneList() {
		a.views = 1
		if !a.batch.Key.isZero() {
			a.views = 2
		}
	}
	a.keyCounts, a.firstKey = a.keyCounts[:0], 0
	for r, k := range a.keyRows {
		switch {
		case a.oneList():
			k = a.views * a.examples[r]
		case !a.sendsKeys:
			k = 0
		}
		a.keyCounts = append(a.keyCounts, k)
		if r < a.rank {
			a.firstKey += k
		}
	}
}

// setWidths sets which parts messages have.
func (a *shard) setWidths() {
	b, w := &a.batch, &a.widths
	a.weightLen = 1 + a.problem.Terms
	*w = [numParts]int{}
	set := func(p part, width int, given bool) {
		if given {
			w[p] = width
		}
	}
	set(partKeys, a.dim, a.sendsKeys)
	set(partGuideKeys, b.GuideKey.Cols, a.sendsKeys)
	set(partKeyLogQ, 1, a.sendsKeys && b.KeyLogQ != nil)
	set(partNegatives, a.dim, !b.Negatives.isZero())
	set(partGuideNegatives, b.GuideNegatives.Cols, true)
	set(partNegativeLogQ, 1, b.NegativeLogQ != nil)
	set(partKeyLabels, wordLen, a.takesLabels() && (a.oneList() || a.inBatch && a.haveKeyLabels()))
	set(partNegativeLabels, wordLen, a.takesLabels() && b.NegativeLabels != nil)
	set(partRowWeights, 1, a.layout == byClass && b.Weights != nil)
	set(partKeyLimits, 1, a.symmetric && a.filter != NoFilter)
	set(partWeights, a.weightLen, a.symmetric || a.oneList())
}

// haveKeyLabels reports whether the keys of a batch of queries among keys have labels.
func (a *shard) haveKeyLabels() bool {
	return a.batch.KeyLabels != nil || a.sum(0, a.size, a.keyCount) == a.total
}

// takesLabels reports whether there are labels that mean something to the loss.
func (a *shard) takesLabels() bool {
	return a.batch.Labels != nil && (a.excludesLabels || a.layout == byClass)
}

// ownPart returns a part of the message of this rank.
func (a *shard) ownPart(p part) []float32 {
	at := a.at(p, a.rank)
	return a.own[at : at+a.length(p, a.rank)]
}

// layOut makes the message of this rank, and the vectors of its rows.
func (a *shard) layOut() error {
	if err := a.shareLabels(); err != nil {
		return err
	}
	if a.dot { // now that the norms of all are known
		if err := a.makeLocalLists(a.dotFactors[0], a.dotFactors[1]); err != nil {
			return err
		}
	}
	local, b, n := &a.local, &a.batch, a.n
	a.own = resize(a.own, a.at(numParts, a.rank))
	if a.oneList() {
		putVectors(a.ownPart(partKeys), local, 0)
	} else {
		a.queries = resize(a.queries, n*a.dim)
		putVectors(a.queries, local, 0)
		putVectors(a.ownPart(partKeys), local, n)
		putVectors(a.ownPart(partNegatives), local, n+b.Key.Rows)
		putVectors(a.ownPart(partGuideKeys), &a.guideRows, 0)
		putVectors(a.ownPart(partGuideNegatives), &a.guideRows, b.GuideKey.Rows)
		copy(a.ownPart(partKeyLogQ), b.KeyLogQ)
		copy(a.ownPart(partNegativeLogQ), b.NegativeLogQ)
	}
	putInts(a.ownPart(partKeyLabels), a.ownLabels)
	putInts(a.ownPart(partNegativeLabels), b.NegativeLabels)
	copy(a.ownPart(partRowWeights), b.Weights)
	a.rowLabels = a.rowLabels[:0]
	if a.oneList() {
		for range a.views {
			a.rowLabels = a.appendLabels(a.rowLabels, a.rank, a.ownPart(partKeyLabels))
		}
	} else {
		a.rowLabels = append(a.rowLabels, b.Labels...)
	}
	a.makePairs()
	a.rowStats, a.weights = a.rowStats[:0], a.weights[:0]
	for range a.rowCount() {
		a.rowStats = append(a.rowStats, emptyStat)
		a.weights = append(a.weights, engine.Weight{})
	}
	if a.layout == byClass {
		a.classes.reset(a.rowLabels, a.dim)
	}
	return nil
}

// shareLabels sets the labels that this rank sends. Where the keys have those of the
// queries, but not on the same ranks, these have to meet first.
func (a *shard) shareLabels() error {
	b := &a.batch
	a.ownLabels = a.ownLabels[:0]
	if a.widths[partKeyLabels] == 0 {
		return nil
	}
	own := b.Labels
	if b.KeyLabels != nil {
		own = b.KeyLabels
	}
	apart := false
	for r, k := range a.keyCounts {
		apart = apart || k != a.examples[r]
	}
	if a.oneList() || b.KeyLabels != nil || !apart {
		a.ownLabels = append(a.ownLabels, own...)
		return nil
	}
	a.outgoing = a.outgoing[:0]
	for _, l := range b.Labels {
		a.outgoing = append(a.outgoing, uint64(l))
	}
	var err error
	if a.words, err = a.gatherWords(a.words, a.outgoing, a.exampleCount); err != nil {
		return err
	}
	for _, w := range a.words[a.firstKey:][:b.Key.Rows] {
		a.ownLabels = append(a.ownLabels, int(w))
	}
	return nil
}

// putVectors stores vectors of a list, from the slot first on.
func putVectors(dst []float32, list *engine.List, first int) {
	for d := list.Dim(); len(dst) > 0; dst, first = dst[d:], first+1 {
		list.Vector(first, dst[:d])
	}
}

func putInts(dst []float32, ints []int) {
	if len(dst) == 0 {
		return
	}
	for i, v := range ints {
		putBits(dst[wordLen*i:], uint64(v))
	}
}

// rowCount is the number of row anchors.
func (a *shard) rowCount() int {
	if a.oneList() {
		return a.keyCount(a.rank)
	}
	return a.n
}

// vectors are the unit vectors of the rows.
func (a *shard) vectors() []float32 {
	if a.oneList() {
		return a.own[:a.dim*a.rowCount()]
	}
	return a.queries
}

// appendLabels appends one label for each example of a rank, given those of its
// message. Where none travel, the examples are numbered: the two views of one have one
// label.
func (a *shard) appendLabels(labels []int, r int, src []float32) []int {
	if len(src) > 0 {
		return a.appendInts(labels, src)
	}
	first := a.sum(0, r, a.exampleCount)
	for i := range a.examples[r] {
		labels = append(labels, first+i)
	}
	return labels
}

func (a *shard) appendInts(ints []int, src []float32) []int {
	for ; len(src) > 0; src = src[wordLen:] {
		ints = append(ints, a.getInt(src))
	}
	return ints
}

// putWeight stores the weight of anchor i in those of a message.
func (a *shard) putWeight(dst []float32, i int, w engine.Weight) {
	dst = dst[a.weightLen*i:]
	dst[0] = w.Shift
	copy(dst[1:], w.Coef[:a.problem.Terms])
}
