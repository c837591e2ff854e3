package contrastive_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
	"github.com/contrastive-go/contrastive/simd"
)

// poke sets elements of the inputs of b as edits says: six bytes each, of which
// two are the place and four the bits of the value. It reports whether all values
// are finite.
func poke(b contrastive.Batch, edits []byte) bool {
	inputs := losstest.Inputs(b)
	total := 0
	for _, m := range inputs {
		total += m.Rows * m.Cols
	}
	finite := true
	for ; len(edits) >= 6; edits = edits[6:] {
		at := int(binary.LittleEndian.Uint16(edits)) % total
		v := math.Float32frombits(binary.LittleEndian.Uint32(edits[2:]))
		for _, m := range inputs {
			if n := m.Rows * m.Cols; at < n {
				m.Row(at / m.Cols)[at%m.Cols] = v
				break
			} else {
				at -= n
			}
		}
	}
	for _, m := range inputs {
		for i := range m.Rows {
			for _, v := range m.Row(i) {
				finite = finite && v-v == 0
			}
		}
	}
	return finite
}

// edit returns the bytes of one edit for poke.
func edit(at uint16, v float32) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint16(nil, at), math.Float32bits(v))
}

// tiny clears the rows of m whose norm counts as 0.
func tiny(m [][]float64) {
	for _, row := range m {
		ss := 0.0
		for _, x := range row {
			ss += x * x
		}
		if math.Sqrt(ss) < 0x1p-126 {
			clear(row)
		}
	}
}

// FuzzLoss compares every loss, on every level, with package ref, within the
// bounds of [accuracy], for batches of any shape, stride, kind, temperature, bias
// and precision, with labels, negatives and queues, and with any values among the
// inputs. What is not a good call must be the right error.
func FuzzLoss(f *testing.F) {
	add := func(v, n, d, gap, kind, extra uint8, tau, bias float32, precision uint8, edits ...[]byte) {
		var all []byte
		for _, e := range edits {
			all = append(all, e...)
		}
		f.Add(uint64(v), v, n, d, gap, kind, extra, tau, bias, precision, all)
	}
	for i := range losstest.Variants {
		v := uint8(i)
		add(v, 4, 5, 0, v, v, 0.1, -10, 0)
		add(v, 40, 18, v, v/2, v/3, 0.02, 1, v)
	}
	add(0, 3, 3, 0, 0, 0, 0.07, 0, 0, edit(4, nan))
	add(1, 3, 3, 2, 0, 4, 0.07, 0, 0, edit(20, inf))
	add(13, 3, 3, 2, 0, 0, 0.07, 0, 0, edit(9, -inf))
	add(3, 2, 2, 1, 0, 0, 0.07, 0, 0, edit(3, math.MaxFloat32), edit(6, 1e-40))
	add(4, 0, 0, 2, 0, 1, 1e-30, 0, 0)
	add(5, 7, 1, 2, 0, 1, 1e30, 1e30, 2)
	add(9, 7, 3, 2, 0, 1, -1, 1, 1)
	add(14, 4, 5, 0, 1, 0, 1, 0, 0, edit(30, 1e20)) // squares of covariances underflow

	f.Fuzz(func(t *testing.T, seed uint64, which, n, d, gap, kind, extra uint8, tau, bias float32, precision uint8, edits []byte) {
		v := losstest.Variants[int(which)%len(losstest.Variants)]
		rows, cols := 1+int(n)%72, 1+int(d)%72
		r := rand.New(rand.NewPCG(seed, 51))
		b := v.Batch(r, rows, cols)
		kinds := losstest.RowKinds
		if v.Columns {
			kinds = losstest.ColumnKinds
		}
		kinds[int(kind)%len(kinds)].Make(r, b)
		if b.Hard.Data != nil {
			kinds[int(kind)%len(kinds)].Make(r, contrastive.Batch{Query: b.Hard.Slice(0, rows), Key: b.Hard.Slice(rows, 2*rows)})
		}
		var fitting []string
		for i := range losstest.Extras {
			if e := losstest.Extras[(int(extra)+i)%len(losstest.Extras)]; e.Fits(v) {
				e.Add(t, r, &b)
				fitting = append(fitting, e.Name)
				break
			}
		}
		for i, m := range [...]*contrastive.Matrix{&b.Query, &b.Key, &b.Negatives, &b.Hard, &b.Scores} {
			if m.Data != nil {
				*m = losstest.Apart(*m, int(gap)%23*(i+1)%29)
			}
		}
		finite := poke(b, edits)
		p := contrastive.Precision(precision % 3)
		if v.NoTemperature || v.Inverse && !(tau >= 0x1p-100 && tau <= 0x1p100) {
			tau = 1
		}
		if tau == 0 {
			tau = 0.25 // 0 stands for a default, which differs from loss to loss
		}
		name := fmt.Sprintf("%s N=%d D=%d gap=%d %s %s τ=%v bias=%v precision=%d", v.Name, rows, cols, gap, kinds[int(kind)%len(kinds)].Name, fitting, tau, bias, p)

		var want []error
		if !finite {
			want = append(want, contrastive.ErrNotFinite)
		}
		if !(tau >= 0x1p-100) || tau > math.MaxFloat32 || v.Bias && !(math.Abs(float64(bias)) <= 0x1p100) ||
			v.Name == "SupCon" && float64(tau) > 0x1p78 { // τ₀ is 1/4
			want = append(want, contrastive.ErrParameter)
		}
		if v.NeedsTwo && rows < 2 {
			want = append(want, contrastive.ErrShape)
		}
		if len(want) > 0 {
			isatest.Each(t, func(t *testing.T) { checkRejected(t, name, v, v.Make(tau, bias, options{Precision: p}), b, want) })
			return
		}
		a := losstest.NewAccuracy(v, b, tau, bias, p)
		rb := losstest.Reference(b)
		if !v.Columns && !v.Raw {
			tiny(rb.Query)
			tiny(rb.Key)
			tiny(rb.Negatives)
			tiny(rb.Hard)
		}
		oracle := v.Ref(float64(tau), float64(bias)).Eval(rb)
		// An error bound of more than some nats says nothing, and its
		// exponential overflows.
		comparable := a.Condition(oracle) && a.Logit < 100
		isatest.Each(t, func(t *testing.T) {
			g := v.Destinations(b)
			got := losstest.Eval(t, name, v.Make(tau, bias, options{Precision: p}), b, g)
			checkFinite(t, name, got, g)
			if comparable {
				a.Check(t, name, b, got, g, oracle)
			}
		})
	})
}

// checkRejected fails t unless the call is one of the wanted errors, which leaves
// the destinations as they are.
func checkRejected(t *testing.T, name string, v losstest.Variant, l contrastive.Loss, b contrastive.Batch, want []error) {
	t.Helper()
	g := v.Destinations(b)
	res, err := l.Eval(b, g)
	found := false
	for _, e := range want {
		found = found || errors.Is(err, e)
	}
	if !found || res != (contrastive.Result{}) {
		t.Errorf("%s: %+v, %v, want one of %q", name, res, err, want)
	}
	if !losstest.SameGradients(g, v.Destinations(b)) {
		t.Errorf("%s: a gradient or a loss was written", name)
	}
}

// checkFinite fails t if a result or an element of a gradient is not finite.
func checkFinite(t *testing.T, name string, res contrastive.Result, g contrastive.Gradients) {
	t.Helper()
	results := []float64{res.Loss, res.TemperatureGrad, res.BiasGrad, res.Accuracy, res.PositiveCosine, res.NegativeCosine}
	for _, x := range append(results, g.Losses...) {
		if x-x != 0 {
			t.Errorf("%s: %+v, losses %v", name, res, g.Losses)
			break
		}
	}
	for i, m := range losstest.Outputs(g) {
		losstest.CheckGaps(t, name, m)
		for row := range m.Rows {
			for d, x := range m.Row(row) {
				if x-x != 0 {
					t.Errorf("%s: gradient %d row %d column %d is %v", name, i, row, d, x)
					return
				}
			}
		}
	}
}

// FuzzQueueFile gives ReadQueue any bytes with a right checksum, which a fuzzer
// would not find: what remains between it and the queue are the checks of the
// header and of the keys. FuzzReadQueue has any bytes at all.
func FuzzQueueFile(f *testing.F) {
	for _, labels := range []bool{false, true} {
		for _, n := range []int{0, 3, 5} {
			if n == 0 && labels {
				continue
			}
			_, data := written(f, 4, n, labels)
			f.Add(data[:len(data)-8])
		}
	}
	_, data := written(f, 4, 4, false)
	for _, sizes := range [][4]uint64{{3, 3, 4, 1}, {3, 1 << 20, 4, 4}, {4, 4, 3, 3}, {12, 1, 1, 0}, {1, 12, 12, 5}, {3, 1 << 34, 1 << 34, 0}} {
		forged := forge(data, sizes)
		f.Add(forged[:len(forged)-8])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		data := binary.LittleEndian.AppendUint64(body[:len(body):len(body)], crc64.Checksum(body, crc64.MakeTable(crc64.ECMA)))
		// The layouts of the kernels are padded to tiles of up to 32×32. The least of some
		// calls counts: a fuzzer allocates, too, while one is under way.
		limit, allocated := uint64(256<<10+256*len(data)), uint64(math.MaxUint64)
		var q *contrastive.Queue
		var err error
		for call := 0; call < 5 && allocated > limit; call++ {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			q, err = contrastive.ReadQueue(bytes.NewReader(data))
			runtime.ReadMemStats(&after)
			allocated = min(allocated, after.TotalAlloc-before.TotalAlloc)
		}
		if allocated > limit {
			t.Errorf("%d bytes make ReadQueue allocate %d, want at most %d", len(data), allocated, limit)
		}
		if err != nil {
			if !errors.Is(err, contrastive.ErrCorrupt) || q != nil {
				t.Errorf("%v, %v", q, err)
			}
			return
		}
		var b bytes.Buffer
		if _, err := q.WriteTo(&b); err != nil || !bytes.HasPrefix(data, b.Bytes()) {
			t.Fatalf("%v: read %x, wrote %x", err, data, b.Bytes())
		}
		if q.Len() > q.Cap() {
			t.Errorf("%d keys in a queue of %d", q.Len(), q.Cap())
		}
		for i := range q.Len() {
			if n := simd.Norm(q.Keys().Row(i)); n != 0 {
				losstest.Within(t, fmt.Sprintf("norm of key %d", i), float64(n), 1, 1e-3)
			}
		}
		if q.Dim() > 1<<10 {
			return
		}
		one := contrastive.NewMatrix(1, q.Dim())
		one.Data[0] = 2
		loss := contrastive.InfoNCE{}
		g := losstest.Destinations(contrastive.Batch{Query: one, Key: one})
		checkFinite(t, "InfoNCE", losstest.Eval(t, "InfoNCE", loss, contrastive.Batch{Query: one, Key: one, Queue: q}, g), g)
		var labels []int
		if q.Labels() != nil {
			labels = []int{1}
		}
		n := q.Len()
		if err := q.Enqueue(one, labels...); err != nil || q.Len() != min(n+1, q.Cap()) {
			t.Errorf("a key after the %d of %d: %d, %v", n, q.Cap(), q.Len(), err)
		}
	})
}
