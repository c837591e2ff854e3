package contrastive

import "context"

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
