package contrastive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/contrastive-go/contrastive/internal/engine"
)

// A jointCall is a function that all ranks call together.
type jointCall uint64

const (
	jointSharded jointCall = 1 + iota
	jointEnqueueAll
)

func (c jointCall) String() string {
	switch c {
	case jointSharded:
		return "Sharded"
	case jointEnqueueAll:
		return "Queue.EnqueueAll"
	}
	return fmt.Sprintf("a function of number %d", uint64(c))
}

// peers are the ranks that make one call together, as one of them sees them. Who
// is out of step, or of another version, may send anything: no number from
// another rank is used before it has been checked.
type peers struct {
	ctx        context.Context
	collective Collective
	function   jointCall
	rank, size int
	lost       bool // whether memory may be in use by a transfer that has failed
	garbled    bool // whether something has come that no rank sends

	// The engine of a rank that computes. A Collective is the caller's code and may
	// wait: it is called in the caller's floating-point mode.
	entered *engine.Engine

	statuses []uint64 // statusWords of each rank, one rank after the other
	heard    uint64   // a hash of all that have come
	outgoing []uint64
	words    []uint64
	sums     []float64
	counts   []int
	sent     []float32
	got      []float32
}

// join prepares p for a call of function.
func (p *peers) join(ctx context.Context, c Collective, function jointCall) error {
	if ctx == nil {
		return fmt.Errorf("%v: ctx is nil: %w", function, ErrParameter)
	}
	if c == nil {
		return fmt.Errorf("%v: Collective is nil: %w", function, ErrParameter)
	}
	p.ctx, p.collective, p.function = ctx, c, function
	p.rank, p.size, p.lost, p.garbled, p.heard = c.Rank(), c.Size(), false, false, fnvBasis
	if p.size < 1 || p.rank < 0 || p.rank >= p.size {
		return fmt.Errorf("%v: Collective is rank %d of %d: %w", function, p.rank, p.size, ErrParameter)
	}
	return nil
}

// leave forgets the caller's data.
func (p *peers) leave() { p.ctx, p.collective, p.entered = nil, nil, nil }

// failed returns an error of the Collective with the call and the rank that made it. From
// then on memory may belong to a transfer that goes on.
func (p *peers) failed(err error) error {
	p.lost = true
	return wrap(fmt.Sprintf("%v: rank %d of %d", p.function, p.rank, p.size), err)
}

// pause leaves the floating-point mode of computations, and resume enters it again.
func (p *peers) pause() {
	if p.entered != nil {
		p.entered.Leave()
	}
}

func (p *peers) resume() {
	if p.entered != nil {
		p.entered.Enter()
	}
}

// allGather gathers count(r) elements of each rank r.
func (p *peers) allGather(dst, src []float32, count func(r int) int) error {
	p.counts = p.counts[:0]
	for r := range p.size {
		p.counts = append(p.counts, count(r))
	}
	p.pause()
	defer p.resume()
	if err := p.collective.AllGather(p.ctx, dst, src, p.counts); err != nil {
		return p.failed(err)
	}
	return nil
}

// allReduce sums data over the ranks, and makes what comes finite: see mendVectors.
func (p *peers) allReduce(data []float32) error {
	p.pause()
	defer p.resume()
	if err := p.collective.AllReduce(p.ctx, data); err != nil {
		return p.failed(err)
	}
	p.mendVectors(data)
	return nil
}

// shift starts a Shift of the Collective.
func (p *peers) shift(dst, src []float32) (Transfer, error) {
	p.pause()
	defer p.resume()
	t, err := p.collective.Shift(p.ctx, dst, src)
	if err != nil {
		return nil, p.failed(err)
	}
	return t, nil
}

// wait waits until what shift has started is done.
func (p *peers) wait(t Transfer) error {
	p.pause()
	defer p.resume()
	if err := t.Wait(p.ctx); err != nil {
		return p.failed(err)
	}
	return nil
}

// wordLen is the number of float32 values that a number of 64 bits travels in. A float32
// holds every integer of up to 24 bits, so that no way of passing them on can round these.
const wordLen = 3

// putBits stores v in the first three elements of dst.
func putBits(dst []float32, v uint64) {
	dst[0], dst[1], dst[2] = float32(v>>43), float32(v>>22&(1<<21-1)), float32(v&(1<<22-1))
}

// getBits returns what putBits has stored, and false if that is not what it stores.
func getBits(src []float32) (v uint64, ok bool) {
	ok = true
	for i, width := range [wordLen]int{21, 21, 22} {
		digits := src[i]
		if !(digits >= 0 && digits < float32(int(1)<<width) && digits == float32(int(digits))) {
			digits, ok = 0, false
		}
		v = v<<width | uint64(digits)
	}
	return v, ok
}

func putFloat64(dst []float32, v float64) { putBits(dst, math.Float64bits(v)) }

// getFloat64 returns NaN for what putFloat64 does not store.
func getFloat64(src []float32) float64 {
	if v, ok := getBits(src); ok {
		return math.Float64frombits(v)
	}
	return math.NaN()
}

// getInt returns an integer of another rank, and notes if it is none.
func (p *peers) getInt(src []float32) int {
	v, ok := getBits(src)
	p.garbled = p.garbled || !ok
	return int(v)
}

// mendVectors makes vectors finite, which those of another rank are, unless it is out
// of step: to compute on keeps this one in step, and all get an error in the end.
func (p *peers) mendVectors(v []float32) {
	if indexNotFinite(v) < 0 {
		return
	}
	p.garbled = true
	for i, x := range v {
		if x-x != 0 {
			v[i] = 0
		}
	}
}

// gatherWords gathers count(r) numbers of each rank r.
func (p *peers) gatherWords(dst, own []uint64, count func(r int) int) ([]uint64, error) {
	total, first := 0, 0
	for r := range p.size {
		if r == p.rank {
			first = total
		}
		total += count(r)
	}
	p.sent, p.got = resize(p.sent, wordLen*len(own)), resize(p.got, wordLen*total)
	for i, w := range own {
		putBits(p.sent[wordLen*i:], w)
	}
	if err := p.allGather(p.got, p.sent, func(r int) int { return wordLen * count(r) }); err != nil {
		return nil, err
	}
	dst = dst[:0]
	for r := range p.size {
		for range count(r) {
			w, ok := getBits(p.got[wordLen*len(dst):])
			if !ok {
				return nil, p.errorf("rank %d has sent what is no message of this version", r)
			}
			dst = append(dst, w)
		}
	}
	if !slices.Equal(dst[first:][:len(own)], own) {
		return nil, p.errorf("the Collective returns something else than rank %d has sent", p.rank)
	}
	return dst, nil
}

// gatherSums gathers as many sums of each rank as own has. They are finite, but for
// those of a rank that has received something else than another sent.
func (p *peers) gatherSums(own []float64) (all []float64, err error) {
	n := 1 + len(own)
	p.outgoing = append(p.outgoing[:0], p.heard)
	for _, v := range own {
		if p.garbled {
			v = math.NaN()
		}
		p.outgoing = append(p.outgoing, math.Float64bits(v))
	}
	if p.words, err = p.gatherWords(p.words, p.outgoing, func(int) int { return n }); err != nil {
		return nil, err
	}
	p.sums = p.sums[:0]
	for i, w := range p.words {
		r, v := i/n, math.Float64frombits(w)
		switch {
		case i%n > 0 && v-v != 0:
			return nil, fmt.Errorf("%v: rank %d has computed %v from what it received: %w", p.function, r, v, ErrNotFinite)
		case i%n > 0:
			p.sums = append(p.sums, v)
		case w != p.words[0]:
			return nil, p.errorf("ranks %d and 0 have received different statuses", r)
		}
	}
	return p.sums, nil
}

// The parameters of FNV-1a, here of words.
const (
	fnvBasis = 0xcbf29ce484222325
	fnvPrime = 0x100000001b3
)

// The first words of a status.
const (
	wordProtocol = iota
	wordFunction
	wordError // 0, or which of sentinels, counted from 1
	firstWord // of what the call is about
)

// A status has one length whatever it is about, so that ranks that have called
// different functions meet, and can say so.
const statusWords = 64

// protocol changes when what the ranks send each other does, so that different
// versions of the package notice.
const protocol = 3

// sentinels are the kinds of errors, those that wrap others after them.
var sentinels = [...]error{ErrShape, ErrEmpty, ErrNotFinite, ErrParameter, ErrUnused}

// A rankError is an error of one rank, on all.
type rankError struct {
	text string
	kind error
}

func (e *rankError) Error() string { return e.text }
func (e *rankError) Unwrap() error { return e.kind }

// errorf returns an error for ranks that do not go together.
func (p *peers) errorf(format string, args ...any) error {
	return &rankError{fmt.Sprintf("%v: ", p.function) + fmt.Sprintf(format, args...), ErrParameter}
}

// meet tells the other ranks how the caller's input was found to be and what it
// is, and learns that of theirs. If any rank has an error, all return the first.
func (p *peers) meet(local error, words []uint64) (err error) {
	p.outgoing = append(p.outgoing[:0], make([]uint64, statusWords)...)
	p.outgoing[wordProtocol], p.outgoing[wordFunction] = protocol, uint64(p.function)
	copy(p.outgoing[firstWord:], words)
	if local != nil {
		p.outgoing[wordError] = uint64(1 + slices.Index(sentinels[:], ErrParameter))
		for i, s := range sentinels {
			if errors.Is(local, s) {
				p.outgoing[wordError] = uint64(i + 1)
			}
		}
	}
	if p.statuses, err = p.gatherWords(p.statuses, p.outgoing, func(int) int { return statusWords }); err != nil {
		return besides(local, err)
	}
	for _, w := range p.statuses {
		p.heard = (p.heard ^ w) * fnvPrime
	}
	for r := range p.size {
		switch {
		case p.word(r, wordProtocol) != p.word(0, wordProtocol):
			return p.errorf("ranks %d and 0 have different versions of this package", r)
		case p.word(r, wordFunction) != p.word(0, wordFunction):
			return p.errorf("rank %d calls %v, and rank 0 calls %v", r, jointCall(p.word(r, wordFunction)), jointCall(p.word(0, wordFunction)))
		case p.word(r, wordError) > uint64(len(sentinels)):
			return p.errorf("rank %d has an error of kind %d, which this version does not know", r, p.word(r, wordError))
		}
	}
	for r := range p.size {
		if p.word(r, wordError) != 0 {
			return p.spread(r, local)
		}
	}
	return nil
}

// besides returns err, and with it the error of the caller's input, if there is one.
func besides(local, err error) error {
	if local == nil {
		return err
	}
	return errors.Join(local, err)
}

// maxText is the number of bytes of an error that the other ranks get to see.
const maxText = 1 << 10

// spread returns the error of a rank, on all.
func (p *peers) spread(rank int, local error) error {
	p.sent = p.sent[:0]
	if rank == p.rank {
		p.sent = resize(p.sent, maxText)
		clear(p.sent)
		for i, b := range []byte(local.Error())[:min(len(local.Error()), maxText)] {
			p.sent[i] = float32(b)
		}
	}
	p.got = resize(p.got, maxText)
	if err := p.allGather(p.got, p.sent, func(r int) int {
		if r == rank {
			return maxText
		}
		return 0
	}); err != nil {
		return besides(local, err)
	}
	var text []byte
	for _, v := range p.got {
		if !(v >= 1 && v <= math.MaxUint8) {
			break
		}
		text = append(text, byte(v))
	}
	err := &rankError{
		text: fmt.Sprintf("%v: rank %d: %s", p.function, rank, strings.ToValidUTF8(string(text), "")),
		kind: sentinels[p.word(rank, wordError)-1],
	}
	if rank == p.rank {
		err.kind = local // in which errors.As may find more
	}
	return err
}

func (p *peers) word(rank, i int) uint64 { return p.statuses[rank*statusWords+i] }

// count returns word i of a rank, which is a number from least up to most.
func (p *peers) count(rank, i int, what string, least, most int) (int, error) {
	w := p.word(rank, i)
	if w < uint64(least) || w > uint64(most) {
		return 0, fmt.Errorf("%v: %s of rank %d is %d, and must be from %d to %d: %w", p.function, what, rank, w, least, most, ErrShape)
	}
	return int(w), nil
}

// same returns an error, the same on all ranks, unless word i is that of rank 0
// everywhere.
func (p *peers) same(i int, what string, kind error, show func(word uint64) any) error {
	for r := range p.size {
		if p.word(r, i) != p.word(0, i) {
			return fmt.Errorf("%v: %s of rank %d is %v, and that of rank 0 is %v: %w", p.function, what, r, show(p.word(r, i)), show(p.word(0, i)), kind)
		}
	}
	return nil
}

func showInt(word uint64) any   { return int(word) }
func showFloat(word uint64) any { return math.Float32frombits(uint32(word)) }
func showBool(word uint64) any  { return word != 0 }

func showGiven(word uint64) any {
	if word == 0 {
		return "not given"
	}
	return "given"
}
