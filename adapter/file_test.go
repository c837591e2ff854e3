package adapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive/internal/safetensors"
	"github.com/contrastive-go/contrastive/nn"
)

func bytesOf(t testing.TB, a *Adapter) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := a.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("%d of %d bytes, %v", n, b.Len(), err)
	}
	return b.Bytes()
}

func TestSaveLoad(t *testing.T) {
	forms(t, func(t *testing.T, c Config) {
		a := newAdapter(c.Kind, c.Sides, 5, c.width(), 1)
		randomize(a, 9)
		a.Training = Training{Loss: `contrastive.CLIP{"Temperature":0.07}`, Pairs: 7, NDCG: 0.1, Temperature: 0.05}
		path := filepath.Join(t.TempDir(), "a.safetensors")
		if err := a.Save(path); err != nil {
			t.Fatal(err)
		}
		b, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if b.Kind != a.Kind || b.Sides != a.Sides || b.Dim() != 5 {
			t.Errorf("%v %v of %d dimensions", b.Kind, b.Sides, b.Dim())
		}
		sameBits(t, "loaded", b, a)
		if !bytes.Equal(bytesOf(t, a), bytesOf(t, b)) {
			t.Error("written again it is another file")
		}
	})
}

// TestFile holds the names, shapes and metadata that other programs read.
func TestFile(t *testing.T) {
	a := newAdapter(LowRank, Both, 4, 2, 1)
	b := bytesOf(t, a)
	f, err := safetensors.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	want := `query.down [4,2], query.up [2,4], query.bias [4], document.down [4,2], document.up [2,4], document.bias [4]`
	var got []string
	for _, tensor := range f.Tensors {
		shape, err := json.Marshal(tensor.Shape)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, tensor.Name+" "+string(shape))
	}
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("%s\nwant %s", s, want)
	}
	config := `{"version":1,"kind":"low-rank","sides":"both","dim":4,"width":2,"training":{`
	if s := f.Metadata["contrastive.adapter"]; !strings.HasPrefix(s, config) {
		t.Errorf("%s\nwant %s…", s, config)
	}
}

// TestEveryBit damages a file in each of its bits, and cuts it at each byte.
func TestEveryBit(t *testing.T) {
	a := newAdapter(LowRank, Queries, 3, 1, 1)
	randomize(a, 2)
	a.Training.Loss = "contrastive.CLIP"
	good := bytesOf(t, a)
	for n := range len(good) {
		for bit := range 8 {
			b := bytes.Clone(good)
			b[n] ^= 1 << bit
			if _, err := Read(bytes.NewReader(b)); !errors.Is(err, ErrFormat) {
				t.Fatalf("byte %d (%q), bit %d: %v", n, good[n], bit, err)
			}
		}
		if _, err := Read(bytes.NewReader(good[:n])); !errors.Is(err, ErrFormat) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	if _, err := Read(bytes.NewReader(append(bytes.Clone(good), 0))); !errors.Is(err, ErrFormat) {
		t.Errorf("a byte more: %v", err)
	}
}

// TestForeign reads files as other programs write them: without a checksum.
func TestForeign(t *testing.T) {
	config := func(s string) map[string]string { return map[string]string{configEntry: s, "format": "pt"} }
	const linear = `{"version":1,"kind":"linear","sides":"queries","dim":2,"training":{}}`
	tensor := func(name string, data []float32, shape ...int) nn.Tensor {
		return nn.Tensor{Name: name, Shape: shape, Data: data}
	}
	weight, bias := tensor("query.weight", []float32{0, 1, 0, 0}, 2, 2), tensor("query.bias", []float32{0, -1}, 2)
	write := func(metadata map[string]string, tensors ...nn.Tensor) []byte {
		var b bytes.Buffer
		if err := writeTensors(&b, metadata, tensors); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	a, err := Read(bytes.NewReader(write(config(linear), bias, weight)))
	if err != nil {
		t.Fatal(err)
	}
	y := make([]float32, 2)
	if err := a.Query.Apply(y, []float32{4, 3}); err != nil {
		t.Fatal(err)
	}
	// (0.8, 0.6) + (0, 0.8) + (0, −1) = (0.8, 0.4), of length √0.8.
	if d0, d1 := y[0]-0.8944272, y[1]-0.4472136; d0*d0+d1*d1 > 1e-12 {
		t.Errorf("%v", y)
	}
	nan := tensor("query.bias", []float32{0, inf()}, 2)
	for _, c := range []struct {
		file []byte
		want string
	}{
		{write(nil, bias, weight), `no "contrastive.adapter" in the metadata`},
		{write(map[string]string{configEntry: linear, "note": "x"}, bias, weight), `"note" in the metadata`},
		{write(map[string]string{checkpointEntry: linear}, bias, weight), `no "contrastive.adapter"`},
		{write(config(linear), bias), `1 tensors, want 2`},
		{write(config(linear), bias, tensor("query.Weight", weight.Data, 2, 2)), `no tensor "query.weight"`},
		{write(config(linear), bias, tensor("query.weight", weight.Data, 4)), `tensor "query.weight" is [4], want [2 2]`},
		{write(config(linear), nan, weight), `tensor "query.bias" has +Inf in place 1`},
		{write(config(linear), tensor("query.bias", []float32{-1e7, 0}, 2), weight), `query.bias has -1e+07 in place 0, beyond`},
		{write(config(``), bias, weight), `contrastive.adapter: EOF`},
		{write(config(linear+" {}"), bias, weight), `more than an object`},
		{write(config(strings.Replace(linear, "dim", "Dims", 1)), bias, weight), `unknown field "Dims"`},
		{write(config(strings.Replace(linear, "1", "2", 1)), bias, weight), `version 2, this program reads 1`},
		{write(config(strings.Replace(linear, "linear", "lineal", 1)), bias, weight), `kind "lineal"`},
		{write(config(strings.Replace(linear, "queries", "query", 1)), bias, weight), `sides "query"`},
		{write(config(strings.Replace(linear, `"dim":2`, `"dim":0`, 1)), bias, weight), `dim 0`},
		{write(config(strings.Replace(linear, `"dim":2`, `"dim":2147483647`, 1)), bias, weight), `want [2147483647 2147483647]`},
		{write(config(strings.Replace(linear, `"dim":2`, `"dim":2,"width":3`, 1)), bias, weight), `dim 2, width 3`},
		{write(config(strings.Replace(linear, `linear`, `mlp`, 1)), bias, weight), `dim 2, width 0`},
		{[]byte("PK\x03\x04 and so on"), "not a safetensors file"},
		{nil, "0 bytes"},
	} {
		_, err := Read(bytes.NewReader(c.file))
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "adapter: Read: ") {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func inf() float32 {
	x := float32(1e38)
	return x * 10
}

func TestBadFiles(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "adapter: Load: ") {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte("12345678{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	a := newAdapter(Linear, Queries, 2, 0, 0)
	if err := a.Save(filepath.Join(t.TempDir(), "none", "a")); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "adapter: Save: ") {
		t.Error(err)
	}
	broken := errors.New("broken")
	if _, err := a.WriteTo(failing{broken}); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := Read(failing{broken}); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
func (f failing) Read([]byte) (int, error)  { return 0, f.err }

var _ io.WriterTo = (*Adapter)(nil)

// FuzzRead reads any file, and writes what it has read again.
func FuzzRead(f *testing.F) {
	for _, kind := range []Kind{Linear, LowRank, MLP} {
		a := newAdapter(kind, Sides(kind), 2, int(kind), 1)
		f.Add(bytesOf(f, a))
		var b bytes.Buffer
		config := `{"version":1,"kind":"` + kind.String() + `","sides":"shared","dim":2,"width":1,"training":{}}`
		if err := writeTensors(&b, map[string]string{configEntry: config}, newAdapter(kind, Shared, 2, 1, 1).tensors()); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Read(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		again, err := Read(bytes.NewReader(bytesOf(t, a)))
		if err != nil {
			t.Fatal(err)
		}
		sameBits(t, "again", again, a)
		x := make([]float32, a.Dim())
		x[0] = 1
		if err := a.Query.Apply(x, x); err != nil {
			t.Fatal(err)
		}
	})
}
