package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRun trains, measures and reports by the command line, with each method once.
func TestRun(t *testing.T) {
	for _, method := range methodNames() {
		t.Run(method, func(t *testing.T) {
			dir := t.TempDir()
			var stdout strings.Builder
			err := run(context.Background(), []string{"-smoke", "-method", method, "-out", dir}, nil, &stdout, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"200 images", "pixels", recipes[method].title, scoreLinear} {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("the output does not mention %q:\n%s", want, stdout.String())
				}
			}
			if strings.Contains(stdout.String(), scoreZero) != (method == "clip") {
				t.Errorf("zero-shot is for clip:\n%s", stdout.String())
			}
			if _, err := os.Stat(filepath.Join(dir, method, "report.html")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSweeps runs every study at tiny size.
func TestSweeps(t *testing.T) {
	dir := t.TempDir()
	if err := run(context.Background(), []string{"-smoke", "-sweep", "all", "-steps", "6", "-out", dir}, nil, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "RESULTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range studies {
		if !strings.Contains(string(text), "## "+s.title+"\n") {
			t.Errorf("RESULTS.md has no section %s", s.title)
		}
	}
	for _, method := range methodNames() {
		if !strings.Contains(string(text), recipes[method].title) {
			t.Errorf("RESULTS.md has no row %s", recipes[method].title)
		}
	}
	plots := 0
	for _, line := range strings.Split(string(text), "\n") {
		if _, file, ok := strings.Cut(line, "]("); ok && strings.HasPrefix(line, "!") {
			plots++
			if info, err := os.Stat(filepath.Join(dir, strings.TrimSuffix(file, ")"))); err != nil || info.Size() == 0 {
				t.Errorf("plot %s: %v", file, err)
			}
		}
	}
	if plots < 5 {
		t.Errorf("RESULTS.md shows %d plots", plots)
	}
	if strings.Contains(string(text), "NaN") {
		t.Errorf("RESULTS.md says NaN:\n%s", text)
	}
}

// TestFiles trains on a directory of IDX files, of ten classes of stripes.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(9, 9))
	write := func(name string, n int, images bool) {
		const side = 8
		var b []byte
		if images {
			for _, v := range []uint32{0x803, uint32(n), side, side} {
				b = binary.BigEndian.AppendUint32(b, v)
			}
		} else {
			b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, 0x801), uint32(n))
		}
		for i := range n {
			class := i % 10
			if !images {
				b = append(b, byte(class))
				continue
			}
			for y := range side {
				for x := range side {
					v := rng.IntN(40)
					if (class < 5 && x == class+1) || (class >= 5 && y == class-4) {
						v += 200
					}
					b = append(b, byte(v))
				}
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("train-images-idx3-ubyte", 100, true)
	write("train-labels-idx1-ubyte", 100, false)
	write("t10k-images-idx3-ubyte", 30, true)
	write("t10k-labels-idx1-ubyte", 30, false)
	var stdout strings.Builder
	if err := run(context.Background(), []string{"-smoke", "-data", dir, "-out", t.TempDir()}, nil, &stdout, io.Discard); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stdout.String(), "100 images of 10 classes; 30 held-out images") {
		t.Errorf("the output is\n%s", stdout.String())
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	saved := filepath.Join(dir, "run")
	if err := run(context.Background(), []string{"-smoke", "-steps", "2", "-checkpoint", saved, "-out", dir}, nil, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ flags, want string }{
		{"-method mocov4", `no -method "mocov4"`},
		{"-sweep depth", `no -sweep "depth"`},
		{"extra", `unexpected argument "extra"`},
		{"-batch 1", "-batch is 1 and must be at least 2"},
		{"-batch 100 -shards 8 -method moco", "-shards is 8 and must be a divisor of the batch, 100"},
		{"-temperature 1e39", "-temperature is 1e+39 and must be positive and finite"},
		{"-temperature 0", "-temperature is 0 and must be positive"},
		{"-method byol -temperature 0.1", "-temperature is not used by -method byol, but by simclr"},
		{"-queue 4096", "-queue is not used by -method simclr, but by moco"},
		{"-checkpoint " + dir + "/none/run", "none"},
		{"-every x", "invalid value"},
		{"-rate 0", "-rate is 0 and must be positive"},
		{"-norm layer", "-norm is layer and must be batch or none"},
		{"-momentum 2 -method byol", "-momentum is 2 and must be from 0 to 1"},
		{"-queue 0 -method moco", "capacity"},
		{"-no-stop-gradient", "-no-stop-gradient"},
		{"-chunk 64", "-norm is batch and must be none"},
		{"-chunk 64 -norm none -method dcl", "-chunk is 64 and must be used with simclr"},
		{"-method clip -data x", "-data is x and must be empty"},
		{"-data " + dir + "/none", "none"},
		{"-resume", "needs the -checkpoint"},
		{"-resume -checkpoint " + dir + "/none", "no such file"},
		{"-resume -checkpoint " + saved + " -steps 3", "other settings"},
		{"-resume -checkpoint " + saved + " -method moco", "other settings"},
		{"-sweep all -checkpoint x", "single runs"},
		{"-every 0", "-every is 0"},
		{"-seeds 0 -sweep all", "-seeds is 0"},
		{"-tau-plus 1 -method debiased", "-tau-plus is 1"},
	} {
		err := run(context.Background(), strings.Fields(c.flags+" -out "+dir), nil, io.Discard, io.Discard)
		if c.flags == "extra" {
			err = run(context.Background(), []string{"extra"}, nil, io.Discard, io.Discard)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.flags, err, c.want)
		}
	}
}

// TestHoldOut: settings are chosen on fonts that are neither trained on nor
// reported.
func TestHoldOut(t *testing.T) {
	s, err := defaultSettings("simclr")
	if err != nil {
		t.Fatal(err)
	}
	_, reported, err := open(&s)
	if err != nil {
		t.Fatal(err)
	}
	s.Validation = true
	train, test, err := open(&s)
	if err != nil {
		t.Fatal(err)
	}
	if len(train.Pixels) != 8*94 || len(test.Pixels) != 2*94 {
		t.Fatalf("%d and %d images", len(train.Pixels), len(test.Pixels))
	}
	fonts := map[string]string{}
	for _, c := range []struct {
		name   string
		styles []int
		names  []string
	}{{"training", train.Style, train.Styles}, {"validation", test.Style, test.Styles}, {"test", reported.Style, reported.Styles}} {
		for _, i := range c.styles {
			if other, ok := fonts[c.names[i]]; ok && other != c.name {
				t.Fatalf("font %s is in the %s and the %s set", c.names[i], other, c.name)
			}
			fonts[c.names[i]] = c.name
		}
	}
	if len(fonts) != 12 {
		t.Errorf("there are %s", fmt.Sprint(fonts))
	}
}

// TestUsers checks that settings matter to the methods that use them, and to no others.
func TestUsers(t *testing.T) {
	if testing.Short() {
		t.Skip("trains each method some ten times")
	}
	other := map[string]string{
		"temperature": "0.37", "learn-temperature": "true", "beta": "0.7", "tau-plus": "0.05", "lambda": "0.3", "covariance": "3",
		"queue": "40", "shards": "2", "momentum": "0.5", "predictor": "9", "predictor-rate": "3", "no-stop-gradient": "true",
		"head": "11", "embedding": "13",
	}
	for _, method := range methodNames() {
		train := func(flag string) string {
			o := &options{given: map[string]string{"glyphs": "6", "steps": "3", "norm": "batch"}, smoke: true}
			if method == "clip" {
				o.given["learn-temperature"] = "false"
			}
			if flag != "" {
				o.given[flag] = other[flag]
				if method == "clip" && flag == "learn-temperature" {
					o.given[flag] = "true"
				}
			}
			s, err := o.settings(method)
			if err != nil {
				t.Fatalf("%s with -%s: %v", method, flag, err)
			}
			images, test, err := open(&s)
			if err != nil {
				t.Fatal(err)
			}
			r, err := NewTrainer(s, images, test)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Run(context.Background(), nil); err != nil {
				t.Fatal(err)
			}
			var losses []float64
			for _, p := range r.History {
				losses = append(losses, p.Loss)
			}
			return fmt.Sprint(losses)
		}
		same := train("")
		for flag := range other {
			if flag == "no-stop-gradient" && method != "simsiam" {
				continue // Settings.check refuses it
			}
			used := slices.Contains(users[flag], method)
			if changed := train(flag) != same; changed != used {
				t.Errorf("-%s changes %s: %v, want %v", flag, method, changed, used)
			}
		}
	}
	for flag := range users {
		if other[flag] == "" {
			t.Errorf("-%s was not tried", flag)
		}
	}
}
