package contrastive

import (
	"math"
	"slices"

	"github.com/contrastive-go/contrastive/internal/engine"
)

// The words of a status that describe the input. Those before wordExamples are
// the same on all ranks.
const (
	wordLoss = firstWord + iota
	wordRing
	wordSymmetric
	wordInBatch
	wordPrecision
	wordDim
	wordHasKey
	wordHasLabels
	wordHasNegatives
	wordHasQueue
	wordQueueLen
	wordQueueCap
	wordQueueNext
	wordQueueLabels
	wordExamples
	wordNegatives
	wordWants
	wordParameters // of the loss, one each
	wordsEnd       = wordParameters + len(objective{}.parameters)
)

const _ = uint(statusWords - wordsEnd)

// The bits of wordWants.
const (
	wantsRows = 1 << iota
	wantsCols
)

// common are the words that must be the same on all ranks, and so must those of the
// parameters.
var common = [...]struct {
	name string
	kind error
	show func(word uint64) any
}{
	wordLoss - firstWord:         {"Loss", ErrParameter, showLoss},
	wordRing - firstWord:         {"Ring", ErrParameter, showBool},
	wordSymmetric - firstWord:    {"Symmetric", ErrParameter, showBool},
	wordInBatch - firstWord:      {"InBatch", ErrParameter, showBool},
	wordPrecision - firstWord:    {"Precision", ErrParameter, showPrecision},
	wordDim - firstWord:          {"the number of columns of Query", ErrShape, showInt},
	wordHasKey - firstWord:       {"the presence of Key", ErrShape, showBool},
	wordHasLabels - firstWord:    {"the presence of Labels", ErrShape, showBool},
	wordHasNegatives - firstWord: {"the presence of Negatives", ErrShape, showBool},
	wordHasQueue - firstWord:     {"the presence of Queue", ErrShape, showBool},
	wordQueueLen - firstWord:     {"Queue.Len", ErrShape, showInt},
	wordQueueCap - firstWord:     {"Queue.Cap", ErrShape, showInt},
	wordQueueNext - firstWord:    {"the place of the next key in Queue", ErrShape, showInt},
	wordQueueLabels - firstWord:  {"the presence of labels in Queue", ErrShape, showBool},
}

// lossNames are those of the losses that have words.
var lossNames = [...]string{"none", "InfoNCE", "CLIP", "NTXent", "SigLIP", "SupCon", "DCL", "HardNegative", "NegativeCosine"}

func showLoss(word uint64) any {
	if word < uint64(len(lossNames)) {
		return lossNames[word]
	}
	return word
}

func showPrecision(word uint64) any {
	if word <= uint64(Medium) {
		return Precision(word)
	}
	return word
}

// describe returns the words of this rank, whose input has been prepared.
func (a *shard) describe(ring bool) []uint64 {
	flag := func(b bool) uint64 {
		if b {
			return 1
		}
		return 0
	}
	b, g := &a.batch, &a.grads
	var w [wordsEnd]uint64
	w[wordLoss], w[wordRing] = uint64(max(0, slices.Index(lossNames[:], a.name))), flag(ring)
	w[wordSymmetric], w[wordInBatch] = flag(a.symmetric), flag(a.inBatch)
	w[wordPrecision] = uint64(a.options.Precision)
	for i, p := range a.parameters {
		w[wordParameters+i] = uint64(math.Float32bits(p.value))
	}
	w[wordDim], w[wordExamples], w[wordNegatives] = uint64(b.Query.Cols), uint64(b.Query.Rows), uint64(b.Negatives.Rows)
	w[wordHasKey], w[wordHasLabels] = flag(!b.Key.isZero()), flag(b.Labels != nil)
	w[wordHasNegatives], w[wordHasQueue] = flag(!b.Negatives.isZero()), flag(b.Queue != nil)
	if q := b.Queue; q != nil {
		w[wordQueueLen], w[wordQueueCap] = uint64(q.Len()), uint64(q.Cap())
		w[wordQueueNext], w[wordQueueLabels] = uint64(q.next), flag(q.labels != nil)
	}
	keys := !g.Key.isZero()
	a.wantRows = !g.Query.isZero() || keys && a.oneList()
	a.wantCols = !a.oneList() && (keys && a.views > 0 || !g.Negatives.isZero())
	w[wordWants] = flag(a.wantRows)*wantsRows + flag(a.wantCols)*wantsCols
	return w[firstWord:]
}

// agree returns an error unless the ranks evaluate one loss of one kind of
// batch, and learns how that is spread.
func (a *shard) agree(ring bool) error {
	for i, w := range common {
		if err := a.same(firstWord+i, w.name, w.kind, w.show); err != nil {
			return err
		}
	}
	for i, p := range a.parameters {
		if err := a.same(wordParameters+i, p.name, ErrParameter, showFloat); err != nil {
			return err
		}
	}
	a.examples, a.negatives, a.first, a.total, a.wantAny = a.examples[:0], a.negatives[:0], 0, 0, false
	limit, columns := maxElements/a.batch.Query.Cols, 0
	for r := range a.size {
		n, m, err := a.rowsOf(r, limit-columns)
		if err != nil {
			return err
		}
		columns += 2*n + m
		a.examples, a.negatives = append(a.examples, n), append(a.negatives, m)
		if r < a.rank {
			a.first += n
		}
		a.total += n
		wants := a.word(r, wordWants)
		a.wantCols = a.wantCols || wants&wantsCols != 0
		a.wantAny = a.wantAny || wants != 0
	}
	a.dim = a.batch.Query.Cols
	a.travel = a.size > 1 && a.sum(0, a.size, a.colCount) > 0
	a.ring = ring && a.travel
	a.labelled = a.takesLabels() && a.views > 0
	a.weightLen = 1 + a.problem.Terms
	a.direct = a.form == engine.Softmax && !a.oneList() && !a.symmetric && !a.ring
	a.pairs, a.weight = float64(a.total), 1/a.anchors(a.total, !a.batch.Key.isZero())
	a.problem.Gain = a.weight
	return withFunction("Sharded: "+a.name, a.checkRows(a.total))
}

// rowsOf returns the numbers of examples and of negatives of a rank, which together
// have at most limit columns.
func (a *shard) rowsOf(r, limit int) (n, m int, err error) {
	if n, err = a.count(r, wordExamples, "the number of rows of Query", 1, limit/2); err != nil {
		return 0, 0, err
	}
	least, most := 0, 0
	if !a.batch.Negatives.isZero() {
		least, most = 1, limit-2*n
	}
	if m, err = a.count(r, wordNegatives, "the number of rows of Negatives", least, most); err != nil {
		return 0, 0, err
	}
	wanted := wantsRows | wantsCols
	if a.oneList() {
		wanted = wantsRows
	}
	_, err = a.count(r, wordWants, "the set of wanted gradients", 0, wanted)
	return n, m, err
}

// A shardLayout tells whose rows are where.
type shardLayout struct {
	dim       int
	examples  []int // rows of Query, of each rank
	negatives []int // rows of Negatives, of each rank
	first     int   // rows of Query of the ranks before this one
	total     int   // rows of Query
	views     int   // key columns of an example
	travel    bool  // whether columns of other ranks are needed
	ring      bool
	labelled  bool // whether labels travel with the columns
	weightLen int  // elements of the weight of a key: a shift, and a coefficient for each term
}

// keyCount is the number of columns of a rank that are keys, or, if rows are
// columns too, rows. Those that are negatives come after them.
func (l *shardLayout) keyCount(r int) int      { return l.views * l.examples[r] }
func (l *shardLayout) negativeCount(r int) int { return l.negatives[r] }
func (l *shardLayout) colCount(r int) int      { return l.keyCount(r) + l.negatives[r] }

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

// A message holds the columns of a rank: keys, negatives, labels, and, in the
// pass that needs them, the weights of the keys.
func (l *shardLayout) messageLen(r int, weighed bool) int {
	n := l.weightsAt(r)
	if weighed {
		n += l.weightLen * l.keyCount(r)
	}
	return n
}

func (l *shardLayout) labelsAt(r int) int { return l.dim * l.colCount(r) }

func (l *shardLayout) weightsAt(r int) int {
	n := l.labelsAt(r)
	if l.labelled {
		n += pieces * l.examples[r]
	}
	return n
}

// statLen is the number of elements of the sums of a key that is an anchor of one term:
// a log-sum-exp, a mean, and the greatest similarity.
const statLen = 2*pieces + 1

// shardMemory is what a shard computes with, kept from call to call.
type shardMemory struct {
	queries  []float32 // unit vectors of the queries, unless they are columns
	own      []float32 // message of this rank
	arriving [2][]float32
	all      struct{ keys, negatives, labels, weights []float32 } // gathered

	rowGrad, rowPart []float32 // gradients of the rows: their sum, and what a block adds
	colGrad          []float32 // gradients of the columns of a block
	out, in          []float32 // sums over the ranks so far, to the next and from the last
}

// layOut makes the message of this rank, and the vectors of its rows.
func (a *shard) layOut() {
	local, n, d := &a.keys, a.n, a.dim
	a.own = resize(a.own, a.messageLen(a.rank, true))
	put := func(dst []float32, first, n int) {
		for i := range n {
			local.Vector(first+i, dst[i*d:(i+1)*d])
		}
	}
	keys := a.keyCount(a.rank)
	if a.oneList() {
		put(a.own, 0, keys)
	} else {
		a.queries = resize(a.queries, n*d)
		put(a.queries, 0, n)
		put(a.own, n, keys)
		put(a.own[keys*d:], 2*n, a.negatives[a.rank])
	}
	if a.labelled {
		at := a.own[a.labelsAt(a.rank):]
		for i, l := range a.batch.Labels {
			putBits(at[pieces*i:], uint64(l))
		}
	}
	a.rowLabels = a.rowLabels[:0]
	for range a.views {
		a.rowLabels = a.appendLabels(a.rowLabels, a.rank, a.own[a.labelsAt(a.rank):])
	}
	if a.views == 0 { // they are for the queue
		a.rowLabels = append(a.rowLabels, a.batch.Labels...)
	}

	a.positives.Reset(local)
	for i := range n {
		if a.layout != byClass {
			a.positives.Add(n+i, engine.Cosine(local, i, local, n+i))
			a.positives.Close()
		}
	}
	a.rowStats, a.weights = a.rowStats[:0], a.weights[:0]
	for range a.rowCount() {
		a.rowStats = append(a.rowStats, emptyStat)
		a.weights = append(a.weights, engine.Weight{})
	}
	if a.layout == byClass {
		a.classes.reset(a.rowLabels, d)
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

// takesLabels reports whether there are labels that mean something to the loss.
func (a *shard) takesLabels() bool {
	return a.batch.Labels != nil && (a.excludesLabels || a.layout == byClass)
}

// appendLabels appends one label for each example of a rank, given those of its
// message. Where none travel, and rows are columns, the examples are numbered: the
// two views of one have one label.
func (a *shard) appendLabels(labels []int, r int, src []float32) []int {
	if !a.labelled && !a.oneList() {
		return labels
	}
	first := a.sum(0, r, func(r int) int { return a.examples[r] })
	for i := range a.examples[r] {
		label := first + i
		if a.labelled {
			label = a.getInt(src[pieces*i:])
		}
		labels = append(labels, label)
	}
	return labels
}
