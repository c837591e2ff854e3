package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{flag.ErrHelp, 0},
		{errors.New("bad"), 1},
		{Usage("-n is %d", 0), 2},
		{fmt.Errorf("while reading flags: %w", Usage("bad")), 2},
		{fmt.Errorf("stopped: %w", context.Canceled), 130},
		{fmt.Errorf("%w; saved", Interrupted(context.Canceled, "stopped at step %d", 3)), 130},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

func TestInterrupted(t *testing.T) {
	if got := Interrupted(context.Canceled, "stopped at step %d", 3).Error(); got != "stopped at step 3" {
		t.Errorf("the error says %q", got)
	}
}

// Processor time goes on while there is work.
func TestProcessorTime(t *testing.T) {
	start, err := ProcessorTime()
	if err != nil {
		t.Fatal(err)
	}
	for now := start; now == start; {
		if now, err = ProcessorTime(); err != nil {
			t.Fatal(err)
		}
		if now < start {
			t.Fatalf("%v after %v", now, start)
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string // of the error
	}{
		{"-n 3", 0, ""},
		{"-n x", 2, `invalid value "x" for flag -n`},
		{"-m", 2, "not defined: -m"},
		{"-h", 0, "help requested"},
	} {
		var out bytes.Buffer
		f := flag.NewFlagSet("program", flag.ContinueOnError)
		f.SetOutput(&out)
		f.Int("n", 1, "number")
		f.Usage = f.PrintDefaults
		err := Parse(f, strings.Fields(c.args))
		if exitCode(err) != c.code || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, exit code %d, want %q and %d", c.args, err, exitCode(err), c.want, c.code)
		}
		if printed := out.Len() > 0; printed != (c.args == "-h") {
			t.Errorf("%s prints %q", c.args, &out)
		}
	}
}

func TestCheckWritable(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("text"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(dir, "new")} {
		if err := CheckWritable(path); err != nil {
			t.Error(err)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "none", "new"), filepath.Join(file, "below")} {
		// The name of a temporary file would be a riddle.
		if err := CheckWritable(path); err == nil || !strings.Contains(err.Error(), path) || strings.Count(err.Error(), dir) != 1 {
			t.Errorf("%s: %v", path, err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "text" {
		t.Errorf("the file is now %q, %v", text, err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("%d files are left, %v", len(list), err)
	}
}

func TestProgressLines(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, "run", 0, 20)
	for step := 1; step <= 20; step++ {
		p.Step(step, fmt.Sprintf("loss %d", step))
		if step == 5 {
			p.Message("stop and go")
		}
	}
	p.Close()
	want := ""
	for step := 2; step <= 20; step += 2 { // 20/8
		want += fmt.Sprintf("step %2d/20  run  loss %d\n", step, step)
		if step == 4 {
			want += "run: stop and go\n"
		}
	}
	if got := out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	var none *Progress
	none.Step(1)
	none.Message("")
	none.Close()
}

func TestFit(t *testing.T) {
	figures := []string{"clip", "τ 0.07", "loss 1"}
	for columns, want := range map[int]string{-3: "", 3: "", 4: "clip", 11: "clip", 12: "clip  τ 0.07", 19: "clip  τ 0.07", 20: "clip  τ 0.07  loss 1", 99: "clip  τ 0.07  loss 1"} {
		if got := fit(figures, columns); got != want {
			t.Errorf("%d columns: %q, want %q", columns, got, want)
		}
	}
}

func TestIsTerminal(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, x := range []any{f, new(bytes.Buffer), nil} {
		if IsTerminal(x) {
			t.Errorf("%T is a terminal", x)
		}
		if w := Width(x); w != 80 {
			t.Errorf("%T has %d columns", x, w)
		}
	}
}
