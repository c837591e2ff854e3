package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/contrastive-go/contrastive"
)

// A vectorReader reads the vectors of a file one after the other. Its errors name the
// file, the line or row, and the field.
type vectorReader interface {
	rows() int // -1 if that is not known before the end
	dim() int
	// next stores the next vector, and returns its id. The error is io.EOF at the end.
	next(dst []float32) (id string, err error)
	Close() error
}

// A vectorFormat is a file format of vectors.
type vectorFormat struct {
	extension string
	open      func(path, array string) (vectorReader, error)
}

var vectorFormats = []vectorFormat{
	{".jsonl", openJSONL}, {".ndjson", openJSONL}, {".npy", openNPY}, {".npz", openNPZ}, {".safetensors", openSafetensors},
}

// splitArray splits the name of an array in a file, after a #, from the path.
func splitArray(path string) (file, array string) {
	if i := strings.LastIndexByte(path, '#'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return path, ""
}

// openVectors opens a file of vectors by its extension. The name of an array in it may
// follow after a #.
func openVectors(path string) (vectorReader, error) {
	file, array := splitArray(path)
	extension := strings.ToLower(filepath.Ext(file))
	for _, f := range vectorFormats {
		if f.extension == extension {
			return f.open(file, array)
		}
	}
	return nil, usageError{fmt.Errorf("%s: vectors are in .jsonl, .npy, .npz or .safetensors files", file)}
}

// A vectorSet is all vectors of a file.
type vectorSet struct {
	path    string
	ids     []string // of rows
	row     map[string]int
	vectors contrastive.Matrix
}

// readVectors reads all vectors of a file into one matrix. Ids are those of the file, or
// else those in the lines of idFile, or else the numbers of rows.
func readVectors(path, idFile string) (*vectorSet, error) {
	r, err := openVectors(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	n, err := rowsOf(r, path)
	if err != nil {
		return nil, err
	}
	if n == 0 || r.dim() == 0 {
		return nil, fmt.Errorf("%s has no vectors", path)
	}
	s := &vectorSet{path: path, row: make(map[string]int, n), vectors: contrastive.NewMatrix(n, r.dim())}
	for i := range n {
		id, err := r.next(s.vectors.Row(i))
		if err == io.EOF {
			return nil, fmt.Errorf("%s: has changed while it was read", path)
		}
		if err != nil {
			return nil, err
		}
		s.ids = append(s.ids, id)
	}
	if idFile != "" {
		if s.ids, err = readLines(idFile); err != nil {
			return nil, err
		}
		if len(s.ids) != n {
			return nil, fmt.Errorf("%s: has %d lines, %s has %d vectors", idFile, len(s.ids), path, n)
		}
	}
	for i, id := range s.ids {
		if first, ok := s.row[id]; ok {
			if idFile != "" {
				return nil, fmt.Errorf("%s:%d: id %q is also in line %d", idFile, i+1, id, first+1)
			}
			return nil, fmt.Errorf("%s: vector %d: id %q is also that of vector %d", path, i+1, id, first+1)
		}
		s.row[id] = i
	}
	return s, nil
}

// rowsOf returns the number of vectors, for which a file of lines is read once more.
func rowsOf(r vectorReader, path string) (int, error) {
	if n := r.rows(); n >= 0 {
		return n, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n := 0
	err = eachLine(f, path, func(int, []byte) error {
		n++
		return nil
	})
	return n, err
}

// maxLine bounds the memory that a file which has no lines can take.
const maxLine = 64 << 20

// eachLine calls f for the lines that are not blank, with their numbers from 1.
func eachLine(r io.Reader, path string, f func(number int, line []byte) error) error {
	s := newLines(r, path)
	for {
		line, err := s.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(s.number, line); err != nil {
			return err
		}
	}
}

// lines reads the lines that are not blank.
type lines struct {
	scanner *bufio.Scanner
	path    string
	number  int
}

func newLines(r io.Reader, path string) *lines {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 1<<16), maxLine)
	return &lines{scanner: s, path: path}
}

func (l *lines) next() ([]byte, error) {
	for l.scanner.Scan() {
		l.number++
		line := l.scanner.Bytes()
		if l.number == 1 {
			line = trimByteOrderMark(line)
		}
		if len(strings.TrimSpace(string(line[:min(len(line), 64)]))) > 0 || len(strings.TrimSpace(string(line))) > 0 {
			return line, nil
		}
	}
	switch err := l.scanner.Err(); {
	case err == nil:
		return nil, io.EOF
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("%s:%d: a line of more than %d MiB", l.path, l.number+1, maxLine>>20)
	default:
		return nil, fmt.Errorf("%s:%d: %w", l.path, l.number+1, err)
	}
}

func trimByteOrderMark(line []byte) []byte {
	return []byte(strings.TrimPrefix(string(line), "\ufeff"))
}

func readLines(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []string
	err = eachLine(f, path, func(_ int, line []byte) error {
		all = append(all, strings.TrimSpace(string(line)))
		return nil
	})
	return all, err
}

// checkVector returns an error if an element is NaN or infinite.
func checkVector(x []float32) error {
	for i, v := range x {
		if v-v != 0 {
			return fmt.Errorf("element %d is %v", i, v)
		}
	}
	return nil
}
