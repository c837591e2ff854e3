package contrastive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// A Collective connects the ranks that evaluate one loss together. All ranks
// make the same calls in the same order, Wait of each Transfer included, and each
// from one goroutine at a time. A call that fails, that is not the one of the other
// ranks, or whose context is nil or ends, returns an error; the ranks can then no
// longer be in step, and every later call returns an error as well. An implementation
// makes the calls of the other ranks fail, too, in bounded time.
//
// Values are passed on bit for bit, infinities included. Where a call has a dst and a
// src, they do not overlap. [NewLocalGroup] has an implementation within one process.
type Collective interface {
	// Rank is that of the caller, from 0 to Size()-1.
	Rank() int
	// Size is the number of ranks, at least 1.
	Size() int

	// AllGather places the src of rank r at dst[counts[0]+…+counts[r-1]:], for
	// all ranks. src has counts[Rank()] elements, and dst the sum of all. All
	// ranks give the same counts, which may be 0.
	AllGather(ctx context.Context, dst, src []float32, counts []int) error

	// AllReduce replaces data with its sum over the ranks, element by element.
	// All ranks get the same bits, and the same in every run.
	AllReduce(ctx context.Context, data []float32) error

	// Shift begins to send src to rank Rank()+1 and to receive dst from rank
	// Rank()-1, around the ring. dst is as long as the src of that rank, which may
	// be shorter or longer than one's own. Until Wait of the Transfer returns, dst
	// may not be used and src not be written to. At most two transfers are under way
	// at a time.
	Shift(ctx context.Context, dst, src []float32) (Transfer, error)
}

// A Transfer is a Shift that is under way.
type Transfer interface {
	// Wait returns when dst has been received and src may be overwritten. After
	// an error, whichever call returned it, neither may be used again.
	Wait(ctx context.Context) error
}

// NewLocalGroup returns the ranks of a group within this process, each for a
// goroutine of its own: for tests, and for programs that run with and without a
// cluster. Its sums are of float64, in the order of the ranks.
//
// A call waits for the other ranks. One whose context is nil or ends while it waits,
// or that does not fit those of the other ranks, breaks the group: it returns an
// error, and so do all other calls, at once. Fitting means the same call in the same
// place of each rank's sequence of calls, Wait included, and of the same transfer.
// Nobody reads the slices of a call that has returned. A rank that stops calling must
// end its context, or the one that it shares with the others.
//
// It panics if size is not positive, as [NewMatrix] does for its dimensions: no input
// data can cause that, only the program. A capacity, as of [NewQueue], is often a
// setting of the user's, and a bad one is an error.
func NewLocalGroup(size int) []Collective {
	if size <= 0 {
		panic(fmt.Sprintf("contrastive: NewLocalGroup(%d): no ranks", size))
	}
	g := &localGroup{broken: make(chan struct{}), round: newRound(size), links: make([]chan *parcel, size)}
	ranks := make([]Collective, size)
	for r := range ranks {
		g.links[r] = make(chan *parcel, maxTransfers)
		ranks[r] = &localRank{group: g, rank: r}
	}
	return ranks
}

// maxTransfers is the number of transfers that a rank may have under way.
const maxTransfers = 2

// A localGroup is what the ranks share. Who reads the slices of another rank
// holds mu for reading, and breaking the group takes it for writing: after a call
// has failed, nobody reads or writes its slices.
type localGroup struct {
	mu     sync.RWMutex
	broken chan struct{} // closed with cause
	cause  error

	steps sync.Mutex // for what follows
	open  []step     // those that some ranks have taken and others not
	past  int        // number of steps that all have taken
	round *round

	links []chan *parcel // to the next rank
}

// A step is the call that all ranks make at one place of their sequence of calls.
type step struct {
	call     string
	transfer int // of Wait
	rank     int // that came first
	taken    int // how many ranks have
}

// A round is one call in which all ranks wait for each other.
type round struct {
	data    [][]float32
	arrived int
	left    int
	full    chan struct{} // closed when all have arrived
	empty   chan struct{} // closed when all have read the data of the others
}

func newRound(size int) *round {
	return &round{data: make([][]float32, size), full: make(chan struct{}), empty: make(chan struct{})}
}

// A parcel is a slice that is sent.
type parcel struct {
	transfer int // counted by either rank
	data     []float32
	received chan struct{}
}

// errBroken is what calls return after another has failed.
var errBroken = errors.New("the group is broken")

// fail breaks the group and returns err.
func (g *localGroup) fail(err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cause == nil {
		g.cause = err
		close(g.broken)
	}
	return err
}

// read calls f unless the group is broken.
func (g *localGroup) read(f func()) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.cause != nil {
		return fmt.Errorf("%w: %w", errBroken, g.cause)
	}
	f()
	return nil
}

func (g *localGroup) healthy() error { return g.read(func() {}) }

// contextError returns why ctx has ended: its error, and its cause if there is one.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// A localRank is one rank of a localGroup.
type localRank struct {
	group *localGroup
	rank  int
	steps int       // calls
	begun int       // transfers
	done  int       // those of them that are no longer under way
	early []*parcel // of transfers that have not been waited for
	sum   []float32
}

func (l *localRank) Rank() int { return l.rank }
func (l *localRank) Size() int { return len(l.group.links) }

func (l *localRank) errorf(call, format string, args ...any) error {
	return fmt.Errorf("%s: rank %d of %d: %w", call, l.rank, l.Size(), fmt.Errorf(format, args...))
}

// begin returns an error unless a call may go on, which is the same as that of the
// other ranks.
func (l *localRank) begin(ctx context.Context, call string, transfer int) error {
	g := l.group
	if ctx == nil {
		return g.fail(l.errorf(call, "ctx is nil: %w", ErrParameter))
	}
	if err := g.healthy(); err != nil {
		return l.errorf(call, "%w", err)
	}
	if ctx.Err() != nil {
		return g.fail(l.errorf(call, "%w", contextError(ctx)))
	}
	g.steps.Lock()
	defer g.steps.Unlock()
	at := l.steps - g.past
	l.steps++
	if at == len(g.open) {
		g.open = append(g.open, step{call: call, transfer: transfer, rank: l.rank})
	}
	s := &g.open[at]
	if s.call != call {
		return g.fail(l.errorf(call, "rank %d calls %s instead", s.rank, s.call))
	}
	if s.transfer != transfer {
		return g.fail(l.errorf(call, "for transfer %d, and rank %d waits for %d", transfer, s.rank, s.transfer))
	}
	if s.taken++; s.taken == l.Size() { // and so have those before
		g.open = slices.Delete(g.open, 0, 1)
		g.past++
	}
	return nil
}

// wait returns when c is closed, or an error if that cannot be waited for.
func (l *localRank) wait(ctx context.Context, call string, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-l.group.broken:
		return l.errorf(call, "%w", l.group.healthy())
	case <-ctx.Done():
		return l.group.fail(l.errorf(call, "%w", contextError(ctx)))
	}
}

// together shows the data of all ranks to f, which may write to none of it, and
// returns when all ranks have seen it.
func (l *localRank) together(ctx context.Context, call string, data []float32, f func(all [][]float32) error) error {
	if err := l.begin(ctx, call, 0); err != nil {
		return err
	}
	g := l.group
	g.steps.Lock()
	r := g.round
	r.data[l.rank] = data
	if r.arrived++; r.arrived == l.Size() {
		g.round = newRound(l.Size())
		close(r.full)
	}
	g.steps.Unlock()
	if err := l.wait(ctx, call, r.full); err != nil {
		return err
	}
	var err error
	if broken := g.read(func() { err = f(r.data) }); broken != nil {
		return l.errorf(call, "%w", broken)
	}
	if err != nil {
		return g.fail(l.errorf(call, "%w", err))
	}
	g.steps.Lock()
	if r.left++; r.left == l.Size() {
		close(r.empty)
	}
	g.steps.Unlock()
	return l.wait(ctx, call, r.empty)
}

// named names the package before an error that leaves it.
func named(err error) error {
	if err == nil {
		return nil
	}
	return &callError{err: err}
}

func (l *localRank) AllGather(ctx context.Context, dst, src []float32, counts []int) error {
	return named(l.allGather(ctx, dst, src, counts))
}

func (l *localRank) AllReduce(ctx context.Context, data []float32) error {
	return named(l.allReduce(ctx, data))
}

func (l *localRank) Shift(ctx context.Context, dst, src []float32) (Transfer, error) {
	t, err := l.shift(ctx, dst, src)
	if err != nil {
		return nil, named(err)
	}
	return t, nil
}

func (t *localTransfer) Wait(ctx context.Context) error { return named(t.wait(ctx)) }

func (l *localRank) allGather(ctx context.Context, dst, src []float32, counts []int) error {
	const call = "AllGather"
	total := 0
	for _, n := range counts {
		total += n
	}
	if len(counts) != l.Size() || len(src) != counts[l.rank] || len(dst) != total {
		return l.group.fail(l.errorf(call, "dst has %d elements and src %d, for counts %v: %w", len(dst), len(src), counts, ErrShape))
	}
	return l.together(ctx, call, src, func(all [][]float32) error {
		at := 0
		for r, n := range counts {
			if len(all[r]) != n {
				return fmt.Errorf("rank %d has %d elements, want %d: %w", r, len(all[r]), n, ErrShape)
			}
			at += copy(dst[at:at+n], all[r])
		}
		return nil
	})
}

func (l *localRank) allReduce(ctx context.Context, data []float32) error {
	err := l.together(ctx, "AllReduce", data, func(all [][]float32) error {
		l.sum = resize(l.sum, len(data))
		for r, other := range all {
			if len(other) != len(data) {
				return fmt.Errorf("rank %d has %d elements, rank %d has %d: %w", l.rank, len(data), r, len(other), ErrShape)
			}
		}
		for i := range data {
			sum := 0.0
			for _, other := range all {
				sum += float64(other[i])
			}
			l.sum[i] = float32(sum)
		}
		return nil
	})
	if err == nil {
		copy(data, l.sum)
	}
	return err
}

func (l *localRank) shift(ctx context.Context, dst, src []float32) (*localTransfer, error) {
	const call = "Shift"
	if err := l.begin(ctx, call, 0); err != nil {
		return nil, err
	}
	if l.begun-l.done == maxTransfers {
		return nil, l.group.fail(l.errorf(call, "%d transfers are under way already: %w", maxTransfers, ErrParameter))
	}
	t := &localTransfer{rank: l, dst: dst}
	t.sent = &parcel{transfer: l.begun, data: src, received: make(chan struct{})}
	l.begun++
	l.group.links[l.rank] <- t.sent // which has room for what may be under way
	return t, nil
}

type localTransfer struct {
	rank *localRank
	dst  []float32
	sent *parcel // nil after Wait
}

func (t *localTransfer) wait(ctx context.Context) error {
	const call = "Wait"
	l := t.rank
	if t.sent == nil {
		return l.group.fail(l.errorf(call, "called twice: %w", ErrParameter))
	}
	sent := t.sent
	if err := l.begin(ctx, call, sent.transfer); err != nil {
		return err
	}
	t.sent = nil
	p, err := l.receive(ctx, sent.transfer)
	if err != nil {
		return err
	}
	if len(p.data) != len(t.dst) {
		return l.group.fail(l.errorf(call, "%d elements were sent to a dst of %d: %w", len(p.data), len(t.dst), ErrShape))
	}
	if err := l.group.read(func() { copy(t.dst, p.data) }); err != nil {
		return l.errorf(call, "%w", err)
	}
	close(p.received)
	l.done++
	return l.wait(ctx, call, sent.received)
}

// receive returns the parcel of a transfer.
func (l *localRank) receive(ctx context.Context, transfer int) (*parcel, error) {
	is := func(p *parcel) bool { return p.transfer == transfer }
	for {
		if i := slices.IndexFunc(l.early, is); i >= 0 {
			p := l.early[i]
			l.early = slices.Delete(l.early, i, i+1)
			return p, nil
		}
		select {
		case p := <-l.group.links[(l.rank+l.Size()-1)%l.Size()]:
			l.early = append(l.early, p)
		case <-l.group.broken:
			return nil, l.errorf("Wait", "%w", l.group.healthy())
		case <-ctx.Done():
			return nil, l.group.fail(l.errorf("Wait", "%w", contextError(ctx)))
		}
	}
}
