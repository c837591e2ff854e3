package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/contrastive-go/contrastive/examples/internal/cli"
)

const help = `Say what a function should do, as in: read a file line by line
At the beginning of a line, help shows this text, and quit or Ctrl-D ends.
The arrow keys edit a line, and bring earlier ones back.
`

// Converse answers questions, a line each, until there are no more or one is quit. At
// a terminal it asks for them.
func (a Answerer) Converse(stdin io.Reader, stdout io.Writer) error {
	const prompt = "\nsearch> "
	if in, ok := stdin.(*os.File); ok && cli.IsTerminal(stdin) && cli.IsTerminal(stdout) {
		state, err := term.MakeRaw(int(in.Fd()))
		if err != nil {
			return err
		}
		defer term.Restore(int(in.Fd()), state)
		t := term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{stdin, stdout}, strings.TrimPrefix(prompt, "\n"))
		fmt.Fprint(t, help)
		return a.answerAll(t, func() (string, error) {
			fmt.Fprintln(t)
			a.width = cli.Width(stdout)
			t.SetSize(a.width, 1<<10) // its error is that of writing a prompt, which comes again
			return t.ReadLine()
		})
	}
	shown := ""
	if f, ok := stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) { // one that cannot edit
		shown = prompt
	}
	lines := bufio.NewScanner(stdin)
	return a.answerAll(stdout, func() (string, error) {
		fmt.Fprint(stdout, shown)
		if !lines.Scan() {
			if lines.Err() != nil {
				return "", lines.Err()
			}
			return "", io.EOF
		}
		return lines.Text(), nil
	})
}

// answerAll answers what read returns until that is quit, or io.EOF.
func (a Answerer) answerAll(w io.Writer, read func() (string, error)) error {
	for {
		line, err := read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch line = strings.TrimSpace(line); line {
		case "":
		case "help", "?":
			fmt.Fprint(w, help)
		case "quit", "exit":
			return nil
		default:
			if err := a.Print(w, line); err != nil {
				fmt.Fprintln(w, err)
			}
		}
	}
}
