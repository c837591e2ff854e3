package contrastive

import (
	"fmt"
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
	wordGuideDim
	wordHasKey
	wordHasNegatives
	wordHasGuideNegatives
	wordHasPositives
	wordHasLabels
	wordHasKeyLabels
	wordHasNegativeLabels
	wordHasWeights
	wordHasKeyLogQ
	wordHasNegativeLogQ
	wordHasQueue
	wordQueueLen
	wordQueueCap
	wordQueueNext
	wordQueueLabels
	wordExamples
	wordKeys
	wordNegatives
	wordHasHard
	wordHasLists
	wordPairs
	wordAnchors
	wordWeight    // of the anchors,
	wordLogQ      // the greatest magnitude of a logQ,
	wordQueryNorm // the greatest norm of a query,
	wordOtherNorm // and of another row, as bits of float64
	wordWants
	wordParameters // of the loss, one each
	wordsEnd       = wordParameters + len(objective{}.parameters)
)

const _ = uint(statusWords - wordsEnd)

// The bits of wordWants: of what gradients are wanted.
const (
	wantsRows = 1 << iota
	wantsKeys
	wantsNegatives
)

// common are the words that must be the same on all ranks, and so must those of the
// parameters.
var common = [...]struct {
	name string
	kind error
	show func(word uint64) any
}{
	wordLoss - firstWord:              {"Loss", ErrParameter, showLoss},
	wordRing - firstWord:              {"Ring", ErrParameter, showBool},
	wordSymmetric - firstWord:         {"Symmetric", ErrParameter, showBool},
	wordInBatch - firstWord:           {"InBatch", ErrParameter, showBool},
	wordPrecision - firstWord:         {"Precision", ErrParameter, showPrecision},
	wordDim - firstWord:               {"the number of columns of Query", ErrShape, showInt},
	wordGuideDim - firstWord:          {"the number of columns of GuideQuery", ErrShape, showInt},
	wordHasKey - firstWord:            {"Key", ErrShape, showGiven},
	wordHasNegatives - firstWord:      {"Negatives", ErrShape, showGiven},
	wordHasGuideNegatives - firstWord: {"GuideNegatives", ErrShape, showGiven},
	wordHasPositives - firstWord:      {"Positives", ErrShape, showGiven},
	wordHasLabels - firstWord:         {"Labels", ErrShape, showGiven},
	wordHasKeyLabels - firstWord:      {"KeyLabels", ErrShape, showGiven},
	wordHasNegativeLabels - firstWord: {"NegativeLabels", ErrShape, showGiven},
	wordHasWeights - firstWord:        {"Weights", ErrShape, showGiven},
	wordHasKeyLogQ - firstWord:        {"KeyLogQ", ErrShape, showGiven},
	wordHasNegativeLogQ - firstWord:   {"NegativeLogQ", ErrShape, showGiven},
	wordHasQueue - firstWord:          {"Queue", ErrShape, showGiven},
	wordQueueLen - firstWord:          {"Queue.Len", ErrShape, showInt},
	wordQueueCap - firstWord:          {"Queue.Cap", ErrShape, showInt},
	wordQueueNext - firstWord:         {"the place of the next key in Queue", ErrShape, showInt},
	wordQueueLabels - firstWord:       {"the list of labels in Queue", ErrShape, showGiven},
}

// lossNames are those of the losses that have words.
var lossNames = [...]string{"none", "InfoNCE", "CLIP", "NTXent", "SigLIP", "SupCon", "DCL", "HardNegative", "NegativeCosine", "BarlowTwins", "VICReg", "Matryoshka", "Sum"}

// lossIndex returns the word of a loss.
func lossIndex(name string) uint64 { return uint64(max(0, slices.Index(lossNames[:], name))) }

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
	w[wordLoss], w[wordRing] = lossIndex(a.name), flag(ring)
	w[wordSymmetric], w[wordInBatch] = flag(a.symmetric), flag(a.keepsKeys)
	w[wordPrecision] = uint64(a.options.Precision)
	for i, p := range a.parameters {
		w[wordParameters+i] = uint64(math.Float32bits(p.value))
	}
	w[wordDim], w[wordGuideDim] = uint64(b.Query.Cols), uint64(b.GuideQuery.Cols)
	w[wordHasKey], w[wordHasNegatives] = flag(!b.Key.isZero()), flag(!b.Negatives.isZero())
	w[wordHasGuideNegatives], w[wordHasPositives] = flag(!b.GuideNegatives.isZero()), flag(b.Positives != nil)
	w[wordHasLabels], w[wordHasKeyLabels], w[wordHasNegativeLabels] = flag(b.Labels != nil), flag(b.KeyLabels != nil), flag(b.NegativeLabels != nil)
	w[wordHasWeights], w[wordHasKeyLogQ], w[wordHasNegativeLogQ] = flag(b.Weights != nil), flag(b.KeyLogQ != nil), flag(b.NegativeLogQ != nil)
	w[wordHasQueue] = flag(b.Queue != nil)
	if q := b.Queue; q != nil {
		w[wordQueueLen], w[wordQueueCap] = uint64(q.Len()), uint64(q.Cap())
		w[wordQueueNext], w[wordQueueLabels] = uint64(q.next), flag(q.labels != nil)
	}
	w[wordExamples], w[wordKeys], w[wordNegatives] = uint64(b.Query.Rows), uint64(b.Key.Rows), uint64(b.Negatives.Rows)
	w[wordHasHard], w[wordHasLists] = flag(!b.Hard.isZero()), flag(b.Positives != nil || b.Exclude != nil)
	anchors, weight, logQ := 0, 0.0, 0.0
	for i := range a.n {
		if a.form == engine.Sigmoid || b.Positives == nil || len(b.Positives[i]) > 0 {
			anchors++
			weight += a.batch.weight(i)
		}
	}
	for _, list := range b.Positives {
		w[wordPairs] += uint64(len(list))
	}
	for _, q := range [...][]float32{b.KeyLogQ, b.NegativeLogQ} {
		for _, v := range q {
			logQ = max(logQ, math.Abs(float64(v)))
		}
	}
	w[wordAnchors], w[wordWeight], w[wordLogQ] = uint64(anchors), math.Float64bits(weight), math.Float64bits(logQ)
	if a.dot {
		query, other := a.greatestNorms()
		w[wordQueryNorm], w[wordOtherNorm] = math.Float64bits(query), math.Float64bits(other)
	}
	rows, keys, negatives := !g.Query.isZero(), !g.Key.isZero() && !a.stopKey, !g.Negatives.isZero()
	if a.oneList() {
		rows, keys = rows || keys, false
	}
	a.wantRows = rows
	w[wordWants] = flag(rows)*wantsRows + flag(keys)*wantsKeys + flag(negatives)*wantsNegatives
	return w[firstWord:]
}

// agree returns an error unless the ranks evaluate one loss of one kind of
// batch, and learns how that is spread. It is the same on all ranks.
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
	all, err := a.learnRanks()
	if err != nil {
		return err
	}
	a.dim = a.batch.Query.Cols
	a.lists = a.batch.Positives != nil
	if all.hard && !a.keepsKeys {
		a.inBatch = false // also where no query has a hard negative
	}
	a.sendsKeys = a.oneList() || a.inBatch || a.lists
	a.setCounts()
	a.travel = a.size > 1 && a.sum(0, a.size, a.colCount) > 0
	a.ring = ring && a.travel
	a.wantCols = all.wants&wantsNegatives != 0 || all.wants&wantsKeys != 0 && a.sendsKeys
	a.wantAny = a.wantCols || all.wants&wantsRows != 0
	a.direct = a.form == engine.Softmax && !a.oneList() && !a.symmetric && !a.ring
	a.setWidths()
	if err := a.setProblem(all); err != nil {
		return withFunction("Sharded: "+a.name, err)
	}
	return withFunction("Sharded: "+a.name, a.checkRows(a.total))
}

// allRanks are what the statuses of all ranks come to.
type allRanks struct {
	hard, lists      bool // whether any rank has hard negatives, or lists of keys
	anchors          int
	weight           float64 // of the anchors
	logQ             float64 // the greatest magnitude
	query, otherNorm float64 // the greatest norms, of queries and of other rows
	wants            uint64
}

// learnRanks reads the words that differ.
func (a *shard) learnRanks() (all allRanks, err error) {
	a.examples, a.keyRows, a.negatives, a.pairsOf = a.examples[:0], a.keyRows[:0], a.negatives[:0], a.pairsOf[:0]
	a.first, a.total = 0, 0
	limit, columns, pairs := maxElements/a.batch.Query.Cols, 0, 0
	for r := range a.size {
		n, k, m, err := a.rowsOf(r, limit-columns)
		if err != nil {
			return all, err
		}
		columns += n + k + m
		a.examples, a.keyRows, a.negatives = append(a.examples, n), append(a.keyRows, k), append(a.negatives, m)
		if r < a.rank {
			a.first += n
		}
		a.total += n
		count, err := a.count(r, wordPairs, "the number of Positives", 0, maxElements/pairLen-pairs)
		if err != nil {
			return all, err
		}
		pairs += count
		a.pairsOf = append(a.pairsOf, count)
		anchors, err := a.count(r, wordAnchors, "the number of anchors", 0, n)
		if err != nil {
			return all, err
		}
		all.anchors += anchors
		var v [4]float64
		for i, what := range [len(v)]string{"the sum of Weights", "the greatest logQ", "the greatest norm of Query", "the greatest norm of the other rows"} {
			v[i] = math.Float64frombits(a.word(r, wordWeight+i))
			if !(v[i] >= 0 && v[i] < maxNumber) {
				return all, fmt.Errorf("%v: %s of rank %d is %v, which none is: %w", a.function, what, r, v[i], ErrShape)
			}
		}
		all.weight += v[0]
		all.logQ, all.query, all.otherNorm = max(all.logQ, v[1]), max(all.query, v[2]), max(all.otherNorm, v[3])
		all.hard = all.hard || a.word(r, wordHasHard) != 0
		all.lists = all.lists || a.word(r, wordHasLists) != 0
		all.wants |= a.word(r, wordWants)
	}
	a.anyLists, a.allWants = all.lists, all.wants
	return all, nil
}

// maxNumber is more than any sum of float32 and than any norm.
const maxNumber = 0x1p200

// rowsOf returns the numbers of examples, of keys and of negatives of a rank, which
// together are at most limit.
func (a *shard) rowsOf(r, limit int) (n, k, m int, err error) {
	if n, err = a.count(r, wordExamples, "the number of rows of Query", 1, limit/2); err != nil {
		return 0, 0, 0, err
	}
	k = n
	if a.batch.Positives != nil {
		if k, err = a.count(r, wordKeys, "the number of rows of Key", 1, limit-n); err != nil {
			return 0, 0, 0, err
		}
	}
	least, most := 0, 0
	if !a.batch.Negatives.isZero() {
		least, most = 1, limit-n-k
	}
	if m, err = a.count(r, wordNegatives, "the number of rows of Negatives", least, most); err != nil {
		return 0, 0, 0, err
	}
	wanted := wantsRows | wantsKeys | wantsNegatives
	if a.oneList() {
		wanted = wantsRows
	}
	_, err = a.count(r, wordWants, "the set of wanted gradients", 0, wanted)
	return n, k, m, err
}

// setProblem sets what depends on the batch of all ranks.
func (a *shard) setProblem(all allRanks) error {
	switch {
	case all.anchors == 0:
		return fmt.Errorf("Positives has no positive for any of the %d rows of Query: %w", a.total, ErrEmpty)
	case all.weight == 0:
		return fmt.Errorf("Weights are 0 for all queries that count, on all ranks: %w", ErrParameter)
	}
	a.setPairs(a.total)
	a.weight = 1 / all.weight
	if a.symmetric || a.oneList() && !a.batch.Key.isZero() {
		a.weight /= 2
	}
	a.keyWeight = a.weight // if the key of each query is its only positive
	a.problem.Gain = a.weight
	if a.form == engine.Sigmoid && a.batch.Weights != nil {
		a.problem.RowGains = a.batch.Weights
	}
	if a.dot {
		query, other, err := a.scaleDots(all.query, all.otherNorm)
		if err != nil {
			return err
		}
		a.dotFactors = [2]float64{query, other}
	}
	a.biased = a.batch.KeyLogQ != nil || a.batch.NegativeLogQ != nil
	if a.biased {
		a.problem.Bound = 1 + all.logQ/(a.problem.Scale*a.problem.Exponents[0])
	}
	return nil
}
