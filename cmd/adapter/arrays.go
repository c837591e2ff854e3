package main

import (
	"archive/zip"
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/contrastive-go/contrastive/internal/safetensors"
)

// numpyTypes are the element types that are read, by NumPy's names.
var numpyTypes = map[string]safetensors.Type{"<f2": safetensors.Float16, "<f4": safetensors.Float32, "<f8": safetensors.Float64}

// An npyReader reads the rows of a NumPy array of two dimensions.
type npyReader struct {
	name        string
	r           *bufio.Reader
	closers     []io.Closer
	typ         safetensors.Type
	count, cols int
	row         int
	buffer      []byte
}

func openNPY(path, array string) (vectorReader, error) {
	if array != "" {
		return nil, usageError{fmt.Errorf("%s: a .npy file is one array, and has no %q", path, array)}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := newNPYReader(f, path)
	if err == nil {
		r.closers = []io.Closer{f}
		if info, statErr := f.Stat(); statErr == nil && info.Mode().IsRegular() {
			position, _ := f.Seek(0, io.SeekCurrent)
			err = r.checkSize(info.Size() - position + int64(r.r.Buffered()))
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// openNPZ opens an array of a .npz file: the one that is named, or the only one.
func openNPZ(path, array string) (vectorReader, error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var names []string
	var entry *zip.File
	for _, f := range z.File {
		name := strings.TrimSuffix(f.Name, ".npy")
		names = append(names, name)
		if name == array || array == "" {
			entry = f
		}
	}
	if entry == nil || array == "" && len(names) > 1 {
		z.Close()
		return nil, usageError{chooseArray(path, array, names)}
	}
	name := path + "#" + strings.TrimSuffix(entry.Name, ".npy")
	data, err := entry.Open()
	if err != nil {
		z.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r, err := newNPYReader(data, name)
	if err == nil {
		err = r.checkSize(int64(entry.UncompressedSize64) - r.header())
	}
	if err != nil {
		data.Close()
		z.Close()
		return nil, err
	}
	r.closers = []io.Closer{data, z}
	return r, nil
}

// chooseArray is the error if it is not clear which array of a file is meant.
func chooseArray(path, array string, names []string) error {
	switch {
	case len(names) == 0:
		return fmt.Errorf("%s: has no arrays", path)
	case array == "":
		return fmt.Errorf("%s: has the arrays %s: name one, as in %s#%s", path, strings.Join(names, ", "), path, names[0])
	}
	return fmt.Errorf("%s: has no array %q, but %s", path, array, strings.Join(names, ", "))
}

var npyFields = map[string]*regexp.Regexp{
	"descr":         regexp.MustCompile(`'descr'\s*:\s*'([^']*)'`),
	"fortran_order": regexp.MustCompile(`'fortran_order'\s*:\s*(True|False)`),
	"shape":         regexp.MustCompile(`'shape'\s*:\s*\(([0-9, ]*)\)`),
}

// newNPYReader reads the header of an array: the format of NumPy's NEP 1.
func newNPYReader(in io.Reader, name string) (*npyReader, error) {
	r := &npyReader{name: name, r: bufio.NewReaderSize(in, 1<<16)}
	fields, err := r.readHeader()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	typ, ok := numpyTypes[fields["descr"]]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: field 'descr': elements are %q, and must be one of <f2, <f4 and <f8: save x.astype('<f4')", name, fields["descr"])
	case fields["fortran_order"] == "True":
		return nil, fmt.Errorf("%s: field 'fortran_order': True, rows do not follow each other: save numpy.ascontiguousarray(x)", name)
	}
	var shape []int
	for _, s := range strings.Split(fields["shape"], ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		d, err := strconv.Atoi(s)
		if err != nil {
			return nil, fmt.Errorf("%s: field 'shape': (%s)", name, fields["shape"])
		}
		shape = append(shape, d)
	}
	if len(shape) != 2 || shape[1] > math.MaxInt32 || shape[1] > 0 && shape[0] > math.MaxInt/8/shape[1] {
		return nil, fmt.Errorf("%s: field 'shape': (%s), and must be of rows and columns", name, fields["shape"])
	}
	r.typ, r.count, r.cols = typ, shape[0], shape[1]
	return r, nil
}

var errNPY = errors.New("not a .npy file")

func (r *npyReader) readHeader() (map[string]string, error) {
	start := make([]byte, 8)
	if _, err := io.ReadFull(r.r, start); err != nil || string(start[:6]) != "\x93NUMPY" {
		return nil, errNPY
	}
	lengthSize := 2
	if version := start[6]; version == 2 || version == 3 {
		lengthSize = 4
	} else if version != 1 {
		return nil, fmt.Errorf("version %d of the .npy format", version)
	}
	length := make([]byte, 4)
	if _, err := io.ReadFull(r.r, length[:lengthSize]); err != nil {
		return nil, errNPY
	}
	const most = 1 << 16
	n := binary.LittleEndian.Uint32(length)
	if n > most {
		return nil, fmt.Errorf("a header of %d bytes: %w", n, errNPY)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(r.r, header); err != nil {
		return nil, errNPY
	}
	r.row = -(8 + lengthSize + len(header)) // until the size is checked
	fields := map[string]string{}
	for name, pattern := range npyFields {
		m := pattern.FindSubmatch(header)
		if m == nil {
			return nil, fmt.Errorf("no field '%s' in the header: %w", name, errNPY)
		}
		fields[name] = string(m[1])
	}
	return fields, nil
}

// header returns the size of the header, before checkSize.
func (r *npyReader) header() int64 { return int64(-r.row) }

// checkSize returns an error unless the file has as many bytes of data as its shape says.
func (r *npyReader) checkSize(data int64) error {
	r.row = 0
	if want := int64(r.count) * int64(r.cols) * int64(r.typ.Size()); data != want {
		return fmt.Errorf("%s: %d bytes of data, %d×%d elements of %d bytes need %d", r.name, data, r.count, r.cols, r.typ.Size(), want)
	}
	return nil
}

func (r *npyReader) rows() int { return r.count }
func (r *npyReader) dim() int  { return r.cols }

func (r *npyReader) Close() error {
	var errs []error
	for _, c := range r.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func (r *npyReader) next(dst []float32) (string, error) {
	if r.row == r.count {
		return "", io.EOF
	}
	if r.buffer == nil {
		r.buffer = make([]byte, r.cols*r.typ.Size())
	}
	if _, err := io.ReadFull(r.r, r.buffer); err != nil {
		return "", fmt.Errorf("%s: row %d: %w", r.name, r.row, err)
	}
	r.typ.Decode(dst, r.buffer)
	if err := checkVector(dst); err != nil {
		return "", fmt.Errorf("%s: row %d: %w", r.name, r.row, err)
	}
	r.row++
	return strconv.Itoa(r.row - 1), nil
}

// A safetensorsReader reads the rows of a tensor of two dimensions.
type safetensorsReader struct {
	name   string
	file   *os.File
	header *safetensors.File
	tensor safetensors.Tensor
	row    int
	// Rows are read many at a time.
	buffer []float32
	first  int
}

// openSafetensors opens a tensor: the one that is named, or the only one of rows and
// columns.
func openSafetensors(path, array string) (vectorReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := newSafetensorsReader(f, path, array)
	if err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

func newSafetensorsReader(f *os.File, path, array string) (*safetensorsReader, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	header, err := safetensors.Open(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var names []string
	var found []safetensors.Tensor
	for _, t := range header.Tensors {
		names = append(names, t.Name)
		if array != "" && t.Name == array || array == "" && len(t.Shape) == 2 && t.Type.Decodes() {
			found = append(found, t)
		}
	}
	if len(found) != 1 {
		return nil, usageError{chooseArray(path, array, names)}
	}
	r := &safetensorsReader{name: path + "#" + found[0].Name, file: f, header: header, tensor: found[0]}
	switch {
	case len(r.tensor.Shape) != 2:
		return nil, fmt.Errorf("%s: field \"shape\": %v, and must be of rows and columns", r.name, r.tensor.Shape)
	case !r.tensor.Type.Decodes():
		return nil, fmt.Errorf("%s: field \"dtype\": %s, and must be one of F16, BF16, F32 and F64", r.name, r.tensor.Type)
	}
	return r, nil
}

func (r *safetensorsReader) rows() int    { return r.tensor.Shape[0] }
func (r *safetensorsReader) dim() int     { return r.tensor.Shape[1] }
func (r *safetensorsReader) Close() error { return r.file.Close() }

func (r *safetensorsReader) next(dst []float32) (string, error) {
	if r.row == r.rows() {
		return "", io.EOF
	}
	if r.row*r.dim() >= r.first+len(r.buffer) {
		r.first = r.row * r.dim()
		n := min(max(1<<15/max(r.dim(), 1), 1), r.rows()-r.row) * r.dim()
		if cap(r.buffer) < n {
			r.buffer = make([]float32, n)
		}
		r.buffer = r.buffer[:n]
		if err := r.header.Read(r.buffer, r.tensor, r.first); err != nil {
			return "", fmt.Errorf("%s: row %d: %w", r.name, r.row, err)
		}
	}
	copy(dst, r.buffer[r.row*r.dim()-r.first:])
	if err := checkVector(dst); err != nil {
		return "", fmt.Errorf("%s: row %d: %w", r.name, r.row, err)
	}
	r.row++
	return strconv.Itoa(r.row - 1), nil
}

// npyHeader returns the header of a float32 array.
func npyHeader(rows, cols int) []byte {
	dict := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, cols)
	const before, alignment = 10, 64
	padding := -(before + len(dict) + 1) & (alignment - 1)
	dict += strings.Repeat(" ", padding) + "\n"
	b := append([]byte("\x93NUMPY\x01\x00"), 0, 0)
	binary.LittleEndian.PutUint16(b[8:], uint16(len(dict)))
	return append(b, dict...)
}
