package engine

// Positives are the positive pairs of a problem. They are no part of its sums over
// pairs: their similarities are computed one by one, in float64, and the loss gives
// the derivatives with respect to their logits, from which the engine adds what they
// contribute to the gradients.
type Positives struct {
	List   *List     // of the positives: the problem's Cols, or a list of their own
	First  []int32   // for each row, its first pair in the slices below; and their number
	Slots  []int32   // for each pair, the slot of the positive in List
	Cosine []float64 // its similarity
	Pull   []float64 // ∂Loss/∂logit

	// The pairs by the slot of the positive, from transpose.
	ownerFirst []int32 // for each slot of List, its first pair in owners; and their number
	owners     []int32
	rows       []int32 // of the pairs
}

// Reset empties p, for positives in list.
func (p *Positives) Reset(list *List) {
	p.List = list
	p.First, p.Slots, p.Cosine, p.Pull = append(p.First[:0], 0), p.Slots[:0], p.Cosine[:0], p.Pull[:0]
}

// Add makes slot a positive of the row that follows those that Close has closed.
func (p *Positives) Add(slot int, cosine float64) {
	p.Slots, p.Cosine, p.Pull = append(p.Slots, int32(slot)), append(p.Cosine, cosine), append(p.Pull, 0)
}

// Close ends the list of a row, which may be empty.
func (p *Positives) Close() { p.First = append(p.First, int32(len(p.Slots))) }

// among reports whether the positives are in list.
func (p *Positives) among(list *List) bool { return p != nil && p.List == list }

// of returns the range of the pairs of a row.
func (p *Positives) of(row int) (first, end int) { return int(p.First[row]), int(p.First[row+1]) }

// find returns the pair of a row and a slot of list, or -1.
func (p *Positives) find(list *List, row, slot int) int {
	if p.among(list) {
		first, end := p.of(row)
		for k := first; k < end; k++ {
			if int(p.Slots[k]) == slot {
				return k
			}
		}
	}
	return -1
}

// transpose lists the pairs by the slot of the positive, in the order of the rows.
func (p *Positives) transpose() {
	if p == nil {
		return
	}
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

// addPositives adds what the positives of a row contribute to its gradient.
func (e *Engine) addPositives(row int, g []float32, factor float64) {
	p := e.p.Positives
	if p == nil {
		return
	}
	first, end := p.of(row)
	for k := first; k < end; k++ {
		pull := p.Pull[k]
		if e.p.Symmetric {
			// The row is a positive of its positive, with a pull of its own.
			pull += p.Pull[p.find(e.p.Cols, int(p.Slots[k]), row)]
		}
		p.List.AddScaled(factor*pull, int(p.Slots[k]), g)
	}
}

// addOwners adds to the gradient of a positive what the rows whose positive it is
// contribute.
func (e *Engine) addOwners(slot int, g []float32, factor float64) {
	p := e.p.Positives
	for _, k := range p.owners[p.ownerFirst[slot]:p.ownerFirst[slot+1]] {
		e.p.Rows.AddScaled(factor*p.Pull[k], int(p.rows[k]), g)
	}
}

// ownPositives reports whether the positives have a list of their own whose
// gradients are wanted.
func (e *Engine) ownPositives() bool {
	p := e.p.Positives
	return p != nil && p.List != e.p.Cols && p.List.wants(0, p.List.n)
}

// finishPositives writes the gradients of the i'th few positives, which are in a list
// of their own.
func (e *Engine) finishPositives(_ step, worker, i int) {
	list, c := e.p.Positives.List, e.plan.k.Cols
	g := e.scratch[worker].vector[:list.dim]
	for slot := i * c; slot < min((i+1)*c, list.n); slot++ {
		if list.wants(slot, slot+1) {
			clear(g)
			e.addOwners(slot, g, 1)
			list.Store(slot, g, e.p.Scale)
		}
	}
}
