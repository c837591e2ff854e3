package nn

import (
	"cmp"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/atomicfile"
	"github.com/contrastive-go/contrastive/internal/safetensors"
)

// A Checkpoint is all that a run needs to go on, by name, in one file:
//
//	checkpoint := nn.Checkpoint{"encoder": encoder, "optimizer": optimizer, "queue": queue, "step": &step}
//	err := checkpoint.Save("run.safetensors")
//	…
//	err = checkpoint.Load("run.safetensors") // into the same, made anew
//
// Its values are
//
//   - a [Module]: its parameters and buffers,
//   - an [Optimizer]: its state,
//   - a []float32, which is restored in place,
//   - an *int or *float64,
//   - a pointer that is an encoding.BinaryMarshaler and BinaryUnmarshaler, such as a
//     *[contrastive.Queue] or a *[math/rand/v2.PCG].
//
// The file is in the format of Hugging Face's safetensors, so that Python reads it:
// tensor 0.weight of a module that is called encoder is encoder.0.weight. Numbers are
// text in its metadata, what is binary are tensors of bytes.
type Checkpoint map[string]any

// What the metadata of a file hold besides the numbers.
const (
	versionKey  = "contrastive.checkpoint"
	checksumKey = "contrastive.crc64"

	checkpointVersion = "1"
)

// contents is what the values of a checkpoint are, in files or in memory.
type contents struct {
	numbers  map[string]string
	tensors  []Tensor
	binaries []binaryTensor
}

type binaryTensor struct {
	name string
	data []byte
}

// Save writes c to the named file, which it replaces in one step: whenever the program
// or the machine stops, the file is the old one or the new one, whole. It says more at
// [contrastive.Queue.Save].
//
// It returns an error that wraps [contrastive.ErrParameter] if a value is of another
// type, or two have one name, or an error of a BinaryMarshaler or the file system.
func (c Checkpoint) Save(path string) error {
	if err := c.save(path); err != nil {
		return fmt.Errorf("nn: Checkpoint.Save: %w", err)
	}
	return nil
}

func (c Checkpoint) save(path string) error {
	now, err := c.contents()
	if err != nil {
		return err
	}
	metadata := maps.Clone(now.numbers)
	metadata[versionKey] = checkpointVersion
	metadata[checksumKey] = now.checksum()
	return atomicfile.Write(path, func(w io.Writer) error { return now.write(w, metadata) })
}

func (now *contents) write(w io.Writer, metadata map[string]string) error {
	var header []safetensors.Tensor
	for _, t := range now.tensors {
		header = append(header, safetensors.Tensor{Name: t.Name, Shape: t.Shape})
	}
	for _, b := range now.binaries {
		header = append(header, safetensors.Tensor{Name: b.name, Type: safetensors.Uint8, Shape: []int{len(b.data)}})
	}
	f, err := safetensors.NewWriter(w, metadata, header)
	if err != nil {
		return err
	}
	for _, t := range now.tensors {
		if err := f.Write(t.Data); err != nil {
			return err
		}
	}
	for _, b := range now.binaries {
		if err := f.WriteBytes(b.data); err != nil {
			return err
		}
	}
	return f.Close()
}

// contents returns what the values are now. The order is that of names, whatever that of
// the map.
func (c Checkpoint) contents() (*contents, error) {
	now := &contents{numbers: map[string]string{}}
	for _, key := range slices.Sorted(maps.Keys(c)) {
		if key == "" || key == versionKey || key == checksumKey {
			return nil, fmt.Errorf("the name %q cannot be used: %w", key, contrastive.ErrParameter)
		}
		switch v := c[key].(type) {
		case Module:
			now.tensors = appendNamed(now.tensors, key, State(v))
		case Optimizer:
			now.tensors = appendNamed(now.tensors, key, v.State())
		case []float32:
			now.tensors = append(now.tensors, Tensor{key, []int{len(v)}, v})
		case *int:
			now.numbers[key] = strconv.Itoa(*v)
		case *float64:
			now.numbers[key] = strconv.FormatFloat(*v, 'g', -1, 64)
		case encoding.BinaryMarshaler:
			if _, ok := v.(encoding.BinaryUnmarshaler); !ok || reflect.TypeOf(v).Kind() != reflect.Pointer {
				return nil, fmt.Errorf("%s is a %T, which is no pointer that can be unmarshalled: %w", key, v, contrastive.ErrParameter)
			}
			data, err := v.MarshalBinary()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			now.binaries = append(now.binaries, binaryTensor{key, data})
		default:
			return nil, fmt.Errorf("%s is a %T: %w", key, v, contrastive.ErrParameter)
		}
	}
	return now, now.check()
}

// check returns an error if a name is there twice, or the data of a tensor have not its
// shape.
func (now *contents) check() error {
	seen := map[string]bool{}
	add := func(name string) error {
		if seen[name] {
			return fmt.Errorf("two tensors are called %s: %w", name, contrastive.ErrParameter)
		}
		seen[name] = true
		return nil
	}
	for _, t := range now.tensors {
		n := 1
		for _, d := range t.Shape {
			n *= d
		}
		if n != len(t.Data) {
			return fmt.Errorf("%s of shape %v has %d elements: %w", t.Name, t.Shape, len(t.Data), contrastive.ErrShape)
		}
		if err := add(t.Name); err != nil {
			return err
		}
	}
	for _, b := range now.binaries {
		if err := add(b.name); err != nil {
			return err
		}
	}
	return nil
}

// checksum returns the CRC-64, with the ECMA polynomial, of all names, shapes and
// values.
func (now *contents) checksum() string {
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	for _, key := range slices.Sorted(maps.Keys(now.numbers)) {
		fmt.Fprintf(sum, "%q=%q\n", key, now.numbers[key])
	}
	var buffer []byte
	for _, t := range now.tensors {
		fmt.Fprintf(sum, "%q %v\n", t.Name, t.Shape)
		for part := range slices.Chunk(t.Data, 1<<14) {
			buffer = buffer[:0]
			for _, v := range part {
				buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(v))
			}
			sum.Write(buffer)
		}
	}
	for _, b := range now.binaries {
		fmt.Fprintf(sum, "%q %d\n", b.name, len(b.data))
		sum.Write(b.data)
	}
	return strconv.FormatUint(sum.Sum64(), 16)
}

// Load sets the values of c to those that Save wrote to the named file. Names and shapes
// must be the same: a module has the same layers, an optimiser the same parameters.
//
// It returns an error of the file system, one that wraps [contrastive.ErrCorrupt] if the
// file is not what Save wrote, or one that wraps [contrastive.ErrShape] if it is of
// another checkpoint, and names what differs; those of Save; or that of a
// BinaryUnmarshaler. Then nothing has changed, since all of the file is read and checked
// first, in memory of its own.
func (c Checkpoint) Load(path string) error {
	if err := c.load(path); err != nil {
		return fmt.Errorf("nn: Checkpoint.Load: %w", err)
	}
	return nil
}

// Resume is Load if the named file exists, and reports whether it does: a program that
// begins with it goes on where it has stopped. After an error nothing has changed.
func (c Checkpoint) Resume(path string) (bool, error) {
	switch err := c.load(path); {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("nn: Checkpoint.Resume: %w", err)
	}
	return true, nil
}

func (c Checkpoint) load(path string) error {
	now, err := c.contents()
	if err != nil {
		return err
	}
	read, err := readContents(path, now)
	if err != nil {
		return err
	}
	numbers := map[string]float64{}
	for key, text := range read.numbers {
		if err := c.parseNumber(numbers, key, text); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	for _, b := range read.binaries {
		if err := tryUnmarshal(c[b.name], b.data); err != nil {
			return fmt.Errorf("%s: %s: %w", path, b.name, err)
		}
	}

	for i, t := range read.tensors {
		copy(now.tensors[i].Data, t.Data)
	}
	for key, v := range c {
		switch v := v.(type) {
		case *int:
			*v, _ = strconv.Atoi(read.numbers[key])
		case *float64:
			*v = numbers[key]
		}
	}
	for _, b := range read.binaries {
		if err := c[b.name].(encoding.BinaryUnmarshaler).UnmarshalBinary(b.data); err != nil {
			return fmt.Errorf("%s: %s: %w", path, b.name, err)
		}
	}
	return nil
}

func (c Checkpoint) parseNumber(numbers map[string]float64, key, text string) (err error) {
	if _, ok := c[key].(*int); ok {
		_, err = strconv.Atoi(text)
	} else {
		numbers[key], err = strconv.ParseFloat(text, 64)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", key, err, contrastive.ErrShape)
	}
	return nil
}

// tryUnmarshal unmarshals data into another value of v's type.
func tryUnmarshal(v any, data []byte) error {
	other := reflect.New(reflect.TypeOf(v).Elem()).Interface()
	if err := other.(encoding.BinaryUnmarshaler).UnmarshalBinary(data); err != nil {
		return err
	}
	was, ok := v.(*contrastive.Queue)
	if is, _ := other.(*contrastive.Queue); ok && (is.Cap() != was.Cap() || is.Dim() != was.Dim()) {
		return fmt.Errorf("a queue of %d keys of %d dimensions, want %d of %d: %w", is.Cap(), is.Dim(), was.Cap(), was.Dim(), contrastive.ErrShape)
	}
	return nil
}

// readContents reads a file that has what want has, by name and shape.
func readContents(path string, want *contents) (*contents, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	f, err := safetensors.Open(file, info.Size())
	if errors.Is(err, safetensors.ErrFormat) {
		err = fmt.Errorf("%w: %w", err, contrastive.ErrCorrupt)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	read, err := want.read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return read, nil
}

func (want *contents) read(f *safetensors.File) (*contents, error) {
	if v := f.Metadata[versionKey]; v != checkpointVersion {
		return nil, fmt.Errorf("%s is %q in its metadata, not %q: %w", versionKey, v, checkpointVersion, contrastive.ErrCorrupt)
	}
	read := &contents{numbers: maps.Clone(f.Metadata)}
	delete(read.numbers, versionKey)
	delete(read.numbers, checksumKey)
	if err := sameNames("number", want.numbers, read.numbers); err != nil {
		return nil, err
	}
	expected, found := map[string]string{}, map[string]string{}
	for _, t := range want.tensors {
		expected[t.Name] = fmt.Sprint(safetensors.Float32, shape(t.Shape))
	}
	for _, b := range want.binaries {
		expected[b.name] = string(safetensors.Uint8)
	}
	for _, t := range f.Tensors {
		found[t.Name] = fmt.Sprint(t.Type, t.Shape)
		if t.Type == safetensors.Uint8 && len(t.Shape) == 1 {
			found[t.Name] = string(safetensors.Uint8)
		}
	}
	if err := sameNames("tensor", expected, found); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(expected)) {
		if expected[name] != found[name] {
			return nil, fmt.Errorf("tensor %s is %s, want %s: %w", name, found[name], expected[name], contrastive.ErrShape)
		}
	}
	for _, t := range want.tensors {
		in, _ := f.Tensor(t.Name)
		t.Data = make([]float32, len(t.Data))
		if err := f.Read(t.Data, in, 0); err != nil {
			return nil, err
		}
		read.tensors = append(read.tensors, t)
	}
	for _, b := range want.binaries {
		in, _ := f.Tensor(b.name)
		data, err := f.Bytes(in)
		if err != nil {
			return nil, err
		}
		read.binaries = append(read.binaries, binaryTensor{b.name, data})
	}
	if got := read.checksum(); got != f.Metadata[checksumKey] {
		return nil, fmt.Errorf("the checksum is %s, the data's %s: %w", cmp.Or(f.Metadata[checksumKey], "missing"), got, contrastive.ErrCorrupt)
	}
	return read, nil
}

// shape is s, which is not nil, as it is in files.
func shape(s []int) []int { return append([]int{}, s...) }

// sameNames returns an error that names one that only one of two maps has.
func sameNames(what string, want, got map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[name]; !ok {
			return fmt.Errorf("it has no %s %s: %w", what, name, contrastive.ErrShape)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			return fmt.Errorf("it has a %s %s, and the checkpoint has not: %w", what, name, contrastive.ErrShape)
		}
	}
	return nil
}
