package adapter

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/atomicfile"
	"github.com/contrastive-go/contrastive/internal/safetensors"
	"github.com/contrastive-go/contrastive/nn"
)

// ErrFormat is wrapped by the errors of files that are no adapters, or damaged.
var ErrFormat = errors.New("not an adapter, or damaged")

// The entries of a file's metadata.
const (
	configEntry     = "contrastive.adapter"
	checkpointEntry = "contrastive.adapter.checkpoint"
	formulaEntry    = "contrastive.formula"
	digestEntry     = "contrastive.sha256" // of the file as it is without this entry
	frameworkEntry  = "format"             // written by other programs
)

const fileVersion = 1

// A fileConfig is the JSON of configEntry.
type fileConfig struct {
	Version  int      `json:"version"`
	Kind     string   `json:"kind"`
	Sides    string   `json:"sides"`
	Dim      int      `json:"dim"`
	Width    int      `json:"width,omitempty"`
	Training Training `json:"training"`
}

var formulas = [...]string{
	Linear:  "u = x/|x|; y = u + u@weight + bias; y/|y|",
	LowRank: "u = x/|x|; y = u + u@down@up + bias; y/|y|",
	MLP:     "u = x/|x|; y = u + gelu_tanh(u@hidden.weight + hidden.bias)@output.weight + output.bias; y/|y|",
}

// WriteTo writes a in the format of safetensors, with float32 tensors query.weight,
// query.bias and so on, and JSON of its form and Training in the metadata. It implements
// [io.WriterTo].
func (a *Adapter) WriteTo(w io.Writer) (int64, error) {
	config, err := json.Marshal(fileConfig{fileVersion, a.Kind.String(), a.Sides.String(), a.dim, a.width, a.Training})
	if err != nil {
		return 0, fmt.Errorf("adapter: WriteTo: %w", err)
	}
	counter := &countingWriter{w: w}
	err = write(counter, map[string]string{configEntry: string(config), formulaEntry: formulas[a.Kind]}, a.tensors())
	if err != nil {
		err = fmt.Errorf("adapter: WriteTo: %w", err)
	}
	return counter.n, err
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// Save writes a to a file, in one step: whatever happens, the file is the old one or
// the new one.
func (a *Adapter) Save(path string) error {
	err := atomicfile.Write(path, func(w io.Writer) error {
		_, err := a.WriteTo(w)
		return err
	})
	if err != nil {
		return fmt.Errorf("adapter: Save: %w", err)
	}
	return nil
}

// Read reads an adapter. A file that is damaged, in any bit, is an error that wraps
// [ErrFormat]. A file that another program has written may lack the checksum.
func Read(r io.Reader) (*Adapter, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("adapter: Read: %w", err)
	}
	a, err := read(b)
	if err != nil {
		return nil, fmt.Errorf("adapter: Read: %w", err)
	}
	return a, nil
}

// Load reads the adapter in a file; see [Read].
func Load(path string) (*Adapter, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("adapter: Load: %w", err)
	}
	a, err := read(b)
	if err != nil {
		return nil, fmt.Errorf("adapter: Load: %s: %w", path, err)
	}
	return a, nil
}

func read(b []byte) (*Adapter, error) {
	metadata, tensors, err := parse(b, configEntry)
	if err != nil {
		return nil, err
	}
	var c fileConfig
	if err := unmarshal(metadata[configEntry], &c); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", configEntry, err, ErrFormat)
	}
	kind, side := slices.Index(kinds[:], c.Kind), slices.Index(sides[:], c.Sides)
	switch {
	case c.Version != fileVersion:
		return nil, fmt.Errorf("version %d, this program reads %d: %w", c.Version, fileVersion, ErrFormat)
	case kind < 0 || side < 0:
		return nil, fmt.Errorf("kind %q, sides %q: %w", c.Kind, c.Sides, ErrFormat)
	case c.Dim < 1 || c.Dim > math.MaxInt32 || c.Width < 0 || c.Width > math.MaxInt32 || (c.Width == 0) != (Kind(kind) == Linear):
		return nil, fmt.Errorf("dim %d, width %d: %w", c.Dim, c.Width, ErrFormat)
	}
	if err := matchTensors(shapes(Kind(kind), Sides(side), c.Dim, c.Width), tensors); err != nil {
		return nil, err
	}
	a := newAdapter(Kind(kind), Sides(side), c.Dim, c.Width, 0)
	a.Training = c.Training
	if err := checkParameters(tensors); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrFormat)
	}
	fill(a.tensors(), tensors)
	return a, nil
}

// write writes tensors with metadata and their digest.
func write(w io.Writer, metadata map[string]string, tensors []nn.Tensor) error {
	d, err := digest(metadata, tensors)
	if err != nil {
		return err
	}
	metadata = maps.Clone(metadata)
	metadata[digestEntry] = d
	return writeTensors(w, metadata, tensors)
}

func digest(metadata map[string]string, tensors []nn.Tensor) (string, error) {
	h := sha256.New()
	if err := writeTensors(h, metadata, tensors); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func writeTensors(w io.Writer, metadata map[string]string, tensors []nn.Tensor) error {
	headers := make([]safetensors.Tensor, len(tensors))
	for i, t := range tensors {
		headers[i] = safetensors.Tensor{Name: t.Name, Shape: t.Shape}
	}
	f, err := safetensors.NewWriter(w, metadata, headers)
	if err != nil {
		return err
	}
	for _, t := range tensors {
		if err := f.Write(t.Data); err != nil {
			return err
		}
	}
	return f.Close()
}

// parse reads the metadata, in which there must be the given entry, and the tensors of a
// file whose digest is right.
func parse(b []byte, entry string) (map[string]string, []nn.Tensor, error) {
	f, err := safetensors.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", err, ErrFormat)
	}
	if _, ok := f.Metadata[entry]; !ok {
		return nil, nil, fmt.Errorf("no %q in the metadata: %w", entry, ErrFormat)
	}
	for name := range f.Metadata {
		switch name {
		case entry, formulaEntry, digestEntry, frameworkEntry:
		default: // which may be the name of the digest, damaged
			return nil, nil, fmt.Errorf("%q in the metadata: %w", name, ErrFormat)
		}
	}
	tensors := make([]nn.Tensor, len(f.Tensors))
	for i, t := range f.Tensors {
		tensors[i] = nn.Tensor{Name: t.Name, Shape: t.Shape, Data: make([]float32, t.Elements())}
		if err := f.Read(tensors[i].Data, t, 0); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", err, ErrFormat)
		}
	}
	if want, ok := f.Metadata[digestEntry]; ok {
		delete(f.Metadata, digestEntry)
		got, err := digest(f.Metadata, tensors)
		if err != nil {
			return nil, nil, err
		}
		if got != want {
			return nil, nil, fmt.Errorf("the checksum is not that of the contents: %w", ErrFormat)
		}
	}
	return f.Metadata, tensors, nil
}

// unmarshal reads JSON, in which no field may be unknown.
func unmarshal(text string, v any) error {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.InputOffset() != int64(len(text)) {
		return errors.New("more than an object")
	}
	return nil
}

// matchTensors returns an error unless a file has the tensors that it should, of finite
// numbers.
func matchTensors(want, got []nn.Tensor) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d tensors, want %d: %w", len(got), len(want), ErrFormat)
	}
	for _, w := range want {
		i := slices.IndexFunc(got, func(g nn.Tensor) bool { return g.Name == w.Name })
		if i < 0 {
			return fmt.Errorf("no tensor %q: %w", w.Name, ErrFormat)
		}
		if !slices.Equal(got[i].Shape, w.Shape) {
			return fmt.Errorf("tensor %q is %v, want %v: %w", w.Name, got[i].Shape, w.Shape, ErrFormat)
		}
		if j := indexNotFinite(got[i].Data); j >= 0 {
			return fmt.Errorf("tensor %q has %v in place %d: %w: %w", w.Name, got[i].Data[j], j, contrastive.ErrNotFinite, ErrFormat)
		}
	}
	return nil
}

// maxParameter keeps all that a map computes finite: with fewer than 2³¹ elements between
// its layers, an element of its result is below 2³¹·(2¹⁶·2²⁰)·2²⁰.
const maxParameter = 1 << 20

// checkParameters returns an error if a parameter exceeds maxParameter.
func checkParameters(tensors []nn.Tensor) error {
	for _, t := range tensors {
		for i, v := range t.Data {
			if !(v >= -maxParameter && v <= maxParameter) {
				return fmt.Errorf("%s has %v in place %d, beyond ±2^20: %w", t.Name, v, i, contrastive.ErrParameter)
			}
		}
	}
	return nil
}

// fill copies to dst the tensors of the same names, which match.
func fill(dst, src []nn.Tensor) {
	for _, d := range dst {
		i := slices.IndexFunc(src, func(s nn.Tensor) bool { return s.Name == d.Name })
		copy(d.Data, src[i].Data)
	}
}
