package contrastive_test

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/kernel"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/internal/race"
	"github.com/contrastive-go/contrastive/simd"
)

// A fifo is a queue as a list.
type fifo struct {
	capacity int
	keys     [][]float32
	labels   []int
}

func (f *fifo) enqueue(keys contrastive.Matrix, labels []int) {
	for i := range keys.Rows {
		unit := make([]float32, keys.Cols)
		simd.Normalize(unit, keys.Row(i))
		f.keys = append(f.keys, unit)
	}
	f.labels = append(f.labels, labels...)
	drop := max(0, len(f.keys)-f.capacity)
	f.keys = f.keys[drop:]
	f.labels = f.labels[min(drop, len(f.labels)):]
}

// check fails t unless q holds the keys of f, with their labels, in any order.
func (f *fifo) check(t *testing.T, q *contrastive.Queue) {
	t.Helper()
	entry := func(key []float32, labels []int, i int) string {
		if labels == nil {
			return fmt.Sprint(key)
		}
		return fmt.Sprint(key, labels[i])
	}
	var got, want []string
	labels := f.labels
	if len(labels) == 0 {
		labels = nil
	}
	for i, key := range f.keys {
		want = append(want, entry(key, labels, i))
	}
	for i := range q.Len() {
		got = append(got, entry(q.Keys().Row(i), q.Labels(), i))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("the queue holds %v, want %v", got, want)
	}
}

func TestQueue(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, capacity := range []int{1, 2, 5, 16, 100} {
			for _, labelled := range []bool{false, true} {
				const dim = 3
				q, err := contrastive.NewQueue(capacity, dim)
				if err != nil || q.Len() != 0 || q.Cap() != capacity || q.Dim() != dim {
					t.Fatalf("NewQueue(%d, %d) = %v, %v", capacity, dim, q, err)
				}
				f := &fifo{capacity: capacity}
				for range 30 {
					n := 1 + r.IntN(2*capacity+3)
					keys := losstest.Normal(r, n, dim)
					var labels []int
					if labelled {
						for range n {
							labels = append(labels, r.IntN(1000)-500)
						}
					}
					if err := q.Enqueue(keys, labels...); err != nil {
						t.Fatal(err)
					}
					f.enqueue(keys, labels)
					f.check(t, q)
				}
				q.Reset()
				if q.Len() != 0 || q.Labels() != nil || q.Keys().Rows != 0 {
					t.Errorf("after Reset there are %d keys", q.Len())
				}
				if err := q.Enqueue(losstest.Normal(r, 1, dim)); err != nil {
					t.Errorf("after Reset: %v", err)
				}
			}
		}
	})
}

// TestEnqueueOwnLabels gives keys that are encoded anew the labels that the queue has.
func TestEnqueueOwnLabels(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{3, 7, 10} { // keys, for a queue of 7
		labels := make([]int, n)
		for i := range labels {
			labels[i] = 100 + i
		}
		keys, f := losstest.Normal(r, n, 3), &fifo{capacity: 7}
		q := losstest.NewQueue(t, f.capacity, keys, labels...)
		f.enqueue(keys, labels)
		for range 3 {
			keys, labels := losstest.Normal(r, q.Len(), 3), q.Labels()
			f.enqueue(keys, slices.Clone(labels))
			if err := q.Enqueue(keys, labels...); err != nil {
				t.Fatal(err)
			}
			f.check(t, q)
		}
	}
}

// TestTinyRows gives rows about the norm below which they count as rows of zeros to
// queues, losses and metrics.
func TestTinyRows(t *testing.T) {
	least := float32(0x1p-126)
	below := math.Nextafter32(least, 0)
	keys, err := contrastive.FromRows([][]float32{
		{1e-40, 0, 0}, {0x1p-149, 0x1p-149, 0x1p-149}, {below, 0, 0}, {0, 0, 0}, // zeros
		{least, 0, 0}, {below, below, 0}, {-1e-37, 0, 0}, {3, 4, 0}, // not
	})
	if err != nil {
		t.Fatal(err)
	}
	const zeros = 4
	isatest.Each(t, func(t *testing.T) {
		all, err := contrastive.NewQueue(8, 3)
		if err == nil {
			err = all.EnqueueAll(t.Context(), contrastive.NewLocalGroup(1)[0], keys)
		}
		if err != nil {
			t.Fatal(err)
		}
		q := losstest.NewQueue(t, 8, keys)
		if !losstest.SameBits(all.Keys(), q.Keys()) {
			t.Errorf("EnqueueAll keeps %v, Enqueue %v", all.Keys(), q.Keys())
		}
		query := contrastive.Matrix{Rows: 1, Cols: 3, Stride: 3, Data: []float32{1, 1, 1}}
		index, cosine, err := contrastive.TopK(query, keys, keys.Rows)
		if err != nil {
			t.Fatal(err)
		}
		for i := range keys.Rows {
			norm := simd.Norm(q.Keys().Row(i))
			found := cosine[0][slices.Index(index[0], i)]
			if i < zeros && (norm != 0 || found != 0) || i >= zeros && (!(math.Abs(float64(norm)-1) <= 2*u) || found == 0) {
				t.Errorf("row %d of %v: the queue's key has norm %v, TopK's cosine is %v", i, keys.Row(i), norm, found)
			}
		}
		b := contrastive.Batch{Query: query, Key: query, Negatives: keys}
		want := losstest.Eval(t, "Negatives", contrastive.InfoNCE{}, b, contrastive.Gradients{})
		b.Negatives, b.Queue = contrastive.Matrix{}, q
		got := losstest.Eval(t, "Queue", contrastive.InfoNCE{}, b, contrastive.Gradients{})
		// The queue's keys are rounded, and the products of both: cosines differ by
		// (D+4)·u, and the loss by that over τ.
		losstest.Within(t, "Loss with the queue", got.Loss, want.Loss, (3+4)*u/0.07)
		losstest.Within(t, "NegativeCosine with the queue", got.NegativeCosine, want.NegativeCosine, (3+4)*u)
	})
}

// TestQueueViews holds the views to what they show: there is no room in them to
// append to the memory of the queue.
func TestQueueViews(t *testing.T) {
	q := losstest.NewQueue(t, 100, losstest.Normal(rand.New(rand.NewPCG(5, 6)), 3, 4), 1, 2, 3)
	if keys := q.Keys(); len(keys.Data) != 12 || cap(keys.Data) != 12 {
		t.Errorf("3 keys of 4 elements have %d, and room for %d", len(keys.Data), cap(keys.Data))
	}
	if labels := q.Labels(); len(labels) != 3 || cap(labels) != 3 {
		t.Errorf("3 labels have %d elements, and room for %d", len(labels), cap(labels))
	}
}

// TestQueueMemoryOfPrecision holds the memory of queues, as they are filled and once
// losses of another precision have read them, to what NewQueue says.
func TestQueueMemoryOfPrecision(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	allocated := func() int {
		runtime.GC()
		runtime.GC() // the first moves what pools hold to where the second finds it
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	isatest.Each(t, func(t *testing.T) {
		k := kernel.Active()
		r := rand.New(rand.NewPCG(11, 12))
		for _, dim := range []int{1, 31, 33, 96} {
			for _, labelled := range []bool{false, true} {
				const capacity = 4000
				before := allocated()
				q, err := contrastive.NewQueue(capacity, dim)
				if err != nil {
					t.Fatal(err)
				}
				for q.Len() < capacity {
					keys, labels := losstest.Normal(r, 1000, dim), []int(nil)
					if labelled {
						labels = make([]int, 1000)
					}
					if err := q.Enqueue(keys, labels...); err != nil {
						t.Fatal(err)
					}
				}
				check := func(p contrastive.Precision, more int) {
					t.Helper()
					d := (dim + k.Cols - 1) / k.Cols * k.Cols
					layouts := 8 * d
					if pieces := k.Pieces(kernel.MaxPieces - int(p)); pieces > 0 {
						layouts = 4 * pieces * d
					}
					// A slice that append grows has up to a quarter more, and one for
					// the kernels begins at a cache line. The rest is scratch memory for
					// a panel of keys.
					least := capacity * (4*dim + layouts)
					most := least + more + capacity*10 + 4*k.Cols*(d+k.Cols) + 1<<15
					if labelled {
						most += capacity * 10
					}
					if got := allocated() - before; got < least || got > most {
						t.Errorf("%v, %d keys of %d dimensions, labels %v: %d bytes, want %d to %d", p, capacity, dim, labelled, got, least, most)
					}
				}
				check(contrastive.Highest, 0)
				one := losstest.Normal(r, 1, dim)
				for _, p := range []contrastive.Precision{contrastive.Medium, contrastive.High, contrastive.Highest} {
					losstest.Eval(t, "InfoNCE", contrastive.InfoNCE{Options: options{Precision: p}}, contrastive.Batch{Query: one, Key: one, Queue: q}, contrastive.Gradients{})
					if err := q.Enqueue(one, make([]int, len(q.Labels())/capacity)...); err != nil {
						t.Fatal(err)
					}
					check(p, 0)
				}
				var file bytes.Buffer
				if _, err := q.WriteTo(&file); err != nil {
					t.Fatal(err)
				}
				q = nil
				before = allocated()
				if q, err = contrastive.ReadQueue(bytes.NewReader(file.Bytes())); err != nil {
					t.Fatal(err)
				}
				check(contrastive.Highest, capacity*dim) // a quarter of the keys, as append grows them
				runtime.KeepAlive(q)
				runtime.KeepAlive(file)
			}
		}
	})
}

// TestQueueReset evaluates losses with a queue that has been emptied, and filled
// again in part: the keys of before are gone.
func TestQueueReset(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 8))
		const d = 40
		b := contrastive.Batch{Query: losstest.Normal(r, 5, d), Key: losstest.Normal(r, 5, d), Labels: []int{1, 2, 3, 4, 5}}
		for _, loss := range []contrastive.Loss{contrastive.InfoNCE{}, contrastive.InfoNCE{InBatch: true}, contrastive.SupCon{}} {
			for _, n := range []int{0, 1, 33} {
				var labels []int
				for i := range n {
					labels = append(labels, i)
				}
				old, again := losstest.Normal(r, 70, d), losstest.Normal(r, n+1, d).Slice(0, n)
				run := func(q *contrastive.Queue) (contrastive.Result, contrastive.Matrix) {
					b.Queue = q
					g := contrastive.Gradients{Query: contrastive.NewMatrix(5, d)}
					return losstest.Eval(t, "loss", loss, b, g), g.Query
				}
				used := losstest.NewQueue(t, 64, old)
				run(used) // the layouts are made
				used.Reset()
				fresh, err := contrastive.NewQueue(64, d)
				if err == nil && n > 0 {
					err = errors.Join(used.Enqueue(again, labels...), fresh.Enqueue(again, labels...))
				}
				if err != nil {
					t.Fatal(err)
				}
				got, gradient := run(used)
				want, wantGradient := run(fresh)
				if got != want || !losstest.SameBits(gradient, wantGradient) {
					t.Errorf("%T, %d keys after Reset: %+v, want %+v", loss, n, got, want)
				}
			}
		}
	})
}

func TestQueueErrors(t *testing.T) {
	for _, c := range [][2]int{{0, 1}, {1, 0}, {-1, 4}, {4, -1}, {math.MaxInt, 2}, {math.MaxInt / 2, math.MaxInt / 2}} {
		if _, err := contrastive.NewQueue(c[0], c[1]); !errors.Is(err, contrastive.ErrParameter) || !called(err, "NewQueue") {
			t.Errorf("NewQueue(%d, %d): %v", c[0], c[1], err)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	plain, _ := contrastive.NewQueue(4, 3)
	labelled, _ := contrastive.NewQueue(4, 3)
	if err := errors.Join(plain.Enqueue(losstest.Normal(r, 6, 3)), labelled.Enqueue(losstest.Normal(r, 3, 3), 1, 2, 3)); err != nil {
		t.Fatal(err)
	}
	nan, inf := losstest.Normal(r, 3, 3), losstest.Normal(r, 9, 3)
	nan.Row(1)[2] = float32(math.NaN())
	inf.Row(0)[0] = float32(math.Inf(-1)) // a row that the queue would not keep
	for _, c := range []struct {
		q      *contrastive.Queue
		keys   contrastive.Matrix
		labels []int
		want   error
		parts  string
	}{
		{plain, contrastive.Matrix{}, nil, contrastive.ErrEmpty, "keys is 0×0"},
		{plain, losstest.Normal(r, 2, 4), nil, contrastive.ErrShape, "keys is 2×4, the queue holds 3"},
		{plain, contrastive.Matrix{Rows: 2, Cols: 3, Stride: 2, Data: make([]float32, 9)}, nil, contrastive.ErrShape, "stride of 2"},
		{plain, contrastive.Matrix{Rows: 2, Cols: 3, Stride: 3, Data: make([]float32, 5)}, nil, contrastive.ErrShape, "needs 6"},
		{plain, losstest.Normal(r, 2, 3), []int{1, 2}, contrastive.ErrShape, "2 labels for 2 keys, but 0 of the 4"},
		{labelled, losstest.Normal(r, 2, 3), nil, contrastive.ErrShape, "0 labels for 2 keys, but 3 of the 3"},
		{labelled, losstest.Normal(r, 2, 3), []int{1}, contrastive.ErrShape, "1 labels for 2 keys"},
		{plain, nan, nil, contrastive.ErrNotFinite, "keys row 1 column 2 is NaN"},
		{plain, inf, nil, contrastive.ErrNotFinite, "keys row 0 column 0 is -Inf"},
		{plain, plain.Keys(), nil, contrastive.ErrShape, "overlaps"},
	} {
		keys, labels := losstest.Clone(c.q.Keys()), slices.Clone(c.q.Labels())
		err := c.q.Enqueue(c.keys, c.labels...)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.parts) || !called(err, "Queue.Enqueue") {
			t.Errorf("Enqueue: %v, want %v with %q", err, c.want, c.parts)
		}
		if !losstest.SameBits(c.q.Keys(), keys) || !slices.Equal(c.q.Labels(), labels) {
			t.Errorf("%q has changed the queue", c.parts)
		}
	}
}

// written returns a queue, and what WriteTo writes of it.
func written(t testing.TB, capacity, n int, labels bool) (*contrastive.Queue, []byte) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	q, err := contrastive.NewQueue(capacity, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		var l []int
		if labels {
			l = []int{7 * i}
		}
		if err := q.Enqueue(losstest.Normal(r, 1, 3), l...); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if size, err := q.WriteTo(&b); err != nil || size != int64(b.Len()) {
		t.Fatalf("WriteTo: %d bytes of %d, %v", size, b.Len(), err)
	}
	return q, b.Bytes()
}

func TestQueueFile(t *testing.T) {
	for _, c := range []struct {
		capacity, n int
		labels      bool
	}{{4, 0, false}, {4, 3, false}, {4, 4, true}, {4, 6, true}, {9000, 8500, true}, {1, 1, false}} {
		q, data := written(t, c.capacity, c.n, c.labels)
		rest := bytes.NewReader(append(slices.Clone(data), "rest"...))
		got, err := contrastive.ReadQueue(iotest.HalfReader(rest))
		if err != nil {
			t.Fatal(err)
		}
		if left, _ := io.ReadAll(rest); string(left) != "rest" {
			t.Errorf("ReadQueue leaves %q", left)
		}
		if got.Cap() != q.Cap() || !losstest.SameBits(got.Keys(), q.Keys()) || !slices.Equal(got.Labels(), q.Labels()) {
			t.Errorf("%+v: read %v, wrote %v", c, got, q)
		}
		// What follows is the same, too.
		r := rand.New(rand.NewPCG(3, 4))
		for range 3 {
			keys := losstest.Normal(r, 2, 3)
			var l []int
			if c.labels {
				l = []int{1, 2}
			}
			if err := errors.Join(q.Enqueue(keys, l...), got.Enqueue(keys, l...)); err != nil {
				t.Fatal(err)
			}
		}
		if !losstest.SameBits(got.Keys(), q.Keys()) || !slices.Equal(got.Labels(), q.Labels()) {
			t.Errorf("%+v: after further keys %v, want %v", c, got, q)
		}
	}
}

// TestQueueGob: a queue is a part of what package encoding/gob writes.
func TestQueueGob(t *testing.T) {
	type checkpoint struct {
		Step  int
		Queue *contrastive.Queue
	}
	q, _ := written(t, 4, 6, true)
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(checkpoint{7, q}); err != nil {
		t.Fatal(err)
	}
	var got checkpoint
	if err := gob.NewDecoder(&b).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Step != 7 || got.Queue.Cap() != q.Cap() || !losstest.SameBits(got.Queue.Keys(), q.Keys()) || !slices.Equal(got.Queue.Labels(), q.Labels()) {
		t.Errorf("read %v, wrote %v", got.Queue, q)
	}
	if _, err := new(contrastive.Queue).MarshalBinary(); !errors.Is(err, contrastive.ErrParameter) || !called(err, "Queue.MarshalBinary") {
		t.Errorf("MarshalBinary of the zero Queue: %v", err)
	}
}

// TestQueueUnmarshal: it replaces whatever there was, and an error changes nothing.
func TestQueueUnmarshal(t *testing.T) {
	q, data := written(t, 4, 3, true)
	other, before := written(t, 9, 5, false)
	for name, bad := range map[string][]byte{
		"short": data[:len(data)-1], "long": append(slices.Clone(data), 0), "nothing": nil,
	} {
		if err := other.UnmarshalBinary(bad); !errors.Is(err, contrastive.ErrCorrupt) || !called(err, "Queue.UnmarshalBinary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after, err := other.MarshalBinary(); err != nil || !bytes.Equal(before, after) {
		t.Errorf("an error has changed the queue: %v", err)
	}
	if err := other.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	if after, err := other.MarshalBinary(); err != nil || !bytes.Equal(data, after) {
		t.Errorf("MarshalBinary has other bytes than were read: %v", err)
	}
	keys := losstest.Normal(rand.New(rand.NewPCG(3, 4)), 2, 3)
	if err := errors.Join(q.Enqueue(keys, 1, 2), other.Enqueue(keys, 1, 2)); err != nil {
		t.Fatal(err)
	}
	batch := contrastive.Batch{Query: keys, Key: keys}
	want, err := evalQueue(batch, q)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := evalQueue(batch, other); err != nil || got != want {
		t.Errorf("loss %v, want %v, %v", got, want, err)
	}
}

func evalQueue(b contrastive.Batch, q *contrastive.Queue) (float64, error) {
	b.Queue = q
	r, err := contrastive.InfoNCE{}.Eval(b, contrastive.Gradients{})
	return r.Loss, err
}

func TestQueueFileDamage(t *testing.T) {
	for _, labels := range []bool{false, true} {
		_, data := written(t, 4, 5, labels)
		for n := range data {
			if q, err := contrastive.ReadQueue(bytes.NewReader(data[:n])); !errors.Is(err, contrastive.ErrCorrupt) || q != nil || !called(err, "ReadQueue") {
				t.Errorf("the first %d of %d bytes: %v", n, len(data), err)
			}
		}
		for bit := range 8 * len(data) {
			flipped := slices.Clone(data)
			flipped[bit/8] ^= 1 << (bit % 8)
			if q, err := contrastive.ReadQueue(bytes.NewReader(flipped)); !errors.Is(err, contrastive.ErrCorrupt) || q != nil {
				t.Errorf("bit %d of byte %d flipped: %v", bit%8, bit/8, err)
			}
		}
	}
	failure := errors.New("failure")
	if _, err := contrastive.ReadQueue(iotest.ErrReader(failure)); !errors.Is(err, failure) || !called(err, "ReadQueue") {
		t.Errorf("ReadQueue hides the reader's error: %v", err)
	}
	q, _ := written(t, 4, 4, false)
	if _, err := q.WriteTo(failingWriter{failure}); !errors.Is(err, failure) || !called(err, "Queue.WriteTo") {
		t.Errorf("WriteTo hides the writer's error: %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// TestQueueFileWriters counts what writers take until they fail, with an error or
// without one.
func TestQueueFileWriters(t *testing.T) {
	failure := errors.New("failure")
	q := losstest.NewQueue(t, 20000, losstest.Normal(rand.New(rand.NewPCG(1, 2)), 20000, 1))
	for _, room := range []int64{0, 1, 1 << 15, 1<<15 + 1, 70000} {
		for _, want := range []error{failure, io.ErrShortWrite} {
			w := &smallWriter{room: room, err: want}
			if want == io.ErrShortWrite {
				w.err = nil
			}
			if n, err := q.WriteTo(w); n != room || !errors.Is(err, want) {
				t.Errorf("room for %d bytes: %d, %v, want %v", room, n, err, want)
			}
		}
	}
}

// A smallWriter has room for a few bytes, and then returns its error, which may be nil.
type smallWriter struct {
	room int64
	err  error
}

func (w *smallWriter) Write(b []byte) (int, error) {
	n := min(int64(len(b)), w.room)
	if w.room -= n; n < int64(len(b)) {
		return int(n), w.err
	}
	return int(n), nil
}

// TestZeroQueue takes the Queue that NewQueue has not made: it holds nothing, takes
// nothing, and is not written, since no file says so.
func TestZeroQueue(t *testing.T) {
	q := new(contrastive.Queue)
	if q.Len() != 0 || q.Cap() != 0 || q.Dim() != 0 || q.Keys().Rows != 0 || q.Labels() != nil {
		t.Errorf("%d of %d keys of %d dimensions", q.Len(), q.Cap(), q.Dim())
	}
	q.Reset()
	one := contrastive.Matrix{Rows: 1, Cols: 2, Stride: 2, Data: []float32{1, 2}}
	for name, err := range map[string]error{
		"Enqueue":          q.Enqueue(one),
		"Enqueue, nothing": q.Enqueue(contrastive.Matrix{}),
		"EnqueueAll":       q.EnqueueAll(t.Context(), contrastive.NewLocalGroup(1)[0], one),
		"InfoNCE": func() error {
			_, err := contrastive.InfoNCE{}.Eval(contrastive.Batch{Query: one, Key: one, Queue: q}, contrastive.Gradients{})
			return err
		}(),
	} {
		want := contrastive.ErrShape
		if name == "Enqueue, nothing" {
			want = contrastive.ErrEmpty
		}
		if !errors.Is(err, want) || q.Len() != 0 {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	var b bytes.Buffer
	if n, err := q.WriteTo(&b); !errors.Is(err, contrastive.ErrParameter) || n != 0 || b.Len() != 0 {
		t.Errorf("WriteTo: %d bytes, %v", n, err)
	}
	path := filepath.Join(t.TempDir(), "queue")
	old, _ := written(t, 4, 4, false)
	if err := old.Save(path); err != nil {
		t.Fatal(err)
	}
	if err := q.Save(path); !errors.Is(err, contrastive.ErrParameter) || !called(err, "Queue.Save") {
		t.Errorf("Save: %v", err)
	}
	if got, err := contrastive.LoadQueue(path); err != nil || !losstest.SameBits(got.Keys(), old.Keys()) {
		t.Errorf("the file has changed: %v", err)
	}
}

// forge replaces the header's sizes, and mends the checksum.
func forge(data []byte, sizes [4]uint64) []byte {
	b := slices.Clone(data[:len(data)-8])
	for i, n := range sizes {
		binary.LittleEndian.PutUint64(b[16+8*i:], n)
	}
	return binary.LittleEndian.AppendUint64(b, crc64.Checksum(b, crc64.MakeTable(crc64.ECMA)))
}

// TestQueueFileForged gives files that lie about their size a right checksum.
func TestQueueFileForged(t *testing.T) {
	_, data := written(t, 4, 4, false)
	for _, sizes := range [][4]uint64{
		{3, math.MaxUint64, 4, 0}, {math.MaxUint64, 4, 4, 0}, {1 << 33, 1 << 33, 4, 0}, {0, 4, 4, 0}, {3, 0, 0, 0},
		{3, 1 << 34, 1 << 34, 0}, {3, 4, 5, 0}, {3, 4, 4, 4}, {3, 4, 3, 0}, {3, 8, 4, 5}, {3, 8, 4, 2}, {4, 4, 3, 3},
	} {
		if q, err := contrastive.ReadQueue(bytes.NewReader(forge(data, sizes))); !errors.Is(err, contrastive.ErrCorrupt) || q != nil {
			t.Errorf("sizes %v: %v", sizes, err)
		}
	}
	for _, flags := range []uint32{1, 2, 3, 1 << 31} { // there are no labels, or there is no such flag
		forged := slices.Clone(data)
		binary.LittleEndian.PutUint32(forged[12:], flags)
		if q, err := contrastive.ReadQueue(bytes.NewReader(forge(forged, [4]uint64{3, 4, 4, 0}))); !errors.Is(err, contrastive.ErrCorrupt) || q != nil {
			t.Errorf("flags %#x: %v", flags, err)
		}
	}
	// Norms of 1, to rounding, and of 0 are good.
	for _, c := range []struct {
		norm float32
		good bool
	}{
		{0, true}, {1, true}, {1 - 0x1p-12, true}, {1 + 0x1p-12, true},
		{2, false}, {1.02, false}, {0.98, false}, {1.001, false}, {0.999, false}, {0x1p-149, false}, {0x1p-20, false},
		{math.MaxFloat32, false}, {float32(math.Inf(1)), false}, {nan, false},
	} {
		for key := range 4 {
			forged := slices.Clone(data)
			for d, v := range [3]float32{0, c.norm, 0} {
				binary.LittleEndian.PutUint32(forged[48+12*key+4*d:], math.Float32bits(v))
			}
			q, err := contrastive.ReadQueue(bytes.NewReader(forge(forged, [4]uint64{3, 4, 4, 0})))
			if c.good != (err == nil) || !c.good && (!errors.Is(err, contrastive.ErrCorrupt) || q != nil) {
				t.Errorf("key %d has norm %v: %v", key, c.norm, err)
			}
		}
	}
}

func FuzzReadQueue(f *testing.F) {
	for _, labels := range []bool{false, true} {
		_, data := written(f, 4, 5, labels)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := contrastive.ReadQueue(bytes.NewReader(data))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if _, err := q.WriteTo(&b); err != nil || !bytes.HasPrefix(data, b.Bytes()) {
			t.Errorf("%v: read %x, wrote %x", err, data, b.Bytes())
		}
	})
}

// TestQueueFileBits checks that a queue is written as the same bytes on every
// architecture, by their checksum on the one where this test was written, an amd64.
func TestQueueFileBits(t *testing.T) {
	_, data := written(t, 4, 5, true)
	if got, want := binary.LittleEndian.Uint64(data[len(data)-8:]), uint64(0xf676e78c98aa081d); got != want {
		t.Errorf("the checksum is %#x, want %#x", got, want)
	}
}

// TestQueueReaders evaluates losses that share a queue, whose layouts they read,
// and changes the level in between: then they must make their own.
func TestQueueReaders(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	q, err := contrastive.NewQueue(100, 20)
	if err != nil {
		t.Fatal(err)
	}
	for range 7 { // laid out on the level of the start, wrapping around
		if err := q.Enqueue(losstest.Normal(r, 33, 20)); err != nil {
			t.Fatal(err)
		}
	}
	rows := losstest.Clone(q.Keys())
	b := contrastive.Batch{Query: losstest.Normal(r, 40, 20), Key: losstest.Normal(r, 40, 20)}
	isatest.Each(t, func(t *testing.T) {
		withQueue, withRows := b, b
		withQueue.Queue, withRows.Negatives = q, rows
		// Negatives are normalised once more than queued keys: cosines differ by
		// (D+4)·u, logits by that over τ, weights by twice that, which is 4·10⁻⁵,
		// and gradients are at most 2/(N·τ·‖x‖), about 0.2.
		wantGrads := losstest.Destinations(b)
		want := losstest.Eval(t, "negatives", contrastive.InfoNCE{}, withRows, wantGrads)
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				g := losstest.Destinations(b)
				got, err := contrastive.InfoNCE{}.Eval(withQueue, g)
				if err != nil {
					t.Error(err)
				}
				losstest.Within(t, "loss", got.Loss, want.Loss, 64*u*(1+want.Loss))
				for i := range g.Query.Rows {
					for d, v := range g.Query.Row(i) {
						losstest.Within(t, "gradient", float64(v), float64(wantGrads.Query.Row(i)[d]), 1e-5)
					}
				}
			})
		}
		group.Wait()
	})
}

// TestQueueFollowsPrecision evaluates losses of each precision with two queues of the
// same keys, of which one has them laid out for it: the bits are the same.
func TestQueueFollowsPrecision(t *testing.T) {
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(31, 1))
		const n, d = 9, 40
		b := contrastive.Batch{Query: losstest.Normal(r, n, d), Key: losstest.Normal(r, n, d)}
		newQueue := func() *contrastive.Queue {
			q, err := contrastive.NewQueue(100, d)
			if err != nil {
				t.Fatal(err)
			}
			return q
		}
		follower := newQueue()
		var batches []contrastive.Matrix
		for _, p := range []contrastive.Precision{contrastive.Highest, contrastive.Medium, contrastive.High, contrastive.Medium, contrastive.Highest} {
			run := func(q *contrastive.Queue) (contrastive.Result, []float32) {
				b.Queue = q
				g := contrastive.Gradients{Query: contrastive.NewMatrix(n, d)}
				return losstest.Eval(t, "queue", contrastive.InfoNCE{Options: options{Precision: p}}, b, g), g.Query.Data
			}
			run(follower)
			batches = append(batches, losstest.Normal(r, 33, d))
			if err := follower.Enqueue(batches[len(batches)-1]); err != nil {
				t.Fatal(err)
			}
			other := newQueue()
			for _, keys := range batches {
				if err := other.Enqueue(keys); err != nil {
					t.Fatal(err)
				}
			}
			got, gradient := run(follower)
			want, wantGradient := run(other)
			if got != want || !slices.Equal(gradient, wantGradient) {
				t.Errorf("%v, %d keys: %+v once the keys are laid out, %+v before", p, other.Len(), got, want)
			}
		}
	})
}
