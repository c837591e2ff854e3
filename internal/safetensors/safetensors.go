// Package safetensors reads and writes files of tensors in the format of Hugging
// Face's safetensors, version 0.7, of which it reads tensors of floating-point
// numbers and bytes, and writes those of float32 and bytes:
//
//	8 bytes       n, little-endian, at most 100,000,000
//	n bytes       JSON: {"name": {"dtype": …, "shape": […], "data_offsets": [begin, end]}, …}
//	the rest      elements, little-endian and row-major, without gaps
//
// The name "__metadata__" is that of an object of strings.
package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// ErrFormat is wrapped by the errors of files that are not in the format.
var ErrFormat = errors.New("not a safetensors file")

const (
	metadataName = "__metadata__"
	maxHeader    = 100_000_000 // as the reference implementation
)

// A Type is that of the elements of a tensor, by its name in files.
type Type string

const (
	Float64  Type = "F64"
	Float32  Type = "F32"
	Float16  Type = "F16"
	BFloat16 Type = "BF16"
)

// sizes has the bytes of an element of each type that files may have.
var sizes = map[Type]int{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, Float16: 2, BFloat16: 2,
	"I32": 4, "U32": 4, Float32: 4, "I64": 8, "U64": 8, Float64: 8,
}

// Size returns the bytes of an element, 0 for a type that is not known.
func (t Type) Size() int { return sizes[t] }

// Decode converts little-endian elements to float32. It panics unless src has as many
// as dst, and t is a type of floating-point numbers.
func (t Type) Decode(dst []float32, src []byte) {
	if len(src) != len(dst)*t.Size() {
		panic(fmt.Sprintf("safetensors: %d bytes for %d elements of %s", len(src), len(dst), t))
	}
	switch t {
	case Float64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
	case Float32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case Float16:
		for i := range dst {
			dst[i] = float16(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case BFloat16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
		}
	default:
		panic(fmt.Sprintf("safetensors: elements of %s are not floating-point numbers", t))
	}
}

// Decodes reports whether Decode takes elements of t.
func (t Type) Decodes() bool {
	return t == Float64 || t == Float32 || t == Float16 || t == BFloat16
}

// float16 returns the value of an IEEE 754 binary16.
func float16(h uint16) float32 {
	sign, exponent, fraction := uint32(h&0x8000)<<16, uint32(h>>10&0x1F), uint32(h&0x3FF)
	switch exponent {
	case 0: // zeros and subnormal numbers, in units of 2^-24
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)*0x1p-24))
	case 0x1F:
		return math.Float32frombits(sign | 0x7F800000 | fraction<<13)
	}
	const rebias = 127 - 15
	return math.Float32frombits(sign | (exponent+rebias)<<23 | fraction<<13)
}

// A Tensor is what a header tells of one.
type Tensor struct {
	Name  string
	Type  Type
	Shape []int

	begin int64 // in the data
}

// Elements returns the product of the shape.
func (t Tensor) Elements() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// bytes returns the size of the data of t, unless that or the number of elements
// overflows.
func (t Tensor) bytes() (int64, bool) {
	if slices.ContainsFunc(t.Shape, func(d int) bool { return d < 0 }) {
		return 0, false
	}
	if slices.Contains(t.Shape, 0) {
		return 0, true
	}
	n := uint64(t.Type.Size())
	for _, d := range t.Shape {
		high, low := bits.Mul64(n, uint64(d))
		if high > 0 || low > math.MaxInt {
			return 0, false
		}
		n = low
	}
	return int64(n), true
}

// A File is the header of a file, and reads its tensors.
type File struct {
	Metadata map[string]string // nil if there is none
	Tensors  []Tensor          // in the order of their data

	r    io.ReaderAt
	data int64 // where they begin
}

// Open reads the header of a file of the given size. Its error wraps ErrFormat unless
// it is that of r.
func Open(r io.ReaderAt, size int64) (*File, error) {
	var length [8]byte
	if size < int64(len(length)) {
		return nil, fmt.Errorf("%d bytes: %w", size, ErrFormat)
	}
	if _, err := r.ReadAt(length[:], 0); err != nil {
		return nil, unexpected(err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader || int64(n) > size-int64(len(length)) {
		return nil, fmt.Errorf("header of %d bytes in a file of %d: %w", n, size, ErrFormat)
	}
	header := make([]byte, n)
	if _, err := r.ReadAt(header, int64(len(length))); err != nil && (err != io.EOF || n > 0) {
		return nil, unexpected(err)
	}
	f := &File{r: r, data: int64(len(length)) + int64(n)}
	if err := f.parse(header, size-f.data); err != nil {
		return nil, fmt.Errorf("header: %w: %w", err, ErrFormat)
	}
	return f, nil
}

// unexpected is for errors of reads within the size of a file.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (f *File) parse(header []byte, data int64) error {
	// Duplicate names are as much an error as gaps are, and encoding/json drops them.
	fields, err := object(header)
	if err != nil {
		return err
	}
	end := make(map[string]int64, len(fields))
	for _, field := range fields {
		if field.name == metadataName {
			if f.Metadata, err = metadata(field.value); err != nil {
				return fmt.Errorf("%s: %w", metadataName, err)
			}
			continue
		}
		t := Tensor{Name: field.name}
		if end[t.Name], err = t.parse(field.value); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		f.Tensors = append(f.Tensors, t)
	}
	slices.SortStableFunc(f.Tensors, func(a, b Tensor) int {
		// An empty tensor comes before that which begins where it is.
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(end[a.Name], end[b.Name]))
	})
	next := int64(0)
	for _, t := range f.Tensors {
		if t.begin != next {
			return fmt.Errorf("tensor %q begins at %d, and what is before it ends at %d", t.Name, t.begin, next)
		}
		next = end[t.Name]
	}
	if next != data {
		return fmt.Errorf("tensors of %d bytes, and %d bytes of data", next, data)
	}
	return nil
}

// parse reads what the header tells of t, and returns where it ends.
func (t *Tensor) parse(text []byte) (end int64, err error) {
	fields, err := object(text)
	if err != nil {
		return 0, err
	}
	var offsets []int64
	for _, field := range fields {
		switch field.name {
		case "dtype":
			err = json.Unmarshal(field.value, &t.Type)
		case "shape":
			err = json.Unmarshal(field.value, &t.Shape)
		case "data_offsets":
			err = json.Unmarshal(field.value, &offsets)
		default:
			err = errors.New("unknown field")
		}
		if err != nil {
			return 0, fmt.Errorf("%q: %w", field.name, err)
		}
	}
	switch {
	case len(fields) != 3 || t.Shape == nil:
		return 0, errors.New("not dtype, shape and data_offsets")
	case t.Type.Size() == 0:
		return 0, fmt.Errorf("unknown dtype %q", t.Type)
	case len(offsets) != 2 || offsets[0] < 0 || offsets[1] < offsets[0]:
		return 0, fmt.Errorf("data_offsets are %v", offsets)
	}
	size, ok := t.bytes()
	if !ok || size != offsets[1]-offsets[0] {
		return 0, fmt.Errorf("shape %v of %s, and data_offsets are %v", t.Shape, t.Type, offsets)
	}
	t.begin = offsets[0]
	return offsets[1], nil
}

type field struct {
	name  string
	value json.RawMessage
}

// object returns the fields of a JSON object, which may only be followed by spaces.
func object(text []byte) (fields []field, err error) {
	text = bytes.TrimRight(text, " ")
	if len(text) == 0 || text[0] != '{' || text[len(text)-1] != '}' {
		return nil, errors.New("not an object")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		name := token.(string) // the decoder takes no other keys
		if seen[name] {
			return nil, fmt.Errorf("%q is there twice", name)
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		fields = append(fields, field{name, value})
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if d.InputOffset() != int64(len(text)) {
		return nil, errors.New("more than an object")
	}
	return fields, nil
}

func metadata(text []byte) (map[string]string, error) {
	fields, err := object(text)
	if err != nil {
		return nil, err
	}
	m := make(map[string]string, len(fields))
	for _, field := range fields {
		var value *string
		if err := json.Unmarshal(field.value, &value); err != nil {
			return nil, fmt.Errorf("%q: %w", field.name, err)
		}
		if value == nil {
			return nil, fmt.Errorf("%q is null", field.name)
		}
		m[field.name] = *value
	}
	return m, nil
}

// Tensor returns the tensor of a name.
func (f *File) Tensor(name string) (Tensor, bool) {
	i := slices.IndexFunc(f.Tensors, func(t Tensor) bool { return t.Name == name })
	if i < 0 {
		return Tensor{}, false
	}
	return f.Tensors[i], true
}

const chunk = 1 << 16 // bytes that are converted at a time

// Read converts elements of t to float32, len(dst) from the given one on. It panics
// if t has fewer.
func (f *File) Read(dst []float32, t Tensor, first int) error {
	if first < 0 || len(dst) > t.Elements()-first {
		panic(fmt.Sprintf("safetensors: elements %d to %d of %d", first, first+len(dst), t.Elements()))
	}
	if !t.Type.Decodes() {
		return fmt.Errorf("tensor %q has elements of %s, which are not floating-point numbers", t.Name, t.Type)
	}
	size := t.Type.Size()
	buffer := make([]byte, min(chunk, len(dst)*size))
	at := f.data + t.begin + int64(first)*int64(size)
	for len(dst) > 0 {
		n := min(len(dst), len(buffer)/size)
		part := buffer[:n*size]
		if read, err := f.r.ReadAt(part, at); read < len(part) {
			return unexpected(err)
		}
		t.Type.Decode(dst[:n], part)
		dst, at = dst[n:], at+int64(len(part))
	}
	return nil
}

// A Writer writes a file whose tensors are of float32, or of bytes.
type Writer struct {
	w      io.Writer
	left   int64 // bytes
	buffer []byte
}

// NewWriter writes the header of a file whose tensors have the names and shapes of
// those given, in this order. They are of float32 unless they are of Uint8. The header is
// padded so that elements are aligned.
func NewWriter(w io.Writer, metadata map[string]string, tensors []Tensor) (*Writer, error) {
	var header bytes.Buffer
	header.WriteByte('{')
	if len(metadata) > 0 {
		if err := writeField(&header, metadataName, metadata); err != nil {
			return nil, err
		}
	}
	begin, seen := int64(0), map[string]bool{metadataName: true}
	for _, t := range tensors {
		if t.Type != Uint8 {
			t.Type = Float32
		}
		size, ok := t.bytes()
		if !ok || begin > math.MaxInt64-size {
			return nil, fmt.Errorf("safetensors: tensor %q has the shape %v", t.Name, t.Shape)
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("safetensors: the name %q is there twice, or has another use", t.Name)
		}
		seen[t.Name] = true
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		err := writeField(&header, t.Name, struct {
			Type    Type     `json:"dtype"`
			Shape   []int    `json:"shape"`
			Offsets [2]int64 `json:"data_offsets"`
		}{t.Type, shape, [2]int64{begin, begin + size}})
		if err != nil {
			return nil, err
		}
		begin += size
	}
	header.WriteByte('}')
	const alignment = 8
	header.WriteString(strings.Repeat(" ", -header.Len()&(alignment-1)))
	if header.Len() > maxHeader {
		return nil, fmt.Errorf("safetensors: the header has %d bytes, at most %d are allowed", header.Len(), maxHeader)
	}
	length := binary.LittleEndian.AppendUint64(nil, uint64(header.Len()))
	if _, err := w.Write(append(length, header.Bytes()...)); err != nil {
		return nil, err
	}
	return &Writer{w: w, left: begin}, nil
}

func writeField(header *bytes.Buffer, name string, value any) error {
	key, err := json.Marshal(name)
	if err != nil {
		return err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if header.Len() > 1 {
		header.WriteByte(',')
	}
	header.Write(key)
	header.WriteByte(':')
	header.Write(text)
	return nil
}

// Write writes the next elements, of one tensor after the other.
func (w *Writer) Write(values []float32) error {
	size := int64(Float32.Size())
	if int64(len(values)) > w.left/size {
		return fmt.Errorf("safetensors: %d elements, and the header says %d", len(values), w.left/size)
	}
	w.left -= int64(len(values)) * size
	for part := range slices.Chunk(values, chunk/Float32.Size()) {
		w.buffer = w.buffer[:0]
		for _, v := range part {
			w.buffer = binary.LittleEndian.AppendUint32(w.buffer, math.Float32bits(v))
		}
		if _, err := w.w.Write(w.buffer); err != nil {
			return err
		}
	}
	return nil
}

// Close returns an error unless all elements have been written.
func (w *Writer) Close() error {
	if w.left > 0 {
		return fmt.Errorf("safetensors: %d bytes less than the header says", w.left)
	}
	return nil
}
