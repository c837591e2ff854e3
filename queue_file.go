package contrastive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"math"
	"os"

	"github.com/contrastive-go/contrastive/internal/atomicfile"
	"github.com/contrastive-go/contrastive/internal/fpmode"
	"github.com/contrastive-go/contrastive/simd"
)

// ErrCorrupt is wrapped by errors about files that are not what was written.
var ErrCorrupt = errors.New("corrupt data")

// A queue is written, in little-endian order, as
//
//	8 bytes   "ctrqueue"
//	uint32    version, 1
//	uint32    1 if there are labels, 0 otherwise
//	uint64    dimensions, capacity, keys, place of the next key
//	float32   keys·dimensions elements
//	int64     a label for each key, if there are labels
//	uint64    CRC-64, ECMA polynomial, of all before
const (
	queueMagic   = "ctrqueue"
	queueVersion = 1
	queueHeader  = 8 + 2*4 + 4*8
)

var queueTable = crc64.MakeTable(crc64.ECMA)

// Save writes q to the named file, which it replaces in one step: whenever the
// program or the machine stops, the file is the old one or the new one, whole; and once
// Save has returned nil it is the new one, where the system can make a name in a
// directory durable.
//
// The file keeps its permissions, not its owner and its other names. If it is a symbolic
// link the file that it leads to is replaced. The directory must allow a new file. An
// interrupted Save may leave a file path.*.tmp behind. A failed one leaves nothing, and
// does not change the file unless all that has failed is to make the name durable.
func (q *Queue) Save(path string) error {
	err := atomicfile.Write(path, func(w io.Writer) error {
		_, err := q.write(w)
		return err
	})
	return wrap("Queue.Save", err)
}

// LoadQueue reads the queue that [Queue.Save] wrote to the named file. Its errors
// are those of the file system, and those of [ReadQueue]; a file that goes on
// after the queue is [ErrCorrupt], too.
func LoadQueue(path string) (*Queue, error) {
	q, err := loadQueue(path)
	return q, wrap("LoadQueue", err)
}

func loadQueue(path string) (*Queue, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	q, err := readQueue(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch n, err := f.Read(make([]byte, 1)); {
	case n > 0:
		return nil, fmt.Errorf("%s goes on after the queue: %w", path, ErrCorrupt)
	case err != io.EOF:
		return nil, err
	}
	return q, nil
}

// MarshalBinary returns what [Queue.WriteTo] writes. With [Queue.UnmarshalBinary] it
// makes a queue part of a checkpoint, of package encoding/gob or of package nn.
func (q *Queue) MarshalBinary() ([]byte, error) {
	var b bytes.Buffer
	b.Grow(queueHeader + 4*len(q.keys) + 8*len(q.labels) + 8)
	if _, err := q.write(&b); err != nil {
		return nil, wrap("Queue.MarshalBinary", err)
	}
	return b.Bytes(), nil
}

// UnmarshalBinary makes q the queue that [Queue.MarshalBinary] was called for, whatever it
// was before. Its errors are those of [ReadQueue]; data that go on after the queue are
// [ErrCorrupt], too. After an error q has not changed.
func (q *Queue) UnmarshalBinary(data []byte) error {
	r := bytes.NewReader(data)
	read, err := readQueue(r)
	if err == nil && r.Len() > 0 {
		err = fmt.Errorf("%d bytes follow the queue: %w", r.Len(), ErrCorrupt)
	}
	if err != nil {
		return wrap("Queue.UnmarshalBinary", err)
	}
	defer fpmode.Enter().Leave()
	q.capacity, q.dim, q.next, q.keys, q.labels = read.capacity, read.dim, read.next, read.keys, read.labels
	q.packed.Reset(q.dim)
	q.pack(0, q.Len())
	return nil
}

// WriteTo writes q to w, in a format that does not depend on the machine, and
// returns the number of bytes written. It implements [io.WriterTo]. For the zero Queue,
// which holds no keys of any size, it returns an error that wraps [ErrParameter].
func (q *Queue) WriteTo(w io.Writer) (int64, error) {
	n, err := q.write(w)
	return n, wrap("Queue.WriteTo", err)
}

func (q *Queue) write(w io.Writer) (int64, error) {
	if q.capacity == 0 {
		return 0, fmt.Errorf("the queue has no capacity; NewQueue makes one that has: %w", ErrParameter)
	}
	e := &queueWriter{w: w, sum: crc64.New(queueTable)}
	labelled := uint32(0)
	if q.labels != nil {
		labelled = 1
	}
	b := append(make([]byte, 0, 1<<15), queueMagic...)
	b = binary.LittleEndian.AppendUint32(b, queueVersion)
	b = binary.LittleEndian.AppendUint32(b, labelled)
	for _, n := range [...]int{q.dim, q.capacity, q.Len(), q.next} {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	for _, v := range q.keys {
		b = e.flushFull(binary.LittleEndian.AppendUint32(b, math.Float32bits(v)))
	}
	for _, l := range q.labels {
		b = e.flushFull(binary.LittleEndian.AppendUint64(b, uint64(l)))
	}
	e.write(b)
	e.write(binary.LittleEndian.AppendUint64(nil, e.sum.Sum64()))
	return e.n, e.err
}

// A queueWriter remembers what it has written, and the first error.
type queueWriter struct {
	w   io.Writer
	sum hash.Hash64
	n   int64
	err error
}

func (e *queueWriter) write(b []byte) {
	if e.err != nil {
		return
	}
	e.sum.Write(b)
	n, err := e.w.Write(b)
	if n < len(b) && err == nil {
		err = io.ErrShortWrite
	}
	e.n, e.err = e.n+int64(n), err
}

// flushFull writes b and empties it, if there may be no room for another value.
func (e *queueWriter) flushFull(b []byte) []byte {
	if len(b)+8 <= cap(b) {
		return b
	}
	e.write(b)
	return b[:0]
}

// ReadQueue reads a queue that [Queue.WriteTo] wrote, and nothing after it. What
// it returns behaves as the queue that was written. If the data end early, are not
// a queue, or have changed since, it returns an error that wraps [ErrCorrupt]; it
// allocates no more than a small multiple of what it reads.
func ReadQueue(r io.Reader) (*Queue, error) {
	q, err := readQueue(r)
	return q, wrap("ReadQueue", err)
}

func readQueue(r io.Reader) (*Queue, error) {
	d := &queueReader{r: r, sum: crc64.New(queueTable)}
	h := d.read(queueHeader)
	if d.err != nil {
		return nil, d.err
	}
	if string(h[:8]) != queueMagic {
		return nil, fmt.Errorf("it begins with %q, not %q: %w", h[:8], queueMagic, ErrCorrupt)
	}
	version, labelled := binary.LittleEndian.Uint32(h[8:]), binary.LittleEndian.Uint32(h[12:])
	if version != queueVersion || labelled > 1 {
		return nil, fmt.Errorf("version %d with flags %#x, can read version %d: %w", version, labelled, queueVersion, ErrCorrupt)
	}
	var sizes [4]uint64
	for i := range sizes {
		sizes[i] = binary.LittleEndian.Uint64(h[16+8*i:])
	}
	dim, capacity, n, next := sizes[0], sizes[1], sizes[2], sizes[3]
	if dim == 0 || capacity == 0 || dim > maxElements || capacity > maxElements/dim || n > capacity ||
		next >= capacity || n < capacity && next != n || labelled == 1 && n == 0 {
		return nil, fmt.Errorf("%d keys of %d dimensions in a queue of %d, the next at %d: %w", n, dim, capacity, next, ErrCorrupt)
	}
	q := &Queue{capacity: int(capacity), dim: int(dim), next: int(next)}
	d.each(int(n*dim), 4, func(b []byte) {
		q.keys = append(q.keys, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	})
	if labelled == 1 {
		d.each(int(n), 8, func(b []byte) {
			v := int64(binary.LittleEndian.Uint64(b))
			if int64(int(v)) != v {
				d.err = fmt.Errorf("label %d is too large for an int here: %w", v, ErrCorrupt)
			}
			q.labels = append(q.labels, int(v))
		})
	}
	sum := d.sum.Sum64()
	tail := d.read(8)
	if d.err != nil {
		return nil, d.err
	}
	if got := binary.LittleEndian.Uint64(tail); got != sum {
		return nil, fmt.Errorf("the checksum is %#x, the data's %#x: %w", got, sum, ErrCorrupt)
	}
	defer fpmode.Enter().Leave() // no sooner: to read is to wait
	if err := q.checkKeys(); err != nil {
		return nil, err
	}
	q.pack(0, q.Len())
	return q, nil
}

// checkKeys returns an error unless every key is of norm 1 or 0, to rounding, also that
// of programs that compute norms in float32.
func (q *Queue) checkKeys() error {
	for i := range q.Len() {
		row := q.Keys().Row(i)
		if n := simd.DotFloat64(row, row); n != 0 && !(math.Abs(n-1) < 1e-3) {
			return fmt.Errorf("key %d has a squared norm of %v: %w", i, n, ErrCorrupt)
		}
	}
	return nil
}

// A queueReader remembers the first error.
type queueReader struct {
	r   io.Reader
	sum hash.Hash64
	buf []byte
	at  int64
	err error
}

// read returns the next n bytes, which are valid until the next read.
func (d *queueReader) read(n int) []byte {
	if d.err != nil {
		return nil
	}
	if cap(d.buf) < n {
		d.buf = make([]byte, n)
	}
	b := d.buf[:n]
	got, err := io.ReadFull(d.r, b)
	d.at += int64(got)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		d.err = fmt.Errorf("it ends after %d bytes: %w", d.at, ErrCorrupt)
	case err != nil:
		d.err = err
	}
	d.sum.Write(b[:got])
	return b
}

// each calls f with n values of size bytes, read a few at a time, so that a
// header that lies cannot make the reader allocate what is not there.
func (d *queueReader) each(n, size int, f func(b []byte)) {
	const few = 1 << 12
	for n > 0 && d.err == nil {
		m := min(n, few)
		b := d.read(m * size)
		if d.err != nil {
			return
		}
		for i := range m {
			f(b[i*size : (i+1)*size])
		}
		n -= m
	}
}
