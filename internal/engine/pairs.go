package engine

import (
	"slices"

	"github.com/contrastive-go/contrastive/simd"
)

// Pairs are pairs of rows with vectors that are no part of the sums over pairs of a
// problem, as the positive ones. Their similarities are computed one by one, in float64,
// and the loss gives the derivatives with respect to their logits, from which the engine
// adds what they contribute to the gradients.
type Pairs struct {
	List   *List     // of the rows' partners: the problem's Cols, or a list of their own
	First  []int32   // for each row, its first pair in the slices below; and their number
	Slots  []int32   // for each pair, the slot of the partner in List
	Cosine []float64 // its similarity
	Pull   []float64 // ∂Loss/∂logit

	// The pairs by the slot of the partner, from transpose.
	ownerFirst []int32 // for each slot of List, its first pair in owners; and their number
	owners     []int32
	rows       []int32 // of the pairs
	transposed bool    // whether these are of all pairs so far
	matched    bool    // whether they are not needed: each pair is of the row and the slot of its number

	gaps bool // whether a row has no pair
	runs []run
}

// A run is pairs, one of each row and slot from a first on.
type run struct{ pair, row, slot, n int }

// Reset empties p, for partners in list.
func (p *Pairs) Reset(list *List) {
	p.List, p.transposed, p.matched, p.gaps = list, false, false, false
	p.runs = p.runs[:0]
	p.First, p.Slots, p.Cosine, p.Pull = append(p.First[:0], 0), p.Slots[:0], p.Cosine[:0], p.Pull[:0]
}

// Add makes slot a partner of the row that follows those that Close has closed.
func (p *Pairs) Add(slot int, cosine float64) {
	p.Slots, p.Cosine, p.Pull = append(p.Slots, int32(slot)), append(p.Cosine, cosine), append(p.Pull, 0)
	p.transposed = false
}

// Close ends the list of a row, which may be empty.
func (p *Pairs) Close() {
	n := int32(len(p.Slots))
	p.gaps = p.gaps || p.First[len(p.First)-1] == n
	p.First, p.transposed = append(p.First, n), false
}

// AddEach makes the slots from first on the partners of the n rows of list that follow, one
// of each, and closes these.
func (p *Pairs) AddEach(list *List, n, first int) {
	p.Cosine = slices.Grow(p.Cosine, n)[:len(p.Cosine)+n]
	m := measuring{p.Cosine[len(p.Slots):], list, p.List, len(p.First) - 1, first}
	if e := list.Workers; e.shares(n) {
		e.measuring = m
		e.each((n+sharedRows-1)/sharedRows, (*Engine).measure, step{})
		e.measuring = measuring{}
	} else {
		cosines(m.cosines, m.p, m.i, m.q, m.j)
	}
	p.addRun(n, first)
}

// AddReverse makes the n rows from row on the partners of those that follow, of which they
// are the slots, and whose pairs with them there are.
func (p *Pairs) AddReverse(n, row int) {
	p.Cosine = append(p.Cosine, p.Cosine[p.First[row]:][:n]...)
	p.addRun(n, row)
}

// addRun is AddEach but for the similarities.
func (p *Pairs) addRun(n, first int) {
	p.runs = append(p.runs, run{len(p.Slots), len(p.First) - 1, first, n})
	at, row := len(p.Slots), len(p.First)
	p.First, p.Slots, p.Pull = slices.Grow(p.First, n)[:row+n], slices.Grow(p.Slots, n)[:at+n], slices.Grow(p.Pull, n)[:at+n]
	clear(p.Pull[at:])
	for i := range n {
		p.Slots[at+i], p.First[row+i] = int32(first+i), int32(at+i+1)
	}
	p.transposed = false
}

// isRuns reports whether all pairs came by AddEach and AddReverse.
func (p *Pairs) isRuns() bool {
	n := 0
	for _, r := range p.runs {
		n += r.n
	}
	return n == len(p.Slots)
}

// among reports whether the partners are in list.
func (p *Pairs) among(list *List) bool { return p != nil && p.List == list }

// Of returns the range of the pairs of a row.
func (p *Pairs) Of(row int) (first, end int) { return int(p.First[row]), int(p.First[row+1]) }

// find returns the pair of a row and a slot of list, or -1.
func (p *Pairs) find(list *List, row, slot int) int {
	if p.among(list) {
		first, end := p.Of(row)
		for k := first; k < end; k++ {
			if int(p.Slots[k]) == slot {
				return k
			}
		}
	}
	return -1
}

// Owners returns the pairs of a slot of List, in the order of the rows, and Row the row
// of a pair, once Transpose has been called. Run calls it if List wants gradients or
// columns are anchors.
func (p *Pairs) Owners(slot int) []int32 {
	if p.matched {
		return p.Slots[slot : slot+1]
	}
	return p.owners[p.ownerFirst[slot]:p.ownerFirst[slot+1]]
}

func (p *Pairs) Row(pair int32) int {
	if p.matched {
		return int(pair)
	}
	return int(p.rows[pair])
}

// Transpose lists the pairs by the slot of the partner.
func (p *Pairs) Transpose() {
	p.matched = len(p.runs) == 1 && p.runs[0] == run{n: p.List.n} && len(p.Slots) == p.List.n
	if p.matched || p.transposed && len(p.ownerFirst) == p.List.n+2 {
		return
	}
	p.transposed = true
	p.ownerFirst = resize(p.ownerFirst, p.List.n+2)
	clear(p.ownerFirst)
	next := p.ownerFirst[1:] // becomes the first of each slot, and moves on to its end
	for _, slot := range p.Slots {
		next[slot+1]++
	}
	for slot := range p.List.n {
		next[slot+1] += next[slot]
	}
	p.owners, p.rows = resize(p.owners, len(p.Slots)), resize(p.rows, len(p.Slots))
	for row := range len(p.First) - 1 {
		for k := p.First[row]; k < p.First[row+1]; k++ {
			p.rows[k] = int32(row)
			p.owners[next[p.Slots[k]]] = k
			next[p.Slots[k]]++
		}
	}
}

// partners are those of the slots of a list.
type partners struct {
	list  *List   // of the partners
	first []int32 // for each slot, its first element of pairs; and their number
	pairs []int32 // nil if these are their own numbers
	slots []int32 // for each pair, the partner's
}

// ofRows returns the partners of rows, and ofSlots those of the slots of List, which are
// rows, once Transpose has been called.
func (p *Pairs) ofRows() partners { return partners{p.List, p.First, nil, p.Slots} }
func (p *Pairs) ofSlots(rows *List) partners {
	if p.matched {
		return partners{rows, p.First, nil, p.Slots}
	}
	return partners{rows, p.ownerFirst, p.owners, p.rows}
}

// pair returns the k'th.
func (of *partners) pair(k int32) int32 {
	if of.pairs == nil {
		return k
	}
	return of.pairs[k]
}

// addPulls adds what pairs contribute to the gradients of some slots, r's at r·padded,
// times their factors. Where each slot has one partner, and these follow each other, as is
// the rule, a kernel takes them together.
func (e *Engine) addPulls(p *Pairs, of partners, w *scratch, slots stripe, grads []float32, factors []float64) {
	stride := e.plan.padded
	for r := 0; r < slots.rows; {
		k, end := of.first[slots.first+r], of.first[slots.first+r+1]
		if end == k+1 {
			if n := e.pullsInRow(p, &of, w.pulls, stripe{slots.first + r, slots.rows - r}, factors[r:]); n > 0 {
				partner := int(of.slots[of.pair(k)])
				s := of.list.segment(partner)
				e.plan.k.AddRows(grads[r*stride:], stride, s.from(partner), s.Stride, w.pulls[:n], of.list.dim)
				r += n
				continue
			}
		}
		for g := grads[r*stride:][:of.list.dim]; k < end; k++ {
			pair := of.pair(k)
			of.list.AddScaled(factors[r]*e.pull(p, pair, slots.first+r), int(of.slots[pair]), g)
		}
		r++
	}
}

// pullsInRow stores what the partners' rows are to be multiplied by of the first of some
// slots that have one partner each, in successive rows of a matrix, and returns their number.
// It ends where a factor is not as precise as float32.
func (e *Engine) pullsInRow(p *Pairs, of *partners, pulls []float32, slots stripe, factors []float64) (n int) {
	partner := int(of.slots[of.pair(of.first[slots.first])])
	s := of.list.segment(partner)
	scales := of.list.scale[partner:min(s.first+s.Rows, partner+slots.rows)]
	for i, scale := range scales {
		slot := slots.first + i
		k := of.first[slot]
		if of.first[slot+1] != k+1 {
			return i
		}
		pair := of.pair(k)
		if int(of.slots[pair]) != partner+i {
			return i
		}
		f, ok := factor(factors[i] * e.pull(p, pair, slot) * scale)
		if !ok {
			return i
		}
		pulls[i] = f
	}
	return len(scales)
}

// putPulls makes what Positives pull weights of a block, where the exponentials of these
// pairs are 0.
func (e *Engine) putPulls(b block) {
	if !e.plan.pulls {
		return
	}
	p, c := e.p.Positives, e.plan.k.Cols
	col0, unit := b.panel*c, 1/e.gain()
	if !p.isRuns() {
		for r := range b.rows {
			first, end := p.Of(b.first + r)
			for k, slot := range p.Slots[first:end] {
				if j := int(slot) - col0; j >= 0 && j < c {
					b.s[r*c+j] += float32(e.pull(p, int32(first+k), b.first+r) * unit)
				}
			}
		}
		return
	}
	for _, run := range p.runs {
		d := run.slot - run.row
		for r := max(b.first, run.row, col0-d); r < min(b.end(), run.row+run.n, col0+c-d); r++ {
			b.s[(r-b.first)*c+r+d-col0] += float32(e.pull(p, int32(run.pair+r-run.row), r) * unit)
		}
	}
}

// pull returns that of a pair of a slot. In a symmetric problem, the slot is a partner of
// its partner, with a pull of its own.
func (e *Engine) pull(p *Pairs, pair int32, slot int) float64 {
	pull := p.Pull[pair]
	if e.p.Symmetric {
		pull += p.Pull[p.find(e.p.Cols, int(p.Slots[pair]), slot)]
	}
	return pull
}

// apart reports whether the partners have a list of their own whose gradients are
// wanted.
func (p *Pairs) apart(cols *List) bool {
	return p != nil && p.List != cols && p.List.wants(0, p.List.n)
}

// finishPositives and finishHard write the gradients of the i'th few partners that have
// a list of their own.
func (e *Engine) finishPositives(_ step, worker, i int) { e.finishApart(e.p.Positives, worker, i) }
func (e *Engine) finishHard(_ step, worker, i int)      { e.finishApart(e.p.Hard, worker, i) }

func (e *Engine) finishApart(p *Pairs, worker, i int) {
	list, c := p.List, e.plan.k.Cols
	g := e.scratch[worker].vector[:list.dim]
	for slot := i * c; slot < min((i+1)*c, list.n); slot++ {
		if !list.wantsOne(slot) {
			continue
		}
		if owners := p.Owners(slot); len(owners) == 1 { // the rule: its part along the vector is known
			k := owners[0]
			simd.ScaleTo(g, e.p.Rows.row(p.Row(k)), p.Pull[k]*e.p.Rows.scale[p.Row(k)])
			list.store(list.segment(slot), slot, g, e.p.Scale, p.Pull[k]*p.Cosine[k])
			continue
		}
		clear(g)
		for _, k := range p.Owners(slot) {
			e.p.Rows.AddScaled(p.Pull[k], p.Row(k), g)
		}
		list.Store(slot, g, e.p.Scale)
	}
}
