package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"codeberg.org/sbinet/npyio/npy"
	"github.com/contrastive-go/contrastive/internal/safetensors"
	"gonum.org/v1/gonum/mat"
)

// write writes a file into a folder of the test, and returns its path.
func write(t *testing.T, name string, contents []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, contents, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// npyFile has the array as another program writes it.
func npyFile(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := npy.Write(&b, v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func safetensorsFile(t *testing.T, rows, cols int, values []float32) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := safetensors.NewWriter(&b, nil, []safetensors.Tensor{{Name: "v", Shape: []int{rows, cols}}})
	if err == nil {
		err = w.Write(values)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func npzFile(t *testing.T, arrays map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, contents := range arrays {
		w, err := z.Create(name + ".npy")
		if err == nil {
			_, err = w.Write(contents)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestReadVectors reads the same vectors from all formats.
func TestReadVectors(t *testing.T) {
	want := []float32{1, -2, 0.5, 3, 4, 1e-10}
	array := npyFile(t, mat.NewDense(2, 3, []float64{1, -2, 0.5, 3, 4, 1e-10}))
	float32Array := append(npyHeader(2, 3), bytes.Repeat([]byte{0}, 24)...)
	copy(float32Array[len(float32Array)-24:], safetensorsFile(t, 2, 3, want)[len(safetensorsFile(t, 2, 3, want))-24:])
	jsonl := "\ufeff{\"id\": \"a\", \"vector\": [1, -2, 0.5]}\n\n  \n{\"vector\":[3,4,1e-10],\"id\":7,\"text\":\"x\"}\n"
	for name, c := range map[string]struct {
		contents []byte
		array    string
		ids      []string
	}{
		"a.jsonl": {[]byte(jsonl), "", []string{"a", "7"}}, "b.ndjson": {[]byte(strings.ReplaceAll(jsonl, "vector", "embedding")), "", []string{"a", "7"}},
		"a.npy": {array, "", []string{"0", "1"}}, "b.NPY": {float32Array, "", []string{"0", "1"}},
		"a.npz":         {npzFile(t, map[string][]byte{"x": array}), "", []string{"0", "1"}},
		"b.npz":         {npzFile(t, map[string][]byte{"x": {}, "y": array}), "#y", []string{"0", "1"}},
		"a.safetensors": {safetensorsFile(t, 2, 3, want), "", []string{"0", "1"}}, "b.safetensors": {safetensorsFile(t, 2, 3, want), "#v", []string{"0", "1"}},
	} {
		s, err := readVectors(write(t, name, c.contents)+c.array, "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.vectors.Rows != 2 || s.vectors.Cols != 3 || !reflect.DeepEqual(s.vectors.Data, want) || !reflect.DeepEqual(s.ids, c.ids) || s.row[c.ids[1]] != 1 {
			t.Errorf("%s: %v %v", name, s.ids, s.vectors)
		}
	}
	s, err := readVectors(write(t, "a.npy", array), write(t, "ids.txt", []byte("x y \r\nz\n")))
	if err != nil || !reflect.DeepEqual(s.ids, []string{"x y", "z"}) {
		t.Errorf("%v, %v", s, err)
	}
}

// TestNPYHeader has another program read what is written here.
func TestNPYHeader(t *testing.T) {
	b := append(npyHeader(12, 34), make([]byte, 12*34*4)...)
	r, err := npy.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var v []float32
	if err := r.Read(&v); err != nil || len(v) != 12*34 || !reflect.DeepEqual(r.Header.Descr.Shape, []int{12, 34}) || r.Header.Descr.Fortran {
		t.Errorf("%+v, %d elements, %v", r.Header, len(v), err)
	}
	if len(npyHeader(12, 34))%64 != 0 {
		t.Error("the data are not aligned")
	}
}

func TestBadVectors(t *testing.T) {
	header := func(dict string) []byte {
		b := append([]byte("\x93NUMPY\x01\x00"), byte(len(dict)), 0)
		return append(b, dict...)
	}
	const f4 = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }"
	nan := safetensorsFile(t, 2, 2, []float32{1, 2, 3, float32(math.NaN())})
	for _, c := range []struct{ name, contents, array, want string }{
		{"a.jsonl", "", "", "a.jsonl has no vectors"},
		{"a.jsonl", "\n \n", "", "a.jsonl has no vectors"},
		{"a.jsonl", "[1, 2]", "", "a.jsonl:1: not an object"},
		{"a.jsonl", "null", "", "a.jsonl:1: not an object"},
		{"a.jsonl", "\n{\"id\":1,\"vector\":[1,2]", "", "a.jsonl:2: not JSON: unexpected end of JSON input, at byte 22"},
		{"a.jsonl", `{"id":1,"vec":[1,2]}`, "", `a.jsonl:1: no field "vector", "embedding" or "values"`},
		{"a.jsonl", `{"vector":[1,2]}`, "", `a.jsonl:1: no field "id", "_id"`},
		{"a.jsonl", `{"id":[1],"vector":[1,2]}`, "", `a.jsonl:1: field "id": neither a string nor a number`},
		{"a.jsonl", `{"id":1,"vector":"x"}`, "", `a.jsonl:1: field "vector": not an array of numbers`},
		{"a.jsonl", `{"id":1,"vector":[]}`, "", `a.jsonl:1: field "vector": an empty array`},
		{"a.jsonl", `{"id":1,"vector":[1,"2"]}`, "", `a.jsonl:1: field "vector": element 1 is "2" and no number`},
		{"a.jsonl", `{"id":1,"vector":[1,[2,3]]}`, "", `a.jsonl:1: field "vector": element 1 is [2 and no number`},
		{"a.jsonl", `{"id":1,"vector":[1,1e99]}`, "", `a.jsonl:1: field "vector": element 1 is 1e99, beyond float32`},
		{"a.jsonl", "{\"id\":1,\"vector\":[1,2]}\n{\"id\":2,\"vector\":[1,NaN]}", "", `a.jsonl:2: NaN, at byte 21`},
		{"a.jsonl", "{\"id\":1,\"vector\":[1,2]}\n{\"id\":2,\"vector\":[1]}", "", `a.jsonl:2: field "vector" has 1 elements, those before it have 2`},
		{"a.jsonl", "{\"id\":1,\"vector\":[1,2]}\n{\"id\":2,\"vector\":[1,2,3]}", "", `a.jsonl:2: field "vector" has 3 elements, those before it have 2`},
		{"a.jsonl", "{\"id\":1,\"vector\":[1]}\n{\"id\":\"1\",\"vector\":[2]}", "", `a.jsonl: vector 2: id "1" is also that of vector 1`},
		{"a.jsonl", "{}", "#x", `a file of JSON lines has no array "x"`},
		{"a.csv", "1,2", "", "a.csv: vectors are in .jsonl, .npy, .npz or .safetensors files"},
		{"a", "", "", "a: vectors are in"},
		{"a.npy", "", "", "a.npy: not a .npy file"},
		{"a.npy", "hello, world", "", "a.npy: not a .npy file"},
		{"a.npy", "\x93NUMPY\x09\x00\x01\x00", "", "a.npy: version 9"},
		{"a.npy", "\x93NUMPY\x02\x00\xff\xff\xff\xff", "", "a header of 4294967295 bytes"},
		{"a.npy", string(header(f4)[:20]), "", "a.npy: not a .npy file"},
		{"a.npy", string(header("{'descr': '<f4', 'shape': (1, 2), }")), "", "no field 'fortran_order'"},
		{"a.npy", string(header(strings.Replace(f4, "<f4", ">f4", 1))), "", "field 'descr': elements are \">f4\""},
		{"a.npy", string(header(strings.Replace(f4, "<f4", "|O", 1))), "", "field 'descr': elements are \"|O\""},
		{"a.npy", string(header(strings.Replace(f4, "False", "True", 1))), "", "field 'fortran_order'"},
		{"a.npy", string(header(strings.Replace(f4, "(1, 2)", "(2,)", 1))) + "12345678", "", "field 'shape': (2,)"},
		{"a.npy", string(header(strings.Replace(f4, "1, 2", "9999999999999, 9999999999", 1))), "", "field 'shape'"},
		{"a.npy", string(header(f4)) + "1234567", "", "a.npy: 7 bytes of data, 1×2 elements of 4 bytes need 8"},
		{"a.npy", string(header(f4)) + "123456789", "", "a.npy: 9 bytes of data"},
		{"a.npy", string(header(f4)) + "\x00\x00\x80\x3f\x00\x00\xc0\x7f", "", "a.npy: row 0: element 1 is NaN"},
		{"a.npy", string(header(f4)) + "12345678", "#x", `is one array, and has no "x"`},
		{"a.npz", "PK", "", "a.npz: zip: not a valid zip file"},
		{"a.npz", string(npzFile(t, nil)), "", "a.npz: has no arrays"},
		{"a.npz", string(npzFile(t, map[string][]byte{"x": {}})), "#y", `a.npz: has no array "y", but x`},
		{"a.npz", string(npzFile(t, map[string][]byte{"x": []byte("nonsense")})), "", "a.npz#x: not a .npy file"},
		{"a.npz", string(npzFile(t, map[string][]byte{"x": append(header(f4), 1, 2)})), "", "a.npz#x: 2 bytes of data"},
		{"a.npz", string(npzFile(t, map[string][]byte{"x": {}, "y": {}})), "", "name one, as in"},
		{"a.safetensors", "xx", "", "a.safetensors: 2 bytes: not a safetensors file"},
		{"a.safetensors", string(nan), "", "a.safetensors#v: row 1: element 1 is NaN"},
		{"a.safetensors", string(nan), "#w", `has no array "w", but v`},
	} {
		path := write(t, c.name, []byte(c.contents))
		_, err := readVectors(path+c.array, "")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := readVectors(filepath.Join(t.TempDir(), "none.npy"), ""); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	good := write(t, "a.npy", npyFile(t, mat.NewDense(2, 2, nil)))
	for ids, want := range map[string]string{"x\n": "has 1 lines", "x\nx\n": `:2: id "x" is also in line 1`} {
		if _, err := readVectors(good, write(t, "ids.txt", []byte(ids))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func someVectors(ids ...string) *vectorSet {
	s := &vectorSet{path: "set", ids: ids, row: map[string]int{}}
	for i, id := range ids {
		s.row[id] = i
	}
	return s
}

func TestRelevance(t *testing.T) {
	queries, documents := someVectors("q1", "q2", "3"), someVectors("a", "b", "c", "d 1")
	type lists = [][]int
	for _, c := range []struct {
		name, format, contents string
		keys, hard             lists
		grades                 [][]float32
		weights                []float32
	}{
		{"p.tsv", "auto", "q1\ta\nq2\td 1\r\nq1\tb\nq1\ta\n", lists{{0, 1}, {3}, nil}, lists{nil, nil, nil}, [][]float32{{1, 1}, {1}, nil}, nil},
		{"p.txt", "auto", "q1 a\nq2  b\n", lists{{0}, {1}, nil}, lists{nil, nil, nil}, [][]float32{{1}, {1}, nil}, nil},
		{"beir.tsv", "auto", "query-id\tcorpus-id\tscore\nq1\ta\t2\nq1\tb\t0\n", lists{{0, 1}, nil, nil}, lists{nil, nil, nil}, [][]float32{{2, 0}, nil, nil}, nil},
		{"qrels", "auto", "q1 0 a 2\nq1 0 b -2\n3 Q0 c 1\n", lists{{0, 1}, nil, {2}}, lists{nil, nil, nil}, [][]float32{{2, 0}, nil, {1}}, nil},
		{"t.tsv", "triplets", "q1\ta\tb\nq1\ta\tc\nq1\td 1\ta\n", lists{{0, 3}, nil, nil}, lists{{1, 2}, nil, nil}, [][]float32{{1, 1}, nil, nil}, nil},
		{"t.tsv", "auto", "negative\tanchor\tpositive\nb\tq1\ta\n", lists{{0}, nil, nil}, lists{{1}, nil, nil}, [][]float32{{1}, nil, nil}, nil},
		{"q.tsv", "qrels", "q1\ta\t0.5\nq1\ta\t3\n", lists{{0}, nil, nil}, lists{nil, nil, nil}, [][]float32{{3}, nil, nil}, nil},
		{"p.jsonl", "auto", `{"query":"q1","positive":["a","b"],"negatives":"c","weight":0.5}` + "\n" + `{"query":3,"document":"c","score":2}` + "\n", lists{{0, 1}, nil, {2}}, lists{{2}, nil, nil}, [][]float32{{1, 1}, nil, {2}}, []float32{0.5, 1, 1}},
	} {
		r, err := readRelevance(write(t, c.name, []byte(c.contents)), c.format, queries, documents)
		if err != nil {
			t.Errorf("%s: %v", c.contents, err)
			continue
		}
		same := func(a, b [][]int) bool {
			for i := range a {
				if len(a[i]) != len(b[i]) || len(a[i]) > 0 && !reflect.DeepEqual(a[i], b[i]) {
					return false
				}
			}
			return len(a) == len(b)
		}
		if !same(r.keys, c.keys) || !same(r.hard, c.hard) || !reflect.DeepEqual(r.grades, c.grades) || !reflect.DeepEqual(r.weights, c.weights) {
			t.Errorf("%s: %+v", c.contents, r)
		}
	}
	for _, c := range []struct{ name, format, contents, want string }{
		{"p.tsv", "auto", "", "p.tsv: has no pairs"},
		{"p.tsv", "auto", "query\tdocument\n", "p.tsv: has no pairs"},
		{"p.tsv", "auto", "q1\ta\n\nq9\ta\n", `p.tsv:3: query "q9" is not in set`},
		{"p.tsv", "auto", "q1\ta\nq1\tz\n", `p.tsv:2: document "z" is not in set`},
		{"p.tsv", "auto", "q1\ta\nq1\n", "p.tsv:2: 1 columns, want 2: query, positive"},
		{"p.tsv", "auto", "q1\t\n", "p.tsv:1: column 2 (positive) is empty"},
		{"p.tsv", "auto", "q1\ta\tb\n", "p.tsv:1: 3 columns without a header"},
		{"p.tsv", "auto", "q1\n", "p.tsv:1: 1 columns"},
		{"p.tsv", "qrels", "q1\ta\tb\n", "p.tsv:1: column 3 (grade): b is no number"},
		{"p.tsv", "qrels", "q1\ta\tNaN\n", "p.tsv:1: column 3 (grade): NaN is no number"},
		{"p.tsv", "trec", "q1 0 a\n", "p.tsv:1: 3 columns, want 4: query, iteration, positive, grade"},
		{"p.jsonl", "auto", `{"query":"q1"}`, `p.jsonl:1: no field "positive"`},
		{"p.jsonl", "auto", `{"positive":"a"}`, `p.jsonl:1: no field "query"`},
		{"p.jsonl", "auto", `{"query":{},"positive":"a"}`, `p.jsonl:1: field "query": neither`},
		{"p.jsonl", "auto", `{"query":"q1","positive":["a",{}]}`, `p.jsonl:1: field "positive": element 1: neither`},
		{"p.jsonl", "auto", `{"query":"q1","positive":"a","score":"x"}`, `p.jsonl:1: field "score"`},
		{"p.jsonl", "auto", `{"query":"q1","positive":"a","negative":"z"}`, `p.jsonl:1: document "z"`},
	} {
		_, err := readRelevance(write(t, c.name, []byte(c.contents)), c.format, queries, documents)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.contents, err, c.want)
		}
	}
	if _, err := identityRelevance(queries, documents); !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), "set has 3 vectors, set has 4") {
		t.Error(err)
	}
}

// FuzzNPY reads any file.
func FuzzNPY(f *testing.F) {
	f.Add(append(npyHeader(1, 2), 0, 0, 0, 0, 0, 0, 0, 0))
	f.Add([]byte("\x93NUMPY\x02\x00\x10\x00\x00\x00{'descr': '<f8'}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := newNPYReader(bytes.NewReader(b), "x")
		if err != nil {
			return
		}
		if err := r.checkSize(int64(len(b)) - r.header()); err != nil {
			return
		}
		if r.cols > 1<<16 {
			return
		}
		row := make([]float32, r.cols)
		for i := 0; ; i++ {
			if _, err := r.next(row); err != nil {
				if err == io.EOF && i != r.count {
					t.Errorf("%d rows of %d", i, r.count)
				}
				return
			}
			if i > 1000 {
				return
			}
		}
	})
}

// FuzzJSONL reads any lines.
func FuzzJSONL(f *testing.F) {
	f.Add([]byte("{\"id\":\"a\",\"vector\":[1,2]}\n{\"id\":2,\"vector\":[1e3,-0]}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := newJSONLReader(bytes.NewReader(b), "x")
		if err != nil || r.dim() == 0 {
			return
		}
		row := make([]float32, r.dim())
		for {
			if _, err := r.next(row); err != nil {
				return
			}
			if checkVector(row) != nil {
				t.Fatal("not finite")
			}
		}
	})
}
