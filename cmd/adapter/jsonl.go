package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The fields in which JSON lines may hold a vector and its id, in this order.
var (
	vectorFields = []string{"vector", "embedding", "values"}
	idFields     = []string{"id", "_id", "query_id", "doc_id", "document_id", "key"}
)

// A jsonlReader reads lines such as {"id": "a", "vector": [0.1, 0.2]}.
type jsonlReader struct {
	path  string
	lines *lines
	file  io.Closer
	first []byte // a line that has been looked at
	size  int
	line  []byte // the latest
}

func openJSONL(path, array string) (vectorReader, error) {
	if array != "" {
		return nil, usageError{fmt.Errorf("%s: a file of JSON lines has no array %q", path, array)}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := newJSONLReader(f, path)
	if err != nil {
		f.Close()
		return nil, err
	}
	r.file = f
	return r, nil
}

func newJSONLReader(in io.Reader, path string) (*jsonlReader, error) {
	r := &jsonlReader{path: path, lines: newLines(in, path)}
	line, err := r.lines.next()
	if err == io.EOF {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	r.first = bytes.Clone(line)
	_, vector, _, err := parseJSONLine(line, nil)
	if err != nil {
		return nil, r.wrap(err)
	}
	r.size = len(vector)
	return r, nil
}

func (r *jsonlReader) wrap(err error) error {
	return fmt.Errorf("%s:%d: %w", r.path, r.lines.number, err)
}

func (r *jsonlReader) rows() int { return -1 }
func (r *jsonlReader) dim() int  { return r.size }

func (r *jsonlReader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

func (r *jsonlReader) next(dst []float32) (id string, err error) {
	r.line = r.first
	r.first = nil
	if r.line == nil {
		if r.line, err = r.lines.next(); err != nil {
			return "", err
		}
	}
	id, vector, field, err := parseJSONLine(r.line, dst[:0:len(dst)])
	switch {
	case err != nil:
		return "", r.wrap(err)
	case len(vector) != len(dst):
		return "", r.wrap(fmt.Errorf("field %q has %d elements, those before it have %d", field, len(vector), len(dst)))
	}
	return id, nil
}

// parseJSONLine returns the id of a line, and its vector, in the memory of dst if that
// is enough.
func parseJSONLine(line []byte, dst []float32) (id string, vector []float32, field string, err error) {
	fields, err := decodeObject(line)
	if err != nil {
		return "", nil, "", err
	}
	i := slices.IndexFunc(vectorFields, func(f string) bool { return fields[f] != nil })
	if i < 0 {
		return "", nil, "", fmt.Errorf("no field %s", quoted(vectorFields))
	}
	field = vectorFields[i]
	if vector, err = parseVector(fields[field], dst); err != nil {
		return "", nil, "", fmt.Errorf("field %q: %w", field, err)
	}
	i = slices.IndexFunc(idFields, func(f string) bool { return fields[f] != nil })
	if i < 0 {
		return "", nil, "", fmt.Errorf("no field %s", quoted(idFields))
	}
	if id, err = parseID(fields[idFields[i]]); err != nil {
		return "", nil, "", fmt.Errorf("field %q: %w", idFields[i], err)
	}
	return id, vector, field, nil
}

func quoted(names []string) string {
	var b strings.Builder
	for i, n := range names {
		switch {
		case i > 0 && i == len(names)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(n))
	}
	return b.String()
}

// decodeObject returns the fields of an object.
func decodeObject(line []byte) (map[string]json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			// Python writes NaN and Infinity, which are not JSON: say so by name.
			for _, word := range []string{"NaN", "Infinity"} {
				if i := bytes.Index(line, []byte(word)); i >= 0 && int(syntax.Offset) >= i {
					return nil, fmt.Errorf("%s, at byte %d", word, i+1)
				}
			}
			return nil, fmt.Errorf("not JSON: %w, at byte %d", err, syntax.Offset)
		}
		return nil, errors.New("not an object")
	}
	if fields == nil {
		return nil, errors.New("not an object")
	}
	return fields, nil
}

// parseID returns a string, or a number as it is written.
func parseID(text json.RawMessage) (string, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	}
	return "", errors.New("neither a string nor a number")
}

// parseVector appends the numbers of a JSON array to dst.
func parseVector(text json.RawMessage, dst []float32) ([]float32, error) {
	if len(text) < 2 || text[0] != '[' {
		return nil, errors.New("not an array of numbers")
	}
	body := bytes.TrimSpace(text[1 : len(text)-1])
	if len(body) == 0 {
		return nil, errors.New("an empty array")
	}
	for i := 0; len(body) > 0; i++ {
		token := body
		if comma := bytes.IndexByte(body, ','); comma >= 0 {
			token, body = body[:comma], body[comma+1:]
		} else {
			body = nil
		}
		token = bytes.TrimSpace(token)
		v, err := strconv.ParseFloat(string(token), 32)
		if err != nil {
			if errors.Is(err, strconv.ErrRange) {
				return nil, fmt.Errorf("element %d is %s, beyond float32", i, token)
			}
			return nil, fmt.Errorf("element %d is %.40s and no number", i, token)
		}
		dst = append(dst, float32(v))
	}
	return dst, nil
}

// A jsonlWriter writes the lines that have been read with other vectors, or, of other
// formats, new lines.
type jsonlWriter struct{ w io.Writer }

func (j jsonlWriter) write(id string, vector []float32, line []byte) error {
	var b []byte
	if line != nil {
		fields, err := decodeObject(line)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(vectorFields, func(f string) bool { return fields[f] != nil })
		fields[vectorFields[i]] = appendVector(nil, vector)
		if b, err = json.Marshal(fields); err != nil {
			return err
		}
	} else {
		quotedID, err := json.Marshal(id)
		if err != nil {
			return err
		}
		b = append(append([]byte(`{"id":`), quotedID...), `,"vector":`...)
		b = append(appendVector(b, vector), '}')
	}
	_, err := j.w.Write(append(b, '\n'))
	return err
}

func appendVector(b []byte, vector []float32) []byte {
	b = append(b, '[')
	for i, v := range vector {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(v), 'g', -1, 32)
	}
	return append(b, ']')
}
