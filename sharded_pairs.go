package contrastive

import (
	"math"
	"slices"

	"github.com/contrastive-go/contrastive/internal/engine"
	"github.com/contrastive-go/contrastive/simd"
)

// shardPairs are the positives of the local queries. Where they are listed, their keys may
// be on other ranks: a pair is complete once its key has been here. Its slot among
// positives is then the row of Key of all ranks.
type shardPairs struct {
	guided      []float64    // the guide's similarity of each pair
	columnPairs engine.Pairs // those with keys of a.columns
	idle        []bool       // queries without a positive
	pairOfKeys  keyPairs
	stats       []float32 // of all keys that are anchors
}

// keyPairs are the pairs of all ranks, by key, where keys are anchors.
type keyPairs struct {
	sent, got []float32
	key       []int32
	cosine    []float64
	weight    []float64
	guided    []float64
	first     []int32 // for each key, its first pair in order; and their number
	order     []int32
}

// pairLen is the number of elements of a pair that travels: its key, its similarity, the
// guide's, and its weight.
const pairLen = 3*wordLen + 1

// makePairs pairs the local queries with their positives and hard negatives. Similarities
// to keys of other ranks are computed when these are here, by findPositives.
func (a *shard) makePairs() {
	b, p := &a.batch, &a.positives
	a.shares, a.keyShares, a.pairLogQ, a.guided = a.shares[:0], a.keyShares[:0], a.pairLogQ[:0], a.guided[:0]
	a.limits, a.rowLimits, a.colLimits = a.limits[:0], a.rowLimits[:0], a.colLimits[:0]
	p.Reset(&a.local)
	a.idle = a.idle[:0]
	switch {
	case a.layout == byClass:
	case a.lists:
		for _, list := range b.Positives {
			for _, j := range list {
				p.Add(j, 0)
			}
			p.Close()
			a.idle = append(a.idle, len(list) == 0)
		}
		a.sharePositives()
		a.guided, a.pairLogQ = zeros(a.guided, len(p.Slots)), zeros(a.pairLogQ, len(p.Slots))
	default:
		for i := range a.n {
			p.Add(a.n+i, engine.Cosine(&a.local, i, &a.local, a.n+i))
			p.Close()
			a.guided = append(a.guided, a.guidedBy(i, i))
		}
		for _, q := range b.KeyLogQ {
			a.pairLogQ = append(a.pairLogQ, float64(q))
		}
	}
	a.hard.Reset(&a.hardRows)
	if b.Hard.isZero() {
		return
	}
	for i := range a.n {
		for range b.hardCount(i) {
			slot := len(a.hard.Slots)
			a.hard.Add(slot, engine.Cosine(&a.local, i, &a.hardRows, slot))
		}
		a.hard.Close()
	}
}

// guidedBy returns the guide's similarity of query i and the local key j.
func (a *shard) guidedBy(i, j int) float64 {
	if a.batch.GuideQuery.isZero() {
		return 0
	}
	return engine.Cosine(&a.guides[0], i, &a.guideRows, j)
}

// keysInSection returns the rows of Key of all ranks that are keys of a.columns.
func (a *shard) keysInSection() (first, end int) {
	first = a.sum(0, a.columns.first, a.keyCount)
	return first, first + a.columns.keys.Rows
}

// findPositives computes the similarities of the pairs whose key is in a.columns. Those
// with local keys are as exact as in one process. Vectors of other ranks are rounded to
// float32, by which a cosine is off by 2·2⁻²⁴ at most; dot products are exact.
func (a *shard) findPositives() {
	c, p := &a.columns, &a.positives
	first, end := a.keysInSection()
	guideDim := a.widths[partGuideKeys]
	for i := range a.n {
		for k, last := p.Of(i); k < last; k++ {
			j := int(p.Slots[k])
			if j < first || j >= end {
				continue
			}
			if own := j - a.firstKey; own >= 0 && own < a.keyCount(a.rank) {
				p.Cosine[k] = engine.Cosine(&a.local, i, &a.local, a.n+own)
				a.guided[k] = a.guidedBy(i, own)
			} else {
				p.Cosine[k] = simd.DotFloat64(a.batch.Query.Row(i), c.keys.Row(j-first)) * a.local.Scale(i)
				if guideDim > 0 {
					a.guided[k] = simd.DotFloat64(a.batch.GuideQuery.Row(i), c.parts[partGuideKeys][(j-first)*guideDim:][:guideDim]) * a.guides[0].Scale(i)
				}
			}
			if q := c.parts[partKeyLogQ]; len(q) > 0 {
				a.pairLogQ[k] = float64(q[j-first])
			}
			if a.form == engine.Sigmoid { // which depends on no other pair
				x := a.open(engine.Stat{})
				a.addPositive(x, k, i, nil, 1)
				x.times(a.weight*a.batch.weight(i), a.term(&a.objective, x))
				p.Pull[k] = x.slopes[0]
			}
		}
	}
}

// sectionPairs returns the pairs with keys of a.columns, which are the first in list.
func (a *shard) sectionPairs(list *engine.List) *engine.Pairs {
	p, all := &a.columnPairs, &a.positives
	first, end := a.keysInSection()
	p.Reset(list)
	for i := range a.n {
		for k, last := all.Of(i); k < last; k++ {
			if j := int(all.Slots[k]); j >= first && j < end {
				p.Add(j-first, all.Cosine[k])
				p.Pull[len(p.Pull)-1] = all.Pull[k]
			}
		}
		p.Close()
	}
	return p
}

// excludeKeys masks the pairs with keys of a.columns that lists name.
func (a *shard) excludeKeys() {
	b, m := &a.batch, &a.problem.Mask
	first, end := a.keysInSection()
	a.excluded, a.excludedAt = a.excluded[:0], append(a.excludedAt[:0], 0)
	add := func(j int) {
		if j >= first && j < end {
			a.excluded = append(a.excluded, int32(j-first))
		}
	}
	for i := range a.n {
		at := len(a.excluded)
		if b.Positives == nil {
			add(a.firstKey + i)
		} else {
			for _, j := range b.Positives[i] {
				add(j)
			}
		}
		if b.Exclude != nil {
			for _, j := range b.Exclude[i] {
				add(j)
			}
		}
		slices.Sort(a.excluded[at:])
		a.excludedAt = append(a.excludedAt, int32(len(a.excluded)))
	}
	m.Excluded, m.ExcludedFirst = a.excluded, a.excludedAt
}

// setLimits sets those of the filter, once the positives are known.
func (a *shard) setLimits() {
	b := &a.batch
	a.filtersHard = b.GuideQuery.isZero()
	unit := a.unit
	if !a.filtersHard {
		unit = 1
	}
	similarity := func(cosine, guided float64) float64 {
		if a.filtersHard {
			return cosine * a.unit
		}
		return guided
	}
	limit := func(least float64) float64 {
		if math.IsInf(least, 1) { // without a positive
			return least
		}
		return a.limit(least)
	}
	for i := range a.n {
		least := math.Inf(1)
		for k, end := a.positives.Of(i); k < end; k++ {
			least = min(least, similarity(a.positives.Cosine[k], a.guided[k]))
		}
		a.limits = append(a.limits, limit(least))
		a.rowLimits = append(a.rowLimits, float32(limit(least)/unit))
	}
	keys := &a.pairOfKeys
	for j := range a.ownPart(partKeyLimits) {
		least := math.Inf(1)
		if !a.lists {
			least = similarity(a.positives.Cosine[j], a.guided[j])
		} else {
			for _, k := range keys.of(a.firstKey + j) {
				least = min(least, similarity(keys.cosine[k], keys.guided[k]))
			}
		}
		a.ownPart(partKeyLimits)[j] = float32(limit(least) / unit)
	}
}

// of returns the pairs of a key, in the order of the queries.
func (p *keyPairs) of(key int) []int32 { return p.order[p.first[key]:p.first[key+1]] }

// gatherPairs gathers the pairs of all ranks, and sets what the anchors among the keys
// weigh in the mean.
func (a *shard) gatherPairs() error {
	p := &a.pairOfKeys
	keys := a.sum(0, a.size, a.keyCount)
	pairsOf := func(r int) int { return pairLen * a.pairsOf[r] }
	p.sent = p.sent[:0]
	p.got = resize(p.got, a.sum(0, a.size, pairsOf))
	for k, j := range a.positives.Slots {
		var pair [pairLen]float32
		putBits(pair[:], uint64(j))
		putFloat64(pair[wordLen:], a.positives.Cosine[k])
		putFloat64(pair[2*wordLen:], a.guided[k])
		pair[3*wordLen] = 1
		if len(a.keyShares) > 0 {
			pair[3*wordLen] = float32(a.keyShares[k]) // exact, as it was one
		}
		p.sent = append(p.sent, pair[:]...)
	}
	if err := a.allGather(p.got, p.sent, pairsOf); err != nil {
		return err
	}
	p.key, p.cosine, p.guided, p.weight = p.key[:0], p.cosine[:0], p.guided[:0], p.weight[:0]
	for src := p.got; len(src) > 0; src = src[pairLen:] {
		key, ok := getBits(src)
		cosine, guided, weight := getFloat64(src[wordLen:]), getFloat64(src[2*wordLen:]), float64(src[3*wordLen])
		if !ok || key >= uint64(keys) || cosine-cosine != 0 || guided-guided != 0 || !(weight >= 0 && weight <= math.MaxFloat32) {
			a.garbled = true
			key, cosine, guided, weight = 0, 0, 0, 0
		}
		p.key = append(p.key, int32(key))
		p.cosine, p.guided, p.weight = append(p.cosine, cosine), append(p.guided, guided), append(p.weight, weight)
	}
	p.sort(keys)
	own := 0.0
	for j := a.firstKey; j < a.firstKey+a.keyCount(a.rank); j++ {
		if p.sum(j) > 0 {
			own++
		}
	}
	all, err := a.gatherSums([]float64{own})
	if err != nil {
		return err
	}
	anchors := 0.0
	for _, n := range all {
		anchors += n
	}
	a.keyWeight = 1 / anchors / 2
	return nil
}

// sort lists the pairs by key.
func (p *keyPairs) sort(keys int) {
	p.first = zeros(p.first, keys+2)
	p.order = resize(p.order, len(p.key))
	next := p.first[1:] // becomes the first of each key, and moves on to its end
	for _, j := range p.key {
		next[j+1]++
	}
	for j := range keys {
		next[j+1] += next[j]
	}
	for k, j := range p.key {
		p.order[next[j]] = int32(k)
		next[j]++
	}
}

// sum returns that of the weights of a key's pairs.
func (p *keyPairs) sum(key int) float64 {
	sum := 0.0
	for _, k := range p.of(key) {
		sum += p.weight[k]
	}
	return sum
}

// learnKeys asks the keys that are anchors, given the sums of the local ones in a.in, for
// the weights of their pairs, which go to the message of this rank. What a key pulls its
// queries by, the ranks of these compute: they know the pairs of all.
func (a *shard) learnKeys() error {
	message := a.ownPart(partWeights)
	if !a.lists {
		for j := range a.keyCount(a.rank) {
			s := a.keyStat(a.in[statLen*j:], a.logQOf(j))
			x := a.pairAnchor(j, s)
			t := a.learn(x, noQuery, a.keyWeight*a.batch.weight(j))
			a.positives.Pull[j] += x.slopes[0]
			a.putWeight(message, j, a.problem.Weight(s, t.lse))
		}
		return nil
	}
	count := func(r int) int { return statLen * a.keyCount(r) }
	a.stats = resize(a.stats, a.sum(0, a.size, count))
	if err := a.allGather(a.stats, a.in[:count(a.rank)], count); err != nil {
		return err
	}
	p := &a.pairOfKeys
	firstPair := int32(a.sum(0, a.rank, func(r int) int { return a.pairsOf[r] }))
	endPair := firstPair + int32(a.pairsOf[a.rank])
	for j := range len(p.first) - 2 {
		own, mine := j-a.firstKey, false
		owned := own >= 0 && own < a.keyCount(a.rank)
		logQ := 0.0
		if owned {
			logQ = a.logQOf(own)
		}
		for _, k := range p.of(j) {
			if k >= firstPair && k < endPair {
				mine, logQ = true, a.pairLogQ[k-firstPair]
			}
		}
		if !owned && !mine {
			continue
		}
		s, t := a.keyStat(a.stats[statLen*j:], logQ), term{}
		if sum := p.sum(j); sum > 0 {
			x := a.open(s)
			for _, k := range p.of(j) {
				a.addPair(x, p.cosine[k], logQ, p.weight[k]/sum)
			}
			if owned {
				t = a.learn(x, noQuery, a.keyWeight)
			} else {
				x.times(a.keyWeight, a.term(&a.objective, x))
			}
			for n, k := range p.of(j) {
				if k >= firstPair && k < endPair {
					a.positives.Pull[k-firstPair] += x.slopes[n]
				}
			}
		}
		if owned {
			a.putWeight(message, own, a.problem.Weight(s, t.lse))
		}
	}
	return nil
}

// logQOf returns that of a local key.
func (a *shard) logQOf(j int) float64 {
	if a.batch.KeyLogQ == nil {
		return 0
	}
	return float64(a.batch.KeyLogQ[j])
}

// keyStat returns the sums of a key that has come home or from its owner.
func (a *shard) keyStat(src []float32, logQ float64) engine.Stat {
	s := getStat(src)
	if a.biased {
		s.Bias = float64(float32(-logQ / (a.problem.Scale * a.problem.Exponents[0])))
	}
	if math.IsNaN(s.LSE[0]) || math.IsNaN(s.Top) || s.Mean[0]-s.Mean[0] != 0 {
		a.garbled, s = true, emptyStat
	}
	return s
}
