package main

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

var testProvenance = Provenance{Release: "go1.99", Fingerprint: 42, HeldOut: TestSplit}

func savedModel(t *testing.T) (*Encoder, []byte) {
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
	var b bytes.Buffer
	if err := writeModel(&b, e, testProvenance); err != nil {
		t.Fatal(err)
	}
	return e, b.Bytes()
}

func TestStore(t *testing.T) {
	e, file := savedModel(t)
	got, p, err := readModel(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if p != testProvenance || !slices.Equal(got.Embedding.Data, e.Embedding.Data) || !slices.Equal(got.Weight, e.Weight) ||
		got.Gain != e.Gain || got.LogScale != e.LogScale || got.Seed != e.Seed {
		t.Error("the model changed on its way")
	}
	if err := checkRoundTrip(e, testProvenance); err != nil {
		t.Error(err)
	}
}

func TestStoreDamage(t *testing.T) {
	_, file := savedModel(t)
	for n := range len(file) {
		if _, _, err := readModel(bytes.NewReader(file[:n])); !errors.Is(err, errModel) {
			t.Fatalf("cut after %d of %d bytes: %v", n, len(file), err)
		}
	}
	for i := range file {
		bad := slices.Clone(file)
		bad[i] ^= 0x10
		if _, _, err := readModel(bytes.NewReader(bad)); !errors.Is(err, errModel) {
			t.Fatalf("a bit of byte %d of %d flipped: %v", i, len(file), err)
		}
	}
}

func TestSaveModel(t *testing.T) {
	e, file := savedModel(t)
	path := filepath.Join(t.TempDir(), "model")
	for range 2 { // the second time it replaces the first
		if err := SaveModel(path, e, testProvenance); err != nil {
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
		if err := errors.Join(os.Chmod(path, 0o600), os.Symlink(path, link), SaveModel(link, e, testProvenance)); err != nil {
			t.Fatal(err)
		}
		if to, err := os.Readlink(link); err != nil || to != path {
			t.Errorf("the link leads to %q, %v", to, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("the model is %v, %v", info.Mode(), err)
		}
	}
	if err := SaveModel(filepath.Join(path, "below"), e, testProvenance); err == nil {
		t.Error("a file below a file was written")
	}
	if _, _, err := LoadModel(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
	if err := writeModel(failing{}, e, testProvenance); err == nil {
		t.Error("a failing writer went unnoticed")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
