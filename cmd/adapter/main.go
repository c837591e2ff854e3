// Adapter fits vectors that some model has made to what is to be found with them, and
// shows what that gains:
//
//	go run ./cmd/adapter demo                             # in the repository; needs nothing
//	adapter train --queries q.npy --documents d.npy --relevant pairs.tsv
//	adapter eval  --adapter adapter.safetensors --queries q.npy --documents d.npy --relevant pairs.tsv
//	adapter apply --adapter adapter.safetensors q.npy -o mapped.npy
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/alecthomas/kong"
)

// A usageError is the fault of the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Exit codes.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitInterrupted = 130 // as of a shell whose command ends by Ctrl-C
)

// A console is where a command writes.
type console struct {
	out, err io.Writer
}

type commands struct {
	Train trainCommand `cmd:"" help:"Train an adapter of vectors, and measure it on queries it has not seen."`
	Eval  evalCommand  `cmd:"" help:"Measure an adapter: rankings with it and without."`
	Apply applyCommand `cmd:"" help:"Map the vectors of a file."`
	Demo  demoCommand  `cmd:"" help:"Train on the Go standard library's comments and functions, in under 30 seconds."`
}

const description = `Fits embeddings to what is to be found with them. The model that made them stays as it is.

Vectors are in .jsonl ({"id": …, "vector": […]}), .npy, .npz or .safetensors files; FILE#NAME names an array. Without ids, they are numbers of rows, from 0, or the lines of --query-ids and --document-ids.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program
	code := run(ctx, os.Args[1:], console{os.Stdout, os.Stderr})
	os.Exit(code)
}

// exited is the panic by which the parser ends after --help.
type exited int

func run(ctx context.Context, args []string, c console) (code int) {
	var cli commands
	defer func() {
		if e, ok := recover().(exited); ok {
			code = int(e)
		}
	}()
	parser, err := kong.New(&cli, kong.Name("adapter"), kong.Description(description), kong.UsageOnError(),
		kong.Writers(c.out, c.err), kong.Exit(func(code int) { panic(exited(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		panic(err) // the structs are wrong
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(c.err, "adapter: %v\nadapter: --help tells what there is\n", err)
		return exitUsage
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	parsed.Bind(c)
	err = parsed.Run()
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(c.err, "adapter: interrupted\n")
		return exitInterrupted
	}
	// The library's errors begin as this program's do.
	fmt.Fprintf(c.err, "adapter: %s\n", strings.TrimPrefix(err.Error(), "adapter: "))
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitFailure
}
