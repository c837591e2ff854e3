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
}

// Reset empties p, for partners in list.
func (p *Pairs) Reset(list *List) {
	p.List, p.transposed = list, false
	p.First, p.Slots, p.Cosine, p.Pull = append(p.First[:0], 0), p.Slots[:0], p.Cosine[:0], p.Pull[:0]
}

// Add makes slot a partner of the row that follows those that Close has closed.
func (p *Pairs) Add(slot int, cosine float64) {
	p.Slots, p.Cosine, p.Pull = append(p.Slots, int32(slot)), append(p.Cosine, cosine), append(p.Pull, 0)
	p.transposed = false
}

// Close ends the list of a row, which may be empty.
func (p *Pairs) Close() { p.First, p.transposed = append(p.First, int32(len(p.Slots))), false }

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
	for i := range n {
		p.Slots, p.Pull = append(p.Slots, int32(first+i)), append(p.Pull, 0)
		p.Close()
	}
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
	return p.owners[p.ownerFirst[slot]:p.ownerFirst[slot+1]]
}
func (p *Pairs) Row(pair int32) int { return int(p.rows[pair]) }

// Transpose lists the pairs by the slot of the partner.
func (p *Pairs) Transpose() {
	if p.transposed && len(p.ownerFirst) == p.List.n+2 {
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

// addPairs adds what the pairs of a row contribute to its gradient.
func (e *Engine) addPairs(p *Pairs, row int, g []float32, factor float64) {
	if p == nil {
		return
	}
	first, end := p.Of(row)
	for k := first; k < end; k++ {
		pull := p.Pull[k]
		if e.p.Symmetric {
			// The row is a partner of its partner, with a pull of its own.
			pull += p.Pull[p.find(e.p.Cols, int(p.Slots[k]), row)]
		}
		p.List.AddScaled(factor*pull, int(p.Slots[k]), g)
	}
}

// addOwners adds to the gradient of a slot what the rows whose partner it is contribute.
func (e *Engine) addOwners(p *Pairs, slot int, g []float32, factor float64) {
	for _, k := range p.Owners(slot) {
		e.p.Rows.AddScaled(factor*p.Pull[k], p.Row(k), g)
	}
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
		e.addOwners(p, slot, g, 1)
		list.Store(slot, g, e.p.Scale)
	}
}
