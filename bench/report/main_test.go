package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReport writes tables from two files, of which one has no loss.
func TestReport(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return name
	}
	read := func(name string) string {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	const markers = "before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n"
	readme, all := write("README.md", markers), write("all.md", markers)
	write("results/one/bench.txt", `processor: One
level: avx2
date: 2026-01-02
go: go1.25.0
BenchmarkLoss/loss=infonce/n=256/k=256/d=128/pass=value/isa=avx2/workers=1 10 100000 ns/op
BenchmarkLoss/loss=infonce/n=256/k=256/d=128/pass=grad/isa=avx2/workers=1 10 300000 ns/op
BenchmarkLoss/loss=infonce/n=256/k=256/d=128/pass=grad/isa=avx2/workers=1 10 900000 ns/op
BenchmarkLoss/loss=infonce/n=256/k=256/d=128/pass=grad/isa=avx2/workers=1 10 400000 ns/op
BenchmarkLoss/loss=infonce/n=1024/k=1024/d=128/pass=grad/isa=avx2/workers=1 10 12345678 ns/op
torch: 2.6.0
BenchmarkTorch/loss=infonce/n=1024/k=1024/d=128/pass=grad/isa=torch/workers=1 10 123456789 ns/op
`)
	write("results/two/bench.txt", `processor: Two
level: avx512
faiss: 1.11
BenchmarkFaiss/metric=topk/n=1000/k=1000000/d=128/isa=faiss/workers=2 3 2500000000 ns/op
`)
	if err := report(filepath.Join(dir, "results"), readme, all); err != nil {
		t.Fatal(err)
	}
	const table = `| N | K | D | avx2 | PyTorch |
|---|---|---|---|---|
| 256 | 256 | 128 | 0.4 | – |
| 1024 | 1024 | 128 | 12.3 | 123 |
`
	if got, want := read(readme), "before\n<!-- bench -->\nOne; 2026-01-02; Go 1.25.0; PyTorch 2.6.0:\n\n"+table+"\n<!-- /bench -->\nafter\n"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	got := read(all)
	for _, part := range []string{"## One\n", "one thread:\n\n" + table, "two threads:\n\n| N | K | D | faiss |\n|---|---|---|---|\n| 1000 | 1000000 | 128 | 2500 |\n"} {
		if !strings.Contains(got, part) {
			t.Errorf("%s\nlacks %s", got, part)
		}
	}
	if strings.Index(got, "## Two") > strings.Index(got, "## One") {
		t.Error("processors are not in the order of their levels")
	}
	if _, err := os.Stat(filepath.Join(dir, "results/one/infonce.svg")); err != nil {
		t.Error(err)
	}
	if err := report(filepath.Join(dir, "results"), write("none.md", "nothing"), all); err == nil {
		t.Error("a file without markers is written")
	}
}
