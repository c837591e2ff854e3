package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
)

// file returns a file with the given header and data.
func file(header, data string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+data...)
}

func open(b []byte) (*File, error) { return Open(bytes.NewReader(b), int64(len(b))) }

// all returns the elements of the tensors of f that can be decoded.
func all(t *testing.T, f *File) map[string][]float32 {
	t.Helper()
	values := map[string][]float32{}
	for _, tensor := range f.Tensors {
		if !tensor.Type.Decodes() {
			continue
		}
		v := make([]float32, tensor.Elements())
		if err := f.Read(v, tensor, 0); err != nil {
			t.Fatal(err)
		}
		values[tensor.Name] = v
	}
	return values
}

// TestRead reads a file that was written by hand, by the description of the format.
func TestRead(t *testing.T) {
	header := `{"b":{"shape":[3],"dtype":"BF16","data_offsets":[16,22]},` +
		`"__metadata__":{"by":"hand \u00e9"},` +
		`"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},` +
		`"none":{"dtype":"F32","shape":[0,7],"data_offsets":[22,22]},` +
		`"h":{"dtype":"F16","shape":[2],"data_offsets":[22,26]},` +
		`"scalar":{"dtype":"F64","shape":[],"data_offsets":[26,34]},` +
		`"i":{"dtype":"I64","shape":[1],"data_offsets":[34,42]}}  `
	data := "\x00\x00\x80\x3f" + "\x00\x00\x00\xc0" + "\x00\x00\x00\x3f" + "\x00\x00\x80\x7f" + // 1, -2, 0.5, +Inf
		"\x80\x3f" + "\x00\xc0" + "\x80\xff" + // 1, -2, -Inf
		"\x00\x3c" + "\x00\xc1" + // 1, -2.5
		"\x00\x00\x00\x00\x00\x00\xf8\x3f" + // 1.5
		"\x07\x00\x00\x00\x00\x00\x00\x00"
	f, err := open(file(header, data))
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"by": "hand é"}; !reflect.DeepEqual(f.Metadata, want) {
		t.Errorf("metadata %q, want %q", f.Metadata, want)
	}
	var names []string
	for _, tensor := range f.Tensors {
		names = append(names, fmt.Sprint(tensor.Name, tensor.Shape))
	}
	if want := "a[2 2] b[3] none[0 7] h[2] scalar[] i[1]"; strings.Join(names, " ") != want {
		t.Errorf("tensors %q, want %q", names, want)
	}
	inf := float32(math.Inf(1))
	want := map[string][]float32{"a": {1, -2, 0.5, inf}, "b": {1, -2, -inf}, "none": {}, "h": {1, -2.5}, "scalar": {1.5}}
	if got := all(t, f); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	a, _ := f.Tensor("a")
	part := make([]float32, 2)
	if err := f.Read(part, a, 1); err != nil || part[0] != -2 || part[1] != 0.5 {
		t.Errorf("elements 1 and 2 are %v, %v", part, err)
	}
	i, _ := f.Tensor("i")
	if err := f.Read(part[:1], i, 0); err == nil || !strings.Contains(err.Error(), "I64") {
		t.Errorf("integers: %v", err)
	}
	if _, ok := f.Tensor("c"); ok {
		t.Error("found a tensor that is not there")
	}
}

// TestFloat16 compares all finite values with what their fields say.
func TestFloat16(t *testing.T) {
	for h := range 1 << 16 {
		exponent, fraction := h>>10&0x1F, float64(h&0x3FF)
		want := math.Ldexp(1024+fraction, exponent-25)
		switch exponent {
		case 0:
			want = math.Ldexp(fraction, -24)
		case 31:
			want = math.Inf(1)
			if fraction > 0 {
				want = math.NaN()
			}
		}
		if h>>15 == 1 {
			want = -want
		}
		got := float64(float16(uint16(h)))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) || math.Signbit(got) != (h>>15 == 1) {
			t.Fatalf("%#04x is %v, want %v", h, got, want)
		}
	}
}

// TestWrite compares with a file that was written by hand.
func TestWrite(t *testing.T) {
	var b bytes.Buffer
	w, err := NewWriter(&b, map[string]string{"k": "v"}, []Tensor{{Name: "x", Shape: []int{1, 2}}, {Name: "y", Shape: []int{}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range [][]float32{{1}, {-2, 0.5}} {
		if err := w.Write(v); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want := file(`{"__metadata__":{"k":"v"},"x":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[],"data_offsets":[8,12]}}  `,
		"\x00\x00\x80\x3f\x00\x00\x00\xc0\x00\x00\x00\x3f")
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%q\nwant %q", b.Bytes(), want)
	}
	if err := w.Write([]float32{1}); err == nil {
		t.Error("an element too many was written")
	}
}

func TestRoundTrip(t *testing.T) {
	const n = 3*chunk/4 + 17 // more than is converted at a time
	values := make([]float32, 2*n)
	for i := range values {
		values[i] = float32(i) - 1000.25
	}
	var b bytes.Buffer
	w, err := NewWriter(&b, nil, []Tensor{{Name: "first", Shape: []int{n}}, {Name: "second \"ü", Shape: []int{1, n}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(values); err != nil {
		t.Fatal(err)
	}
	f, err := open(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if f.Metadata != nil {
		t.Errorf("metadata %v", f.Metadata)
	}
	if f.data%8 != 0 {
		t.Errorf("the data begin at %d", f.data)
	}
	want := map[string][]float32{"first": values[:n], "second \"ü": values[n:]}
	if !reflect.DeepEqual(all(t, f), want) {
		t.Error("other elements")
	}
}

func TestBadWriter(t *testing.T) {
	var b bytes.Buffer
	for _, c := range []struct {
		tensors []Tensor
		want    string
	}{
		{[]Tensor{{Name: "a", Shape: []int{1}}, {Name: "a", Shape: []int{1}}}, `"a" is there twice`},
		{[]Tensor{{Name: "__metadata__"}}, "has another use"},
		{[]Tensor{{Name: "a", Shape: []int{-1}}}, "shape [-1]"},
		{[]Tensor{{Name: "a", Shape: []int{math.MaxInt, 3}}}, "has the shape"},
	} {
		if _, err := NewWriter(&b, nil, c.tensors); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80v: %.200v, want %q", c.tensors, err, c.want)
		}
	}
	if b.Len() > 0 {
		t.Errorf("%q was written", b.Bytes())
	}
	w, err := NewWriter(&b, nil, []Tensor{{Name: "a", Shape: []int{2}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write([]float32{1}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err == nil || !strings.Contains(err.Error(), "4 bytes less") {
		t.Errorf("too few elements: %v", err)
	}
	broken := errors.New("broken")
	if _, err := NewWriter(failing{broken}, nil, nil); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error)         { return 0, f.err }
func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestDamaged(t *testing.T) {
	tensor := func(fields string) string { return `{"a":{` + fields + `}}` }
	for _, c := range []struct {
		header, data, want string
	}{
		{``, ``, "not an object"},
		{`[]`, ``, "not an object"},
		{`{} {}`, ``, "more than an object"},
		{`{}`, `x`, "1 bytes of data"},
		{"{}\n", ``, "not an object"},
		{`{"a":1}`, ``, `tensor "a": not an object`},
		{`{"a":{},"a":{}}`, ``, `"a" is there twice`},
		{`{"__metadata__":{"a":"b","a":"c"}}`, ``, `__metadata__: "a" is there twice`},
		{`{"__metadata__":{"a":1}}`, ``, `__metadata__: "a": json`},
		{`{"__metadata__":{"a":null}}`, ``, `"a" is null`},
		{`{"__metadata__":null}`, ``, "not an object"},
		{tensor(``), ``, "not dtype, shape"},
		{tensor(`"dtype":"F32","dtype":"F32","shape":[0],"data_offsets":[0,0]`), ``, `"dtype" is there twice`},
		{tensor(`"Dtype":"F32","shape":[0],"data_offsets":[0,0]`), ``, `"Dtype": unknown field`},
		{tensor(`"dtype":"F33","shape":[0],"data_offsets":[0,0]`), ``, `unknown dtype "F33"`},
		{tensor(`"dtype":"F32","shape":null,"data_offsets":[0,0]`), ``, "not dtype, shape"},
		{tensor(`"dtype":"F32","shape":[1.5],"data_offsets":[0,4]`), `abcd`, `"shape": json`},
		{tensor(`"dtype":"F32","shape":[1],"data_offsets":[0,5]`), `abcde`, "shape [1] of F32"},
		{tensor(`"dtype":"F32","shape":[1],"data_offsets":[0]`), `abcd`, "data_offsets are [0]"},
		{tensor(`"dtype":"F32","shape":[1],"data_offsets":[4,0]`), `abcd`, "data_offsets are [4 0]"},
		{tensor(`"dtype":"F32","shape":[1],"data_offsets":[-4,0]`), `abcd`, "data_offsets are [-4 0]"},
		{tensor(`"dtype":"F32","shape":[-1,-1],"data_offsets":[0,4]`), `abcd`, "shape [-1 -1]"},
		{tensor(`"dtype":"F32","shape":[0,-1],"data_offsets":[0,0]`), ``, "shape [0 -1]"},
		{tensor(`"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]`), `abcd`, "shape [4294967296"},
		{tensor(`"dtype":"F32","shape":[1],"data_offsets":[4,8]`), `abcdefgh`, "begins at 4"},
		{tensor(`"dtype":"F32","shape":[1],"data_offsets":[0,4]`), `abc`, "tensors of 4 bytes, and 3 bytes"},
		{`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, `abc`, `"b" begins at 1`},
	} {
		_, err := open(file(c.header, c.data))
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.header, err, c.want)
		}
	}
	for _, b := range [][]byte{nil, []byte("1234567"), file(`{}`, ``)[:9], append([]byte("\xff\xff\xff\xff\xff\xff\xff\xff"), "{}"...)} {
		if _, err := open(b); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", b, err)
		}
	}
	broken := errors.New("broken")
	if _, err := Open(failing{broken}, 10); !errors.Is(err, broken) || errors.Is(err, ErrFormat) {
		t.Errorf("a file that cannot be read: %v", err)
	}
	// The file has become shorter.
	b := file(tensor(`"dtype":"F32","shape":[2],"data_offsets":[0,8]`), `abcdefgh`)
	f, err := Open(bytes.NewReader(b[:len(b)-1]), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Read(make([]float32, 2), f.Tensors[0], 0); err != io.ErrUnexpectedEOF {
		t.Errorf("a shorter file: %v", err)
	}
}

// FuzzOpen reads what it can of any file, and writes it again.
func FuzzOpen(f *testing.F) {
	f.Add(file(`{}`, ``))
	f.Add(file(`{"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}} `, `abcdefgh`))
	f.Add(file(`{"a":{"dtype":"F16","shape":[],"data_offsets":[4,6]},"b":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}`, `abcdef`))
	f.Add(file(`{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"b":{"dtype":"I8","shape":[0,9],"data_offsets":[8,8]}}`, `abcdefgh`))
	f.Fuzz(func(t *testing.T, b []byte) {
		first, err := open(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		var out bytes.Buffer
		var kept []Tensor
		values := all(t, first)
		for _, tensor := range first.Tensors {
			if _, ok := values[tensor.Name]; ok {
				kept = append(kept, tensor)
			}
		}
		w, err := NewWriter(&out, first.Metadata, kept)
		if err != nil {
			t.Fatal(err)
		}
		for _, tensor := range kept {
			if err := w.Write(values[tensor.Name]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		second, err := open(out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if len(first.Metadata) != len(second.Metadata) || len(first.Metadata) > 0 && !reflect.DeepEqual(first.Metadata, second.Metadata) {
			t.Errorf("metadata %q, want %q", second.Metadata, first.Metadata)
		}
		for _, tensor := range kept {
			again, ok := second.Tensor(tensor.Name)
			if !ok || !reflect.DeepEqual(again.Shape, tensor.Shape) {
				t.Fatalf("%q has become %v", tensor.Name, again)
			}
			v := make([]float32, again.Elements())
			if err := second.Read(v, again, 0); err != nil {
				t.Fatal(err)
			}
			for i, x := range values[tensor.Name] {
				if math.Float32bits(v[i]) != math.Float32bits(x) && x == x {
					t.Fatalf("%q element %d is %v, want %v", tensor.Name, i, v[i], x)
				}
			}
		}
	})
}
