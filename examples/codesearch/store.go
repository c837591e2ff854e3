package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/atomicfile"
)

// A file holds a magic string with the version, the length of a header, the header
// as a gob, the rows of the embedding table that training has changed, all weights,
// the rows of the index, and a CRC-32C of what precedes it. Numbers are
// little-endian. The other rows of the table follow from the seed.
const (
	magic     = "codesearch model 4\n"
	maxHeader = 1 << 24
	maxTable  = 1 << 28 // elements
)

// header describes a saved model.
type header struct {
	Provenance
	Dim, Buckets int
	Seed         uint64
	Gain         []float32
	LogScale     float64
	Rows         []uint32 // that are in the file
	Library      Library
	Entries      []Entry
}

// Provenance says what a model has seen.
type Provenance struct {
	Release     string // of Go
	Fingerprint uint64 // of the corpus
	HeldOut     Split  // that it may be measured on
}

var errModel = errors.New("not a valid model file")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A row takes a byte an element: its elements are whole multiples, at most 127 times,
// of the least power of two that allows this. Rounding to them moves an element by at
// most 1/127 of the greatest, and rounding again changes nothing.
const maxMultiple = 127

// unit returns the power of two for a row, 0 for a row of zeros.
func unit(row []float32) float32 {
	greatest := float32(0)
	for _, x := range row {
		greatest = max(greatest, x, -x)
	}
	if greatest == 0 {
		return 0
	}
	fraction, exponent := math.Frexp(float64(greatest) / maxMultiple)
	if fraction == 0.5 { // a power of two itself
		exponent--
	}
	return float32(math.Ldexp(1, exponent))
}

// roundRow rounds a row to what a file can hold.
func roundRow(row []float32) {
	u := unit(row)
	if u == 0 {
		return
	}
	for j, x := range row {
		row[j] = u * float32(math.RoundToEven(float64(x/u)))
	}
}

func roundRows(m contrastive.Matrix) {
	for i := range m.Rows {
		roundRow(m.Row(i))
	}
}

// Round rounds the rows of the embedding table that training has changed to what a
// file can hold, so that a saved model is the one that was measured.
func (e *Encoder) Round() {
	for _, i := range e.changedRows() {
		roundRow(e.Embedding.Row(int(i)))
	}
}

// changedRows returns the rows that differ from those before training.
func (e *Encoder) changedRows() (rows []uint32) {
	initial := make([]float32, e.Dim)
	for i := range e.Buckets {
		e.initialRow(i, initial)
		for j, x := range e.Embedding.Row(i) {
			if x != initial[j] {
				rows = append(rows, uint32(i))
				break
			}
		}
	}
	return rows
}

// SaveModel writes a model and its index to a file, which it replaces in one step:
// whenever the program or the machine stops, the file is the old one or the new one.
func SaveModel(path string, e *Encoder, x *Index, p Provenance) error {
	err := atomicfile.Write(path, func(f io.Writer) error {
		w := bufio.NewWriter(f)
		return errors.Join(writeModel(w, e, x, p), w.Flush())
	})
	if err != nil {
		return fmt.Errorf("saving the model: %w", err)
	}
	return nil
}

func writeModel(w io.Writer, e *Encoder, x *Index, p Provenance) error {
	h := header{p, e.Dim, e.Buckets, e.Seed, e.Gain[:], e.LogScale, e.changedRows(), x.Library, x.Entries}
	var head bytes.Buffer
	if err := gob.NewEncoder(&head).Encode(h); err != nil {
		return err
	}
	sum := crc32.New(castagnoli)
	out := io.MultiWriter(w, sum)
	parts := []any{[]byte(magic), uint32(head.Len()), head.Bytes()}
	for _, i := range h.Rows {
		u, multiples := packRow(e.Embedding.Row(int(i)))
		parts = append(parts, u, multiples)
	}
	parts = append(parts, e.Weight)
	for i := range x.keys.Rows {
		u, multiples := packRow(x.keys.Row(i))
		parts = append(parts, u, multiples)
	}
	for _, p := range parts {
		if err := binary.Write(out, binary.LittleEndian, p); err != nil {
			return err
		}
	}
	return binary.Write(w, binary.LittleEndian, sum.Sum32())
}

// packRow returns a row that has been rounded as multiples of a unit.
func packRow(row []float32) (u float32, multiples []int8) {
	multiples = make([]int8, len(row))
	u = unit(row)
	if u == 0 {
		return u, multiples
	}
	for j, x := range row {
		multiples[j] = int8(x / u)
	}
	return u, multiples
}

// LoadModel reads what SaveModel wrote.
func LoadModel(path string) (*Encoder, *Index, Provenance, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, Provenance{}, err
	}
	defer f.Close()
	e, x, p, err := readModel(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return nil, nil, p, fmt.Errorf("%s: %w", path, err)
	}
	return e, x, p, nil
}

func readModel(r io.Reader) (*Encoder, *Index, Provenance, error) {
	invalid := func(format string, args ...any) (*Encoder, *Index, Provenance, error) {
		return nil, nil, Provenance{}, fmt.Errorf("%w: "+format, append([]any{errModel}, args...)...)
	}
	sum := crc32.New(castagnoli)
	in := io.TeeReader(r, sum)
	got := make([]byte, len(magic))
	if _, err := io.ReadFull(in, got); err != nil || string(got) != magic {
		return invalid("it does not begin with %q", magic)
	}
	var size uint32
	if err := binary.Read(in, binary.LittleEndian, &size); err != nil || size > maxHeader {
		return invalid("its header is truncated or too long")
	}
	head := make([]byte, size)
	if _, err := io.ReadFull(in, head); err != nil {
		return invalid("its header is truncated")
	}
	var h header
	if err := gob.NewDecoder(bytes.NewReader(head)).Decode(&h); err != nil {
		return invalid("header: %w", err)
	}
	if h.Dim <= 0 || h.Buckets <= 0 || h.Dim > maxTable/h.Buckets || len(h.Entries) > maxTable/h.Dim || len(h.Gain) != int(channels) || h.HeldOut > NoSplit {
		return invalid("it has %d×%d embeddings, %d functions and %d gains, want %d gains", h.Buckets, h.Dim, len(h.Entries), len(h.Gain), channels)
	}
	e := NewEncoder(h.Dim, h.Buckets, h.Seed, nil)
	e.LogScale = h.LogScale
	copy(e.Gain[:], h.Gain)
	rows := newRowReader(in, h.Dim)
	for _, i := range h.Rows {
		if int(i) >= h.Buckets {
			return invalid("row %d of %d", i, h.Buckets)
		}
		if err := rows.read(e.Embedding.Row(int(i))); err != nil {
			return invalid("row %d: %w", i, err)
		}
	}
	if err := binary.Read(in, binary.LittleEndian, e.Weight); err != nil {
		return invalid("weights: %w", err)
	}
	x := &Index{Library: h.Library, Entries: h.Entries, keys: contrastive.NewMatrix(len(h.Entries), h.Dim)}
	for i := range h.Entries {
		if err := rows.read(x.keys.Row(i)); err != nil {
			return invalid("function %d: %w", i, err)
		}
	}
	want := sum.Sum32()
	var stored uint32
	if err := binary.Read(r, binary.LittleEndian, &stored); err != nil || stored != want {
		return invalid("its checksum is wrong")
	}
	x.collectTexts()
	return e, x, h.Provenance, nil
}

// A rowReader reads rows of bytes.
type rowReader struct {
	in     io.Reader
	buffer []byte // the unit and the multiples
}

func newRowReader(in io.Reader, dim int) *rowReader {
	return &rowReader{in, make([]byte, 4+dim)}
}

func (r *rowReader) read(row []float32) error {
	if _, err := io.ReadFull(r.in, r.buffer); err != nil {
		return err
	}
	u := math.Float32frombits(binary.LittleEndian.Uint32(r.buffer))
	for j, b := range r.buffer[4:] {
		row[j] = u * float32(int8(b))
	}
	return nil
}
