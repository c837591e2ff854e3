package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive/examples/internal/cli"
)

// runCodesearch runs the program without a terminal.
func runCodesearch(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	if e := run(t.Context(), args, strings.NewReader(""), &out, &err); e != nil {
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
	small := func(args ...string) []string {
		return append([]string{"-goroot", root, "-dim", "32", "-buckets", "1024", "-batch", "16", "-n", "1"}, args...)
	}
	load := []string{"-goroot", root, "-load", model, "-n", "1"}

	out, progress := runCodesearch(t, small("-save", model, "-q", "handle the aaing", "-q", "handle the bcing")...)
	const answers = `
handle the aaing
  \d\.\d\d  a.Doaa  a/x.go:4
        Doaa handles the aaing of things.

handle the bcing
  \d\.\d\d  b.Dobc  b/x.go:16
        Dobc handles the bcing of things.
`
	if !regexp.MustCompile("^" + answers + "$").MatchString(out) {
		t.Errorf("the answers are:\n%s\nwant:\n%s", out, answers)
	}
	for _, want := range []string{"go1.98: 208 functions, 208 of them with comments to train on", "loss ", "accuracy ", "τ 0.0", "steps of 16 pairs"} {
		if !strings.Contains(progress, want) {
			t.Errorf("progress has no %q:\n%s", want, progress)
		}
	}

	// A loaded model gives the answers of the trained one, wherever the question
	// stands, and reads no source.
	for _, args := range [][]string{
		{"-q", "handle the aaing", "-q", "handle the bcing"},
		{"handle", "the", "bcing", "-q", "handle the aaing"},
		{"handle", "-q", "handle the aaing", "the", "--", "bcing"},
	} {
		again, progress := runCodesearch(t, append(load, args...)...)
		if again != out || progress != "" {
			t.Errorf("trained: %s\nloaded, with %q: %s%s", out, args, progress, again)
		}
	}
	var piped bytes.Buffer
	if err := run(t.Context(), load, strings.NewReader("handle the aaing\n\n ... \nhelp\nhandle the bcing\nquit\nhandle the bcing\n"), &piped, io.Discard); err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(out, "\nhandle the bcing", "\"...\": "+errNoWords.Error()+"\n"+help+"\nhandle the bcing", 1); piped.String() != want {
		t.Errorf("piped questions get\n%s\nwant\n%s", &piped, want)
	}

	// Loaded and saved again, it is the same file.
	copied := filepath.Join(t.TempDir(), "copy")
	runCodesearch(t, append(load, "-save", copied)...)
	if a, b := readFile(t, model), readFile(t, copied); !bytes.Equal(a, b) {
		t.Error("saving a loaded model changes it")
	}

	// Another library is indexed anew.
	other := smallGo(t, "go1.97")
	out, progress = runCodesearch(t, "-goroot", other, "-load", model, "-n", "1", "handle the aaing")
	if !strings.Contains(out, "a.Doaa") || !strings.Contains(progress, "reading the source of go1.97") {
		t.Errorf("with another library: %s%s", progress, out)
	}
}

func TestRunEval(t *testing.T) {
	root := smallGo(t, "go1.98")
	model := filepath.Join(t.TempDir(), "model")
	eval := []string{"-goroot", root, "-eval", "test", "-pool", "8", "-pools", "2"}
	out, _ := runCodesearch(t, append(eval, "-dim", "32", "-buckets", "1024", "-batch", "16", "-save", model)...)
	for _, want := range []string{
		"208 functions in 26 files",
		"208 pairs of comment and function in 26 packages",
		"pools of the test split (number of pools: 2)",
		"untrained model",
		"questions about 208 functions",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the output has no %q:\n%s", want, out)
		}
	}
	again, _ := runCodesearch(t, append(eval, "-load", model)...)
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "  trained model") && !strings.Contains(again, line) {
			t.Errorf("the loaded model does not have %q", line)
		}
	}

	// It is not measured on what it may have seen.
	for _, args := range [][]string{{"-goroot", root, "-eval", "dev"}, {"-goroot", smallGo(t, "go1.97"), "-eval", "test"}} {
		err := run(t.Context(), append(args, "-load", model), strings.NewReader(""), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "may have seen") || !strings.Contains(err.Error(), "trained on go1.98") {
			t.Errorf("with %q: %v", args, err)
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
	none := filepath.Join(t.TempDir(), "none", "model")
	for _, c := range []struct {
		args  []string
		usage bool
		want  string
	}{
		{[]string{"-goroot", t.TempDir()}, false, "no Go source found"},
		{[]string{"-eval", "train"}, true, "must be dev or test"},
		{[]string{"-goroot", root, "-eval", "dev", "-batch", "16", "-dim", "8"}, true, "too few for a pool of 1000"},
		{[]string{"-goroot", root, "-batch", "100000"}, true, "a batch of 100000 cannot be drawn"},
		{[]string{"-dim", "0"}, true, "-dim is 0"},
		{[]string{"-dim", "1000000", "-buckets", "1000000"}, true, "-dim 1000000 times -buckets 1000000"},
		{[]string{"-batch", "1"}, true, "-batch is 1"},
		{[]string{"-rate", "-1"}, true, "-rate is -1"},
		{[]string{"-rate", "nan"}, true, "-rate is NaN"},
		{[]string{"-load", root}, true, "is a directory"},
		{[]string{"-load", none}, true, none},
		{[]string{"-load", filepath.Join(root, "VERSION")}, false, "not a valid model"},
		{[]string{"-load", filepath.Join(root, "VERSION"), "-dim", "5"}, true, "-dim is for training"},
		{[]string{"-save", none}, true, none},
		{[]string{"-save", root}, true, "is a directory"},
		{[]string{"-pool", "8"}, true, "are for -eval"},
		{[]string{"..."}, true, "no word"},
		{[]string{"-q", ""}, true, "no word"},
		{[]string{"read", "-x"}, true, "not defined: -x"},
	} {
		var usage cli.UsageError
		err := run(t.Context(), c.args, strings.NewReader(""), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.As(err, &usage) != c.usage {
			t.Errorf("codesearch %q: %v, want %q, usage error %v", c.args, err, c.want, c.usage)
		}
	}
	if err := run(t.Context(), []string{"-h"}, nil, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h gives %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := run(ctx, []string{"-goroot", root, "-batch", "16", "-dim", "8"}, nil, io.Discard, io.Discard)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "stopped before step 0 of 39") {
		t.Errorf("an interrupt gives %v", err)
	}
}

func TestSmoke(t *testing.T) {
	if testing.Short() {
		t.Skip("reads the whole standard library")
	}
	out, _ := runCodesearch(t, "-smoke", "-eval", "dev", "-q", "read a file line by line")
	if strings.Count(out, "trained model") != 2*int(tasks)+2 || !strings.Contains(out, ".go:") {
		t.Errorf("output:\n%s", out)
	}
}
