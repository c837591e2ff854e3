package data

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Open reads the images in a directory: those of MNIST and of sets in its format
// (train-images-idx3-ubyte, train-labels-idx1-ubyte, and t10k-… for the test set,
// each also with .gz), or those of CIFAR-10 in its binary version (data_batch_1.bin
// to data_batch_5.bin and test_batch.bin).
func Open(dir string) (train, test *Set, err error) {
	if _, err := os.Stat(filepath.Join(dir, cifarTest)); err == nil {
		return openCIFAR(dir)
	}
	train, err = openIDX(dir, "train")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s has neither MNIST's %s nor CIFAR-10's %s: %w", dir, idxImages("train"), cifarTest, err)
	}
	if err != nil {
		return nil, nil, err
	}
	test, err = openIDX(dir, "t10k")
	if err != nil {
		return nil, nil, err
	}
	if train.Width != test.Width || train.Height != test.Height {
		return nil, nil, fmt.Errorf("%s: training images are %d×%d, test images %d×%d", dir, train.Width, train.Height, test.Width, test.Height)
	}
	return train, test, nil
}

func idxImages(part string) string { return part + "-images-idx3-ubyte" }
func idxLabels(part string) string { return part + "-labels-idx1-ubyte" }

// openPlain opens a file, or the same with .gz.
func openPlain(name string) (io.ReadCloser, error) {
	f, err := os.Open(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	f, zipped := os.Open(name + ".gz")
	if zipped != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("%s.gz: %w", name, errors.Join(err, f.Close()))
	}
	return struct {
		io.Reader
		io.Closer
	}{z, f}, nil
}

// maxValues bounds what a header may ask for.
const maxValues = 1<<31 - 1

// readIDX reads a file of unsigned bytes: LeCun's format of magic number, sizes
// and values.
func readIDX(name string, dims int) (sizes []int, values []byte, err error) {
	f, err := openPlain(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	header := make([]uint32, 1+dims)
	if err := binary.Read(r, binary.BigEndian, header); err != nil {
		return nil, nil, fmt.Errorf("%s: header: %w", name, noEOF(err))
	}
	const unsignedBytes = 0x800
	if want := uint32(unsignedBytes + dims); header[0] != want {
		return nil, nil, fmt.Errorf("%s begins with %#08x, and an IDX file of bytes in %d dimensions with %#08x", name, header[0], dims, want)
	}
	total := 1
	for _, n := range header[1:] {
		if n == 0 || n > uint32(maxValues/total) {
			return nil, nil, fmt.Errorf("%s: sizes %d", name, header[1:])
		}
		sizes, total = append(sizes, int(n)), total*int(n)
	}
	values, err = io.ReadAll(io.LimitReader(r, int64(total)+1))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(values) < total {
		return nil, nil, fmt.Errorf("%s: %d values of %d: %w", name, len(values), total, io.ErrUnexpectedEOF)
	}
	if len(values) > total {
		return nil, nil, fmt.Errorf("%s goes on after its %d values", name, total)
	}
	return sizes, values, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func openIDX(dir, part string) (*Set, error) {
	images, labels := filepath.Join(dir, idxImages(part)), filepath.Join(dir, idxLabels(part))
	sizes, pixels, err := readIDX(images, 3)
	if err != nil {
		return nil, err
	}
	count, classes, err := readIDX(labels, 1)
	if err != nil {
		return nil, err
	}
	if count[0] != sizes[0] {
		return nil, fmt.Errorf("%s has %d images, %s has %d labels", images, sizes[0], labels, count[0])
	}
	s := &Set{Height: sizes[1], Width: sizes[2], Channels: 1, Classes: numbers(10)}
	for i, class := range classes {
		if err := s.add(class, pixels[i*s.Dim():(i+1)*s.Dim()]); err != nil {
			return nil, fmt.Errorf("%s: label %d: %w", labels, i, err)
		}
	}
	return s, nil
}

const cifarTest = "test_batch.bin"

var cifarClasses = []string{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"}

func openCIFAR(dir string) (train, test *Set, err error) {
	newSet := func() *Set { return &Set{Width: 32, Height: 32, Channels: 3, Classes: cifarClasses} }
	train, test = newSet(), newSet()
	for i := 1; i <= 5; i++ {
		if err := train.readCIFAR(filepath.Join(dir, fmt.Sprintf("data_batch_%d.bin", i))); err != nil {
			return nil, nil, err
		}
	}
	if err := test.readCIFAR(filepath.Join(dir, cifarTest)); err != nil {
		return nil, nil, err
	}
	return train, test, nil
}

// readCIFAR reads records of a label and 3·32·32 values.
func (s *Set) readCIFAR(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	record := 1 + s.Dim()
	if len(data) == 0 || len(data)%record != 0 {
		return fmt.Errorf("%s has %d bytes, which are not records of %d: %w", name, len(data), record, io.ErrUnexpectedEOF)
	}
	for i := 0; i < len(data); i += record {
		if err := s.add(data[i], data[i+1:i+record]); err != nil {
			return fmt.Errorf("%s: record %d: %w", name, i/record, err)
		}
	}
	return nil
}

func (s *Set) add(class byte, values []byte) error {
	if int(class) >= len(s.Classes) {
		return fmt.Errorf("class %d of %d", class, len(s.Classes))
	}
	pixels := make([]float32, len(values))
	for i, v := range values {
		pixels[i] = float32(v) / 255
	}
	s.Pixels, s.Labels = append(s.Pixels, pixels), append(s.Labels, int(class))
	return nil
}

func numbers(n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = strconv.Itoa(i)
	}
	return s
}
