// Package cli is what the example programs share of their manners: exit codes,
// interrupts, progress, and checks before long work.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/term"
)

// The exit codes of Main, as shells and the flag package have them.
const (
	failed      = 1
	misused     = 2
	interrupted = 128 + int(syscall.SIGINT)
)

// Main runs a program, prints its error, and exits. An interrupt ends the context; a
// second one ends the program at once.
func Main(name string, run func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop()
	}()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	}
	os.Exit(exitCode(err))
}

func exitCode(err error) int {
	var usage UsageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &usage):
		return misused
	case errors.Is(err, context.Canceled):
		return interrupted
	}
	return failed
}

// A UsageError says what is wrong with the arguments of a program.
type UsageError struct{ err error }

func (e UsageError) Error() string { return e.err.Error() }
func (e UsageError) Unwrap() error { return e.err }

// Usage returns a UsageError.
func Usage(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// Interrupted returns an error that wraps the cause and says only what has been
// interrupted: that a context was cancelled is no news to whoever pressed Ctrl-C.
func Interrupted(cause error, format string, args ...any) error {
	return interruption{fmt.Sprintf(format, args...), cause}
}

type interruption struct {
	text  string
	cause error
}

func (e interruption) Error() string { return e.text }
func (e interruption) Unwrap() error { return e.cause }

// Parse parses flags. Its error is flag.ErrHelp or a UsageError, and has not been
// printed.
func Parse(f *flag.FlagSet, args []string) error {
	output, usage := f.Output(), f.Usage
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	err := f.Parse(args)
	f.SetOutput(output)
	f.Usage = usage
	if errors.Is(err, flag.ErrHelp) {
		f.Usage()
		return err
	}
	if err != nil {
		return Usage("%w; see -help", err)
	}
	return nil
}

// CheckWritable returns an error if a file cannot be written to, or made: it is for
// paths that are needed only after long work. It leaves no file behind.
func CheckWritable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a directory", path)
	case err == nil:
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return f.Close()
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "*")
	if err != nil {
		var cause *os.PathError // whose path is that of the temporary file
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return fmt.Errorf("%s cannot be made: %w", path, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// IsTerminal reports whether x is a terminal on which a line can be written anew.
func IsTerminal(x any) bool {
	f, ok := x.(*os.File)
	return ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// Width returns the number of columns of x, 80 if it is no terminal.
func Width(x any) int {
	if f, ok := x.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return 80
}
