package main

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/contrastive-go/contrastive"
)

var testProvenance = Provenance{Release: "go1.99", Fingerprint: 42, HeldOut: TestSplit}

func savedModel(t *testing.T) (*Model, []byte) {
	t.Helper()
	e := NewEncoder(6, 16, 5, nil)
	r := rand.New(rand.NewPCG(1, 2))
	for _, row := range []int{0, 3, 15} {
		for j := range e.Embedding.Row(row) {
			e.Embedding.Row(row)[j] = r.Float32()
		}
	}
	for i := range e.Weight {
		e.Weight[i] = r.Float32()
	}
	e.Gain[3], e.LogScale = 0.25, 3.5
	e.Round()
	x := &Index{
		Library: Library{"/go", "go1.99\ntime x", "plan9/amd64"},
		Entries: []Entry{
			{"a/b.T.F", "b.T.F", "F does it.", "F does it.\n\nAnd more.", "Package b is here.", "a/b/f.go", 7, 2.5, 3, true},
			{Name: "c.G", Short: "c.G"},
		},
		keys: contrastive.NewMatrix(2, 6),
	}
	x.keys.Row(0)[2], x.keys.Row(0)[5] = 0.3, -0.9
	roundRows(x.keys)
	m := &Model{e, x, testProvenance, nil}
	var b bytes.Buffer
	if err := writeModel(&b, e, x, testProvenance); err != nil {
		t.Fatal(err)
	}
	return m, b.Bytes()
}

func TestStore(t *testing.T) {
	m, _ := savedModel(t)
	if err := checkRoundTrip(m); err != nil {
		t.Error(err)
	}
	m.Index.keys.Row(0)[2] *= 1.01
	if checkRoundTrip(m) == nil {
		t.Error("a row that was not rounded came back")
	}
}

// TestRoundRow checks the error of rounding, and that rounding again, and storing,
// change nothing.
func TestRoundRow(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for trial := range 200 {
		row := make([]float32, 1+r.IntN(9))
		for j := range row {
			row[j] = float32(r.NormFloat64() * math.Exp2(float64(r.IntN(100)-50)))
		}
		if trial%4 == 0 {
			row[0] = float32(math.Copysign(math.Exp2(float64(trial/4-30))*maxMultiple, float64(trial%8-1)))
		}
		was := slices.Clone(row)
		roundRow(row)
		greatest := 0.0
		for _, x := range was {
			greatest = max(greatest, math.Abs(float64(x)))
		}
		for j := range row {
			if e := math.Abs(float64(row[j]) - float64(was[j])); e > greatest/maxMultiple {
				t.Fatalf("%v becomes %v", was, row)
			}
		}
		again := slices.Clone(row)
		roundRow(again)
		u, multiples := packRow(row)
		for j := range row {
			if again[j] != row[j] || u*float32(multiples[j]) != row[j] {
				t.Fatalf("%v becomes %v, and %v times %v", row, again, u, multiples)
			}
		}
	}
	zeros := make([]float32, 3)
	roundRow(zeros)
	if !slices.Equal(zeros, make([]float32, 3)) {
		t.Errorf("zeros become %v", zeros)
	}
}

func TestStoreDamage(t *testing.T) {
	_, file := savedModel(t)
	for n := range len(file) {
		if _, _, _, err := readModel(bytes.NewReader(file[:n])); !errors.Is(err, errModel) {
			t.Fatalf("cut after %d of %d bytes: %v", n, len(file), err)
		}
	}
	for i := range file {
		bad := slices.Clone(file)
		bad[i] ^= 0x10
		if _, _, _, err := readModel(bytes.NewReader(bad)); !errors.Is(err, errModel) {
			t.Fatalf("a bit of byte %d of %d flipped: %v", i, len(file), err)
		}
	}
}

func TestSaveModel(t *testing.T) {
	m, file := savedModel(t)
	e, x := m.Encoder, m.Index
	path := filepath.Join(t.TempDir(), "model")
	for range 2 { // the second time it replaces the first
		if err := SaveModel(path, e, x, testProvenance); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, file) {
		t.Error("SaveModel and writeModel differ")
	}
	if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
		t.Errorf("%d files in the directory", len(list))
	}
	if runtime.GOOS != "windows" { // a model that is kept from others, behind a link
		link := filepath.Join(t.TempDir(), "link")
		if err := errors.Join(os.Chmod(path, 0o600), os.Symlink(path, link), SaveModel(link, e, x, testProvenance)); err != nil {
			t.Fatal(err)
		}
		if to, err := os.Readlink(link); err != nil || to != path {
			t.Errorf("the link leads to %q, %v", to, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("the model is %v, %v", info.Mode(), err)
		}
	}
	if err := SaveModel(filepath.Join(path, "below"), e, x, testProvenance); err == nil {
		t.Error("a file below a file was written")
	}
	if _, _, _, err := LoadModel(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
	if err := writeModel(failing{}, e, x, testProvenance); err == nil {
		t.Error("a failing writer went unnoticed")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
