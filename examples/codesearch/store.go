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
	"os"

	"github.com/contrastive-go/contrastive/internal/atomicfile"
)

// A file holds a magic string with the version, the length of a header, the
// header as a gob, the rows of the embedding table that training has changed,
// all weights, and a CRC-32C of what precedes it. Numbers are little-endian. The
// other rows follow from the seed.
const (
	magic     = "codesearch model 1\n"
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
}

// Provenance says what a model has seen.
type Provenance struct {
	Release     string // of Go
	Fingerprint uint64 // of the corpus
	HeldOut     Split  // that it may be measured on
}

var errModel = errors.New("not a valid model file")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SaveModel writes a model to a file, which it replaces in one step: whenever the
// program or the machine stops, the file is the old one or the new one.
func SaveModel(path string, e *Encoder, p Provenance) error {
	err := atomicfile.Write(path, func(f io.Writer) error {
		w := bufio.NewWriter(f)
		return errors.Join(writeModel(w, e, p), w.Flush())
	})
	if err != nil {
		return fmt.Errorf("saving the model: %w", err)
	}
	return nil
}

func writeModel(w io.Writer, e *Encoder, p Provenance) error {
	h := header{p, e.Dim, e.Buckets, e.Seed, e.Gain[:], e.LogScale, nil}
	initial := make([]float32, e.Dim)
	for i := range e.Buckets {
		e.initialRow(i, initial)
		for j, x := range e.Embedding.Row(i) {
			if x != initial[j] {
				h.Rows = append(h.Rows, uint32(i))
				break
			}
		}
	}
	var head bytes.Buffer
	if err := gob.NewEncoder(&head).Encode(h); err != nil {
		return err
	}
	sum := crc32.New(castagnoli)
	out := io.MultiWriter(w, sum)
	parts := []any{[]byte(magic), uint32(head.Len()), head.Bytes()}
	for _, i := range h.Rows {
		parts = append(parts, e.Embedding.Row(int(i)))
	}
	parts = append(parts, e.Weight)
	for _, p := range parts {
		if err := binary.Write(out, binary.LittleEndian, p); err != nil {
			return err
		}
	}
	return binary.Write(w, binary.LittleEndian, sum.Sum32())
}

// LoadModel reads a model that SaveModel wrote.
func LoadModel(path string) (*Encoder, Provenance, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, Provenance{}, err
	}
	defer f.Close()
	e, p, err := readModel(bufio.NewReader(f))
	if err != nil {
		return nil, p, fmt.Errorf("%s: %w", path, err)
	}
	return e, p, nil
}

func readModel(r io.Reader) (*Encoder, Provenance, error) {
	invalid := func(format string, args ...any) (*Encoder, Provenance, error) {
		return nil, Provenance{}, fmt.Errorf("%w: "+format, append([]any{errModel}, args...)...)
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
	if h.Dim <= 0 || h.Buckets <= 0 || h.Dim > maxTable/h.Buckets || len(h.Gain) != int(channels) {
		return invalid("it has %d×%d embeddings and %d gains, want %d gains", h.Buckets, h.Dim, len(h.Gain), channels)
	}
	e := NewEncoder(h.Dim, h.Buckets, h.Seed, nil)
	e.LogScale = h.LogScale
	copy(e.Gain[:], h.Gain)
	for _, i := range h.Rows {
		if int(i) >= h.Buckets {
			return invalid("row %d of %d", i, h.Buckets)
		}
		if err := readFloats(in, e.Embedding.Row(int(i))); err != nil {
			return invalid("row %d: %w", i, err)
		}
	}
	if err := readFloats(in, e.Weight); err != nil {
		return invalid("weights: %w", err)
	}
	want := sum.Sum32()
	var stored uint32
	if err := binary.Read(r, binary.LittleEndian, &stored); err != nil || stored != want {
		return invalid("its checksum is wrong")
	}
	return e, h.Provenance, nil
}

func readFloats(r io.Reader, x []float32) error { return binary.Read(r, binary.LittleEndian, x) }
