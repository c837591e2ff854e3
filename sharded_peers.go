package contrastive

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// peers are the ranks that make one call together, as one of them sees them.
type peers struct {
	ctx        context.Context
	collective Collective
	function   string // for errors
	rank, size int
	lost       bool // whether memory may be in use by a transfer that has failed

	words  []uint64 // of the status of all ranks, one rank after the other
	status int      // words of a rank
	counts []int
	sent   []float32
	got    []float32
}

// join prepares p for a call of function.
func (p *peers) join(ctx context.Context, c Collective, function string) error {
	if c == nil {
		return fmt.Errorf("%s: Collective is nil: %w", function, ErrParameter)
	}
	p.ctx, p.collective, p.function = ctx, c, function
	p.rank, p.size, p.lost = c.Rank(), c.Size(), false
	if p.size < 1 || p.rank < 0 || p.rank >= p.size {
		return fmt.Errorf("%s: Collective is rank %d of %d: %w", function, p.rank, p.size, ErrParameter)
	}
	return nil
}

// leave forgets the caller's data.
func (p *peers) leave() { p.ctx, p.collective = nil, nil }

// failed returns err, of the Collective.
func (p *peers) failed(err error) error {
	p.lost = true
	return fmt.Errorf("%s: rank %d of %d: %w", p.function, p.rank, p.size, err)
}

// allGather gathers count(r) elements of each rank r.
func (p *peers) allGather(dst, src []float32, count func(r int) int) error {
	p.counts = p.counts[:0]
	for r := range p.size {
		p.counts = append(p.counts, count(r))
	}
	if err := p.collective.AllGather(p.ctx, dst, src, p.counts); err != nil {
		return p.failed(err)
	}
	return nil
}

// shift begins a Shift.
func (p *peers) shift(dst, src []float32) (Transfer, error) {
	t, err := p.collective.Shift(p.ctx, dst, src)
	if err != nil {
		return nil, p.failed(err)
	}
	return t, nil
}

// wait ends one.
func (p *peers) wait(t Transfer) error {
	if err := t.Wait(p.ctx); err != nil {
		return p.failed(err)
	}
	return nil
}

// A float32 holds every integer of up to 24 bits. Numbers of 64 bits travel in
// three pieces, which no way of passing float32 values on can round.
const pieces = 3

// putBits stores v in the first three elements of dst.
func putBits(dst []float32, v uint64) {
	dst[0], dst[1], dst[2] = float32(v>>43), float32(v>>22&(1<<21-1)), float32(v&(1<<22-1))
}

func getBits(src []float32) uint64 {
	return uint64(src[0])<<43 | uint64(src[1])<<22 | uint64(src[2])
}

func putFloat64(dst []float32, v float64) { putBits(dst, math.Float64bits(v)) }
func getFloat64(src []float32) float64    { return math.Float64frombits(getBits(src)) }

// The first words of a status.
const (
	wordProtocol = iota
	wordError    // 0, or which of sentinels, counted from 1
	wordText     // length of the error's text
	firstWord    // of what the call is about
)

// protocol changes when what the ranks send each other does, so that different
// versions of the package notice.
const protocol = 1

var sentinels = [...]error{ErrShape, ErrEmpty, ErrNotFinite, ErrParameter}

// A rankError is an error of one rank, on all.
type rankError struct {
	text string
	kind error
}

func (e *rankError) Error() string { return e.text }
func (e *rankError) Unwrap() error { return e.kind }

// meet tells the other ranks how the caller's input was found to be and what it
// is, and learns that of theirs. If any rank has an error, all return the first.
// words are as many on all ranks, whether the caller has an error or not.
func (p *peers) meet(local error, words []uint64) error {
	text, code := "", 0
	if local != nil {
		text = local.Error()
		text = text[:min(len(text), 1<<10)]
		code = len(sentinels)
		for i, s := range sentinels {
			if errors.Is(local, s) {
				code = i + 1
			}
		}
	}
	p.status = firstWord + len(words)
	own := append([]uint64{protocol, uint64(code), uint64(len(text))}, words...)
	p.sent = resizeVector(p.sent, pieces*p.status)
	p.got = resizeVector(p.got, p.size*pieces*p.status)
	for i, w := range own {
		putBits(p.sent[pieces*i:], w)
	}
	if err := p.allGather(p.got, p.sent, func(int) int { return pieces * p.status }); err != nil {
		return errors.Join(local, err)
	}
	p.words = p.words[:0]
	for i := range p.size * p.status {
		p.words = append(p.words, getBits(p.got[pieces*i:]))
	}
	if err := p.same(wordProtocol, "protocol", ErrParameter, showInt); err != nil {
		return err
	}
	for r := range p.size {
		if p.word(r, wordError) != 0 {
			return p.spread(r, text)
		}
	}
	return nil
}

// spread passes the texts of all ranks' errors around and returns that of one.
func (p *peers) spread(rank int, text string) error {
	length := func(r int) int { return int(p.word(r, wordText)) }
	total, at := 0, 0
	for r := range p.size {
		total += length(r)
		if r < rank {
			at += length(r)
		}
	}
	p.sent, p.got = resizeVector(p.sent, len(text)), resizeVector(p.got, total)
	for i := range len(text) {
		p.sent[i] = float32(text[i])
	}
	if err := p.allGather(p.got, p.sent, length); err != nil {
		return err
	}
	var first []byte
	for _, v := range p.got[at : at+length(rank)] {
		first = append(first, byte(v))
	}
	return &rankError{
		text: fmt.Sprintf("%s: rank %d: %s", p.function, rank, first),
		kind: sentinels[p.word(rank, wordError)-1],
	}
}

func (p *peers) word(rank, i int) uint64 { return p.words[rank*p.status+i] }

// same returns an error, the same on all ranks, unless word i is that of rank 0
// everywhere.
func (p *peers) same(i int, what string, kind error, show func(word uint64) any) error {
	for r := range p.size {
		if p.word(r, i) != p.word(0, i) {
			return fmt.Errorf("%s: %s of rank %d is %v, and that of rank 0 is %v: %w", p.function, what, r, show(p.word(r, i)), show(p.word(0, i)), kind)
		}
	}
	return nil
}

func showInt(word uint64) any   { return int(word) }
func showFloat(word uint64) any { return math.Float32frombits(uint32(word)) }
func showBool(word uint64) any  { return word != 0 }
