package contrastive_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/race"
)

// A garbling Collective changes what other ranks have sent. Edits are six bytes each:
// which AllGather, which element of those of the others, and the bits of the value.
type garbling struct {
	contrastive.Collective
	edits []byte
	call  byte
}

func (g *garbling) AllGather(ctx context.Context, dst, src []float32, counts []int) error {
	if err := g.Collective.AllGather(ctx, dst, src, counts); err != nil {
		return err
	}
	first := 0
	for _, n := range counts[:g.Rank()] {
		first += n
	}
	others := len(dst) - len(src)
	for e := g.edits; len(e) >= 6 && others > 0; e = e[6:] {
		at := int(e[1]) % others
		if at >= first {
			at += len(src)
		}
		v := math.Float32frombits(binary.LittleEndian.Uint32(e[2:]))
		// Numbers of rows that are possible are believed, and memory is allocated. That
		// of these is not here.
		possible := v >= 1 && v < 1<<18 && (v >= 1000 || at%3 < 2)
		if e[0]%garbledCalls == g.call && !possible {
			dst[at] = v
		}
	}
	g.call++
	return nil
}

// garbledCalls is how many calls of AllGather may be garbled.
const garbledCalls = 16

// FuzzRanks has rank 0 of three receive other numbers than the others have sent. It
// must never panic, or wait for ever. With another status it must return an error, or
// what is right.
func FuzzRanks(f *testing.F) {
	var fitting []losstest.Variant
	for _, v := range losstest.Variants {
		if v.Sharded() {
			fitting = append(fitting, v)
		}
	}
	ofQueues, ofLists := len(fitting), len(fitting)+1
	r := rand.New(rand.NewPCG(61, 1))
	values := [...]float32{0, 1, 2, 3, 5, 7, 0.5, -1, 999, 1 << 20, 1 << 21, 1 << 22, 1e30, nan, float32(math.Inf(1))}
	for i := range 300 {
		var edits []byte
		for range 1 + r.IntN(3) {
			v := values[r.IntN(len(values))]
			edits = append(edits, byte(r.IntN(8)/5), byte(r.IntN(256)))
			edits = binary.LittleEndian.AppendUint32(edits, math.Float32bits(v))
		}
		f.Add(byte(i), i%2 == 0, edits)
	}
	for i := range 100 { // of lists, which more messages are about
		edits := []byte{byte(r.IntN(12)), byte(r.IntN(256))}
		edits = binary.LittleEndian.AppendUint32(edits, math.Float32bits(values[r.IntN(len(values))]))
		f.Add(byte(ofLists), i%2 == 0, edits)
	}
	f.Fuzz(func(t *testing.T, which byte, ring bool, edits []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		status := true // whether no other message changes
		for e := edits; len(e) >= 6; e = e[6:] {
			status = status && e[0]%garbledCalls == 0
		}
		kind := int(which) % (len(fitting) + 2)
		if kind == ofQueues {
			garbleEnqueueAll(t, ctx, edits, status)
			return
		}
		v := fitting[kind%ofLists] // for lists, InfoNCE
		evaluate := func(edits []byte) (contrastive.Result, rankCall, error) {
			group, calls := contrastive.NewLocalGroup(3), goodCalls(v, 3, ring)
			if kind == ofLists {
				for r := range calls {
					calls[r].loss = contrastive.InfoNCE{InBatch: true, Symmetric: true, Filter: contrastive.AbsoluteMargin}
					calls[r].batch.Positives = [][]int{{r, 17}, {8}, {}, {3 * r, 9, 12}, {5, 6}, {16}}
					calls[r].batch.KeyLogQ, calls[r].batch.Weights = []float32{-1, -2, -3, -1, -2, -3}, nil
					calls[r].batch.NegativeLabels = []int{0, 1, 2, 3, 4}
				}
			}
			group[0] = &garbling{Collective: group[0], edits: edits}
			var res contrastive.Result
			var first error
			onRanks(group, func(r int, c contrastive.Collective) {
				s := contrastive.Sharded{Loss: calls[r].loss, Collective: c, Ring: ring}
				got, err := s.Eval(ctx, calls[r].batch, calls[r].grads)
				if err != nil {
					cancel() // or the others might wait for this rank
				}
				if r == 0 {
					res, first = got, err
				}
			})
			return res, calls[0], first
		}
		want, right, err := evaluate(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, c, err := evaluate(edits)
		if status && err == nil && (got != want || !losstest.SameBits(c.grads.Query, right.grads.Query) || !losstest.SameBits(c.grads.Key, right.grads.Key)) {
			t.Errorf("%s: %+v, want %+v or an error", v.Name, got, want)
		}
		if err == nil && !(got.Loss-got.Loss == 0) {
			t.Errorf("%s: %+v without an error", v.Name, got)
		}
	})
}

// statusEdit changes a piece of a word of the status of rank 1 or 2.
func statusEdit(rank, word, piece int, v float32) []byte {
	const statusLen = 3 * 64
	return binary.LittleEndian.AppendUint32([]byte{0, byte((rank-1)*statusLen + 3*word + piece)}, math.Float32bits(v))
}

// TestOtherStatus has rank 0 hear another word from rank 1, for every word and for
// numbers of many sizes, or two other words, and asks for an error or the right result,
// and that errors say what is wrong.
func TestOtherStatus(t *testing.T) {
	for _, name := range [...]string{"InfoNCE", "SupCon"} {
		v := losstest.Variants[slices.IndexFunc(losstest.Variants, func(v losstest.Variant) bool { return v.Name == name })]
		evaluate := func(edits []byte) (contrastive.Result, error) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			group, calls := contrastive.NewLocalGroup(3), goodCalls(v, 3, false)
			group[0] = &garbling{Collective: group[0], edits: edits}
			var res contrastive.Result
			var first error
			onRanks(group, func(r int, c contrastive.Collective) {
				got, err := contrastive.Sharded{Loss: calls[r].loss, Collective: c}.Eval(ctx, calls[r].batch, calls[r].grads)
				if err != nil {
					cancel() // or the others might wait for this rank
				}
				if r == 0 {
					res, first = got, err
				}
			})
			return res, first
		}
		want, err := evaluate(nil)
		if err != nil {
			t.Fatal(err)
		}
		var texts strings.Builder
		hear := func(edits []byte, v float32, piece int, words ...int) {
			got, err := evaluate(edits)
			if err == nil && got != want {
				t.Errorf("%s: words %d of rank 1 with %v as piece %d: %+v, want %+v or an error", name, words, v, piece, got, want)
			}
			if err != nil {
				fmt.Fprintln(&texts, err)
			}
		}
		for word := range 64 {
			for _, v := range [...]float32{0, 1, 2, 3, 7, 900, 1 << 20} {
				for piece := range 3 {
					hear(statusEdit(1, word, piece, v), v, piece, word)
				}
			}
			for piece := range 3 { // of two words, which change in the same bits
				const v = 1 << 20
				next := (word + 1) % 64
				hear(append(statusEdit(1, word, piece, v), statusEdit(1, next, piece, v)...), v, piece, word, next)
			}
		}
		for _, part := range [...]string{
			"ranks 1 and 0 have different versions",
			"rank 1 calls a function of number 900, and rank 0 calls Sharded",
			"rank 1 has an error of kind 900",
			"Precision of rank 1 is 900, and that of rank 0 is Highest",
			"the number of rows of Query of rank 1 is 0, and must be from 1",
			"the number of rows of Query of rank 1 is 9223372036854775814, and must be from 1",
			"the number of anchors of rank 1 is 7, and must be from 0 to 6",
			"the set of wanted gradients of rank 1 is 900, and must be from 0",
			"ranks 1 and 0 have received different statuses",
		} {
			if !strings.Contains(texts.String(), part) {
				t.Errorf("%s: no error says that %s: %s", name, part, &texts)
			}
		}
	}
}

// A crowd is rank 0 of many, of which the others send what it does, but for one word.
type crowd struct {
	size, word int
	value      uint64
}

func (c crowd) Rank() int { return 0 }
func (c crowd) Size() int { return c.size }

func (c crowd) AllGather(_ context.Context, dst, src []float32, counts []int) error {
	const statusLen = 3 * 64
	if len(src) != statusLen || len(dst) != c.size*statusLen {
		return errInjected
	}
	for r := range c.size {
		status := dst[r*statusLen : (r+1)*statusLen]
		copy(status, src)
		if r > 0 {
			at, v := status[3*c.word:], c.value
			at[0], at[1], at[2] = float32(v>>43), float32(v>>22&(1<<21-1)), float32(v&(1<<22-1))
		}
	}
	return nil
}

func (c crowd) AllReduce(context.Context, []float32) error { return errInjected }

func (c crowd) Shift(context.Context, []float32, []float32) (contrastive.Transfer, error) {
	return nil, errInjected
}

// TestTooManyRows has ranks tell of as many rows each as one alone might have. Those of
// all are more than there are addresses, so that to believe them is a panic.
func TestTooManyRows(t *testing.T) {
	if math.MaxInt == math.MaxInt32 {
		t.Skip("one alone is too many")
	}
	const most = 1 << 34 // rows of 4 elements of 4 bytes
	for name, call := range map[string]func(c crowd) error{
		"the number of rows of Query": func(c crowd) error {
			c.value = most/2 - 2 // each with a key
			b := contrastive.Batch{Query: contrastive.NewMatrix(1, 4), Key: contrastive.NewMatrix(1, 4)}
			return second(contrastive.Sharded{Loss: contrastive.SigLIP{}, Collective: c}.Eval(t.Context(), b, contrastive.Gradients{}))
		},
		"the number of keys": func(c crowd) error {
			c.value = most - 2
			q, err := contrastive.NewQueue(20, 4)
			if err != nil {
				return err
			}
			return q.EnqueueAll(t.Context(), c, contrastive.NewMatrix(1, 4))
		},
	} {
		found := false
		for word := range 64 { // one of which is the number
			err := call(crowd{size: 2000, word: word})
			found = found || strings.Contains(err.Error(), name+" of rank 2 is")
		}
		if !found {
			t.Errorf("no error says that %s is too great in all", name)
		}
	}
}

// A changing Collective changes what its own rank has sent.
type changing struct{ contrastive.Collective }

func (c changing) AllGather(ctx context.Context, dst, src []float32, counts []int) error {
	err := c.Collective.AllGather(ctx, dst, src, counts)
	for _, n := range counts[:c.Rank()] {
		dst = dst[n:]
	}
	dst[0]++
	return err
}

func TestChangingCollective(t *testing.T) {
	calls := goodCalls(losstest.Variants[0], 1, false)
	c := changing{contrastive.NewLocalGroup(1)[0]}
	_, err := contrastive.Sharded{Loss: calls[0].loss, Collective: c}.Eval(t.Context(), calls[0].batch, calls[0].grads)
	if !errors.Is(err, contrastive.ErrParameter) || !strings.Contains(err.Error(), "the Collective returns something else than rank 0 has sent") {
		t.Errorf("%v, want an error about the Collective", err)
	}
}

// A poisoning Collective puts a NaN in the place of one of the elements that it receives
// from other ranks, or that it sums.
type poisoning struct {
	contrastive.Collective
	left int // elements before that one
}

func (c *poisoning) poison(data []float32) {
	if c.left >= 0 && c.left < len(data) {
		data[c.left] = nan
	}
	c.left -= len(data)
}

func (c *poisoning) AllGather(ctx context.Context, dst, src []float32, counts []int) error {
	if err := c.Collective.AllGather(ctx, dst, src, counts); err != nil {
		return err
	}
	for r, n := range counts {
		if r != c.Rank() {
			c.poison(dst[:n])
		}
		dst = dst[n:]
	}
	return nil
}

func (c *poisoning) AllReduce(ctx context.Context, data []float32) error {
	if err := c.Collective.AllReduce(ctx, data); err != nil {
		return err
	}
	c.poison(data)
	return nil
}

func (c *poisoning) Shift(ctx context.Context, dst, src []float32) (contrastive.Transfer, error) {
	t, err := c.Collective.Shift(ctx, dst, src)
	return poisoningTransfer{t, c, dst}, err
}

type poisoningTransfer struct {
	contrastive.Transfer
	c   *poisoning
	dst []float32
}

func (t poisoningTransfer) Wait(ctx context.Context) error {
	if err := t.Transfer.Wait(ctx); err != nil {
		return err
	}
	t.c.poison(t.dst)
	return nil
}

// TestPoisoned has one of three ranks receive a NaN, anywhere. Who returns no error must
// have what is right, to the bit: the NaN may be in what is not used, or in the last message
// of one rank to another.
func TestPoisoned(t *testing.T) {
	r := rand.New(rand.NewPCG(69, 1))
	b := contrastive.Batch{
		Query: losstest.Normal(r, 7, 4), Key: losstest.Normal(r, 8, 4), Negatives: losstest.Normal(r, 5, 4), Labels: []int{0, 1, 2, 3, 4, 0, 1},
		Positives: [][]int{{0, 7}, {3}, {}, {1, 2}, {6}, {4}, {5, 0}}, KeyLabels: []int{9, 8, 7, 6, 5, 4, 3, 2}, NegativeLabels: []int{0, 1, 2, 3, 4},
		KeyLogQ: []float32{-1, -2, -3, -1, -2, -3, -1, -2}, NegativeLogQ: []float32{-1, -2, -3, -1, -2},
		GuideQuery: losstest.Normal(r, 7, 3), GuideKey: losstest.Normal(r, 8, 3), GuideNegatives: losstest.Normal(r, 5, 3),
	}
	own, lists, pairs := b, b, contrastive.Batch{Query: b.Query, Key: b.Key.Slice(0, 7), Labels: b.Labels}
	own.GuideQuery, own.GuideKey, own.GuideNegatives = contrastive.Matrix{}, contrastive.Matrix{}, contrastive.Matrix{}
	lists = contrastive.Batch{Query: b.Query, Key: b.Key, Labels: b.Labels, Positives: b.Positives}
	weighted, unlabelled := pairs, pairs
	unlabelled.Labels = nil
	weighted.Weights = []float32{1, 2, 0, 3, 1, 1, 2}
	for _, c := range [...]struct {
		loss  contrastive.Loss
		batch contrastive.Batch
	}{
		{contrastive.InfoNCE{InBatch: true, Symmetric: true, Filter: contrastive.AbsoluteMargin}, b},
		{contrastive.InfoNCE{InBatch: true, Symmetric: true, Filter: contrastive.RelativeMargin, Temperature: 0.01}, own},
		{contrastive.InfoNCE{Filter: contrastive.AbsoluteMargin}, b},
		{contrastive.InfoNCE{Similarity: contrastive.Dot, InBatch: true}, own},
		{contrastive.SigLIP{}, lists},
		{contrastive.CLIP{Form: contrastive.Shared}, lists},
		{contrastive.CLIP{Temperature: 0.01}, pairs},
		{contrastive.NTXent{}, weighted},
		{contrastive.SupCon{}, weighted},
		{contrastive.DCL{Sigma: 0.5}, unlabelled},
		{contrastive.BarlowTwins{}, unlabelled},
		{contrastive.VICReg{}, unlabelled},
	} {
		for _, way := range shardWays {
			spread := shardTrial{Trial: losstest.Trial{Batch: c.batch}, rows: []int{2, 4, 1}}
			if c.batch.Positives != nil {
				spread.keys = []int{3, 1, 4}
			}
			if c.batch.Negatives.Data != nil {
				spread.negatives = []int{1, 3, 1}
			}
			right := losstest.Destinations(c.batch)
			spread.Name = fmt.Sprintf("%T %s", c.loss, way.name)
			spread.evalSharded(t, c.loss, way.ring, right)
			_, wants := spread.shards(right)
			errors := 0
			// poison returns whether there is as much to receive.
			poison := func(rank, at int) bool {
				bs, gs := spread.shards(losstest.Destinations(c.batch))
				group := contrastive.NewLocalGroup(3)
				p := &poisoning{group[rank], at}
				group[rank] = p
				var calls []rankCall
				for i := range bs {
					calls = append(calls, rankCall{c.loss, way.ring, bs[i], gs[i]})
				}
				name := fmt.Sprintf("%T %s: NaN as element %d of rank %d", c.loss, way.name, at, rank)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				for i, err := range evalAllIn(ctx, cancel, t, name, group, calls) {
					if err != nil {
						errors++
						continue
					}
					for k, m := range losstest.Outputs(gs[i]) {
						for row := range m.Rows {
							if !slices.Equal(m.Row(row), losstest.Outputs(wants[i])[k].Row(row)) {
								t.Errorf("%s: rank %d: no error, and row %d of gradient %d differs", name, i, row, k)
								break
							}
						}
					}
				}
				return p.left < 0
			}
			most := 1
			for poison(0, most) {
				most *= 2
			}
			tries := 60
			if testing.Short() || race.Enabled {
				tries = 20
			}
			for range tries {
				poison(r.IntN(3), r.IntN(most))
			}
			if errors < tries {
				t.Errorf("%s: %d errors", spread.Name, errors)
			}
		}
	}
}

// TestGarbledLabels has rank 0 receive labels that no rank sends. It must return an
// error, and from a loss so must the others.
func TestGarbledLabels(t *testing.T) {
	const labelsOfCLIP, labelsOfQueue = 2, 2 // after the status and the keys
	clip := losstest.Variants[slices.IndexFunc(losstest.Variants, func(v losstest.Variant) bool { return v.Name == "CLIP" })]
	for _, v := range [...]float32{-1, 0.5, 1 << 22, nan, float32(math.Inf(1))} {
		for piece := range byte(3) {
			edit := func(call byte) []byte {
				return binary.LittleEndian.AppendUint32([]byte{call, 6 + piece}, math.Float32bits(v))
			}
			group, calls := contrastive.NewLocalGroup(3), goodCalls(clip, 3, false)
			group[0] = &garbling{Collective: group[0], edits: edit(labelsOfCLIP)}
			for r, err := range evalAll(t, "CLIP", group, calls) {
				if !errors.Is(err, contrastive.ErrNotFinite) {
					t.Errorf("%v as piece %d of a label: rank %d returns %v", v, piece, r, err)
				}
			}
			group = contrastive.NewLocalGroup(3)
			group[0] = &garbling{Collective: group[0], edits: edit(labelsOfQueue)}
			onRanks(group, func(r int, c contrastive.Collective) {
				q, err := contrastive.NewQueue(20, 4)
				if err == nil {
					err = q.EnqueueAll(t.Context(), c, calls[r].batch.Key, calls[r].batch.Labels...)
				}
				if r == 0 && (!errors.Is(err, contrastive.ErrParameter) || q.Len() > 0) {
					t.Errorf("%v as piece %d of a label: %v, with %d keys in the queue", v, piece, err, q.Len())
				}
			})
		}
	}
}

func garbleEnqueueAll(t *testing.T, ctx context.Context, edits []byte, status bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := rand.New(rand.NewPCG(62, 1))
	keys := losstest.Normal(r, 15, 4)
	want := losstest.NewQueue(t, 20, keys, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)
	group := contrastive.NewLocalGroup(3)
	group[0] = &garbling{Collective: group[0], edits: edits}
	onRanks(group, func(r int, c contrastive.Collective) {
		q, err := contrastive.NewQueue(20, 4)
		if err != nil {
			t.Error(err)
			return
		}
		n := 5 * r
		err = q.EnqueueAll(ctx, c, keys.Slice(n, n+5), n, n+1, n+2, n+3, n+4)
		switch {
		case err != nil:
			cancel()
			if q.Len() != 0 {
				t.Errorf("keys are enqueued in spite of %v", err)
			}
		case status && !losstest.SameBits(q.Keys(), want.Keys()):
			t.Error("wrong keys, and no error")
		}
	})
}
