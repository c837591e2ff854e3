package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runCodesearch runs the program without a terminal.
func runCodesearch(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	if e := run(args, strings.NewReader(""), &out, &err); e != nil {
		t.Fatalf("codesearch %q: %v\n%s%s", args, e, &out, &err)
	}
	return out.String(), err.String()
}

// smallGo is a library whose functions and comments share a word each.
func smallGo(t *testing.T, release string) (root string) {
	files := map[string]string{}
	for p := range 26 {
		name := string(rune('a' + p))
		var b strings.Builder
		fmt.Fprintf(&b, "package %s\n", name)
		for i := range 8 {
			w := name + string(rune('a'+i))
			fmt.Fprintf(&b, "\n// Do%[1]s handles the %[1]sing of things.\nfunc Do%[1]s(x int) int {\n\tx += %[1]sing\n\treturn x\n}\n", w)
		}
		files[name+"/x.go"] = b.String()
	}
	return writeGo(t, release, files)
}

func TestRun(t *testing.T) {
	root := smallGo(t, "go1.98")
	model := filepath.Join(t.TempDir(), "model")
	small := []string{"-goroot", root, "-pool", "8", "-pools", "2", "-dim", "32", "-buckets", "1024", "-batch", "16", "-n", "1"}

	out, progress := runCodesearch(t, append(small, "-save", model, "-q", "handle the aaing", "handle the bcing")...)
	for _, want := range []string{
		"go1.98: 208 functions in 26 files",
		"208 pairs of comment and function in 26 packages",
		"pools of the test split (number of pools: 2)",
		"untrained model",
		"\nhandle the aaing\n",
		"a.Doaa  a  a/x.go:4\n",
		"b.Dobc  b  b/x.go:16\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output has no %q:\n%s", want, out)
		}
	}
	if !strings.Contains(progress, "loss ") || !strings.Contains(progress, "accuracy ") || !strings.Contains(progress, "τ 0.0") {
		t.Errorf("progress is %q", progress)
	}

	// A loaded model gives the figures and answers of the trained one.
	again, _ := runCodesearch(t, append(small, "-load", model, "handle the aaing", "handle the bcing")...)
	from := func(s, mark string) string { return s[strings.Index(s, mark):] }
	if a, b := from(out, "\nhandle"), from(again, "\nhandle"); a != b {
		t.Errorf("trained: %s\nloaded: %s", a, b)
	}
	for _, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(line, "  trained model") && !strings.Contains(again, line) {
			t.Errorf("the loaded model does not have %q", line)
		}
	}

	// Loaded and saved again, it is the same file.
	copied := filepath.Join(t.TempDir(), "copy")
	runCodesearch(t, append(small, "-load", model, "-save", copied, "-eval", "dev")...)
	if a, b := readFile(t, model), readFile(t, copied); !bytes.Equal(a, b) {
		t.Error("saving a loaded model changes it")
	}

	// It is not measured on what it may have seen.
	for _, args := range [][]string{{"-eval", "dev"}, {"-goroot", smallGo(t, "go1.97")}} {
		out, _ := runCodesearch(t, append(append(small, "-load", model), args...)...)
		if !strings.Contains(out, "is not measured") || !strings.Contains(out, "trained on go1.98") || strings.Contains(out, "MRR") {
			t.Errorf("with %q the output is:\n%s", args, out)
		}
		if !strings.Contains(out, "read a file line by line") {
			t.Errorf("with %q no query is answered", args)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRunErrors(t *testing.T) {
	root := smallGo(t, "go1.98")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-goroot", t.TempDir()}, "no Go source found"},
		{[]string{"-eval", "train"}, "must be dev or test"},
		{[]string{"-goroot", root}, "too few for a pool of 1000"},
		{[]string{"-goroot", root, "-pool", "8", "-batch", "100000"}, "a batch of 100000 cannot be drawn"},
		{[]string{"-goroot", root, "-dim", "0"}, "-dim is 0"},
		{[]string{"-goroot", root, "-pool", "8", "-load", root}, root},
		{[]string{"-goroot", root, "-pool", "8", "-batch", "16", "-dim", "8", "-buckets", "64", "..."}, "no word"},
	} {
		err := run(c.args, strings.NewReader(""), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("codesearch %q: %v, want %q", c.args, err, c.want)
		}
	}
	if err := run([]string{"-h"}, nil, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h gives %v", err)
	}
}

func TestSmoke(t *testing.T) {
	if testing.Short() {
		t.Skip("reads the whole standard library")
	}
	out, _ := runCodesearch(t, "-smoke", "-eval", "dev", "-q", "read a file line by line")
	if strings.Count(out, "trained model") != 2*int(tasks) || !strings.Contains(out, ".go:") {
		t.Errorf("output:\n%s", out)
	}
}
