package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/adapter"
	"github.com/contrastive-go/contrastive/internal/atomicfile"
	"github.com/contrastive-go/contrastive/internal/safetensors"
)

type applyCommand struct {
	Adapter string `required:"" placeholder:"FILE" help:"What train has saved."`
	Side    string `enum:"query,document" default:"query" help:"What the vectors are of: ${enum}."`
	Input   string `arg:"" help:"Vectors; - is JSON lines from standard input."`
	Out     string `short:"o" required:"" placeholder:"FILE" help:"Where they go: .jsonl, .npy or .safetensors; - is JSON lines to standard output."`
}

// standardStream is the name of standard input and output.
const standardStream = "-"

func (a *applyCommand) Run(ctx context.Context, c console) error { return a.run(ctx, c, os.Stdin) }

func (a *applyCommand) run(ctx context.Context, c console, stdin io.Reader) error {
	extension := strings.ToLower(filepath.Ext(a.Out))
	switch {
	case a.Out == standardStream, isJSONL(a.Out), extension == ".npy", extension == ".safetensors":
	default:
		return usageError{fmt.Errorf("--out=%s: must be a .jsonl, .npy or .safetensors file, or -", a.Out)}
	}
	model, err := adapter.Load(a.Adapter)
	if err != nil {
		return err
	}
	transform := model.Query
	if a.Side == "document" {
		transform = model.Document
	}
	var in vectorReader
	if a.Input == standardStream {
		in, err = newJSONLReader(stdin, "standard input")
	} else {
		in, err = openVectors(a.Input)
	}
	if err != nil {
		return err
	}
	defer in.Close()
	if in.dim() != model.Dim() && !(in.rows() == 0 || in.dim() == 0) {
		return fmt.Errorf("%s has vectors of %d elements, the adapter is for %d", a.Input, in.dim(), model.Dim())
	}
	if a.Out == standardStream {
		w := bufio.NewWriter(c.out)
		if _, err := applyAll(ctx, transform, in, jsonlWriter{w}); err != nil {
			return err
		}
		return w.Flush()
	}
	total := in.rows()
	if total < 0 && !isJSONL(a.Out) {
		if a.Input == standardStream {
			return usageError{fmt.Errorf("--out=%s: needs to know the number of vectors, which standard input does not tell: use .jsonl", a.Out)}
		}
		if total, err = rowsOf(in, a.Input); err != nil {
			return err
		}
	}
	n := 0
	err = atomicfile.Write(a.Out, func(w io.Writer) error {
		b := bufio.NewWriterSize(w, 1<<20)
		sink, err := newSink(b, extension, total, model.Dim())
		if err != nil {
			return err
		}
		if n, err = applyAll(ctx, transform, in, sink); err != nil {
			return err
		}
		if total >= 0 && n != total {
			return fmt.Errorf("%s: has changed while it was read", a.Input)
		}
		return b.Flush()
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.err, "wrote %d vectors to %s\n", n, a.Out)
	return nil
}

// A sink takes mapped vectors.
type sink interface {
	// write takes the vector that has been read latest, if that is one of JSON lines.
	write(id string, vector []float32, line []byte) error
}

// A tensorSink writes elements, and no ids.
type tensorSink struct{ w *safetensors.Writer }

func (t tensorSink) write(_ string, vector []float32, _ []byte) error { return t.w.Write(vector) }

// An npySink writes elements, after the header.
type npySink struct {
	w   io.Writer
	row []byte
}

func (n *npySink) write(_ string, vector []float32, _ []byte) error {
	n.row = n.row[:0]
	for _, v := range vector {
		n.row = binary.LittleEndian.AppendUint32(n.row, math.Float32bits(v))
	}
	_, err := n.w.Write(n.row)
	return err
}

func newSink(w io.Writer, extension string, rows, cols int) (sink, error) {
	switch extension {
	case ".safetensors":
		s, err := safetensors.NewWriter(w, nil, []safetensors.Tensor{{Name: "vectors", Shape: []int{rows, cols}}})
		return tensorSink{s}, err
	case ".npy":
		_, err := w.Write(npyHeader(rows, cols))
		return &npySink{w: w}, err
	}
	return jsonlWriter{w}, nil
}

// mappedAtOnce is how many vectors are in memory.
const mappedAtOnce = 1024

// applyAll maps what is left of in, and returns how many vectors there were.
func applyAll(ctx context.Context, t *adapter.Transform, in vectorReader, out sink) (int, error) {
	x := contrastive.NewMatrix(mappedAtOnce, in.dim())
	var ids []string
	var lines [][]byte
	total := 0
	for end := false; !end; {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		ids, lines = ids[:0], lines[:0]
		for len(ids) < mappedAtOnce {
			id, err := in.next(x.Row(len(ids)))
			if errors.Is(err, io.EOF) {
				end = true
				break
			}
			if err != nil {
				return total, err
			}
			ids = append(ids, id)
			var line []byte
			if j, ok := in.(*jsonlReader); ok {
				line = bytes.Clone(j.line)
			}
			lines = append(lines, line)
		}
		if len(ids) == 0 {
			break
		}
		part := x.Slice(0, len(ids))
		if err := t.ApplyMatrix(part, part); err != nil {
			return total, err
		}
		for i, id := range ids {
			if err := out.write(id, part.Row(i), lines[i]); err != nil {
				return total, err
			}
		}
		total += len(ids)
	}
	return total, nil
}
