// Glyphs learns to recognise characters without being told which is which: by
// SimCLR, MoCo, BYOL and other methods, from glyphs of the Go fonts that it draws
// itself. It measures how well each does on fonts that it has not seen.
//
//	glyphs -method simclr                      # train, measure, write a report
//	glyphs -method simsiam -no-stop-gradient   # see it collapse
//	glyphs -sweep methods                      # all methods in one table
//	glyphs -method moco -checkpoint run.ckpt   # interrupt it, then add -resume
//	glyphs -batch 65536 -steps 2               # with the memory of a small one
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/contrastive-go/contrastive/examples/glyphs/data"
	"github.com/contrastive-go/contrastive/examples/glyphs/report"
	"github.com/contrastive-go/contrastive/examples/internal/cli"
)

// options are the flags that are not settings of a run.
type options struct {
	method, sweep, out, checkpoint string
	every, seeds                   int
	resume, smoke, methodGiven     bool
	given                          map[string]string // flags of Settings that are on the command line
}

func main() { cli.Main("glyphs", run) }

func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if o.sweep != "" {
		return sweep(ctx, o, stdout, stderr)
	}

	s, err := o.settings(o.method)
	if err != nil {
		return err
	}
	if err := o.checkUsed(s.Method); err != nil {
		return err
	}
	dir := filepath.Join(o.out, s.Method)
	if err := o.checkFiles(dir); err != nil {
		return err
	}
	var saved *Checkpoint
	if o.resume {
		if saved, err = loadCheckpoint(o.checkpoint); err != nil {
			return err
		}
		if s, err = o.resumed(saved.Settings); err != nil {
			return err
		}
	}

	train, test, err := open(&s)
	if err != nil {
		return err
	}
	t, err := NewTrainer(s, train, test)
	if err != nil {
		return err
	}
	t.CheckpointPath, t.CheckpointEvery = o.checkpoint, o.every
	if saved != nil {
		if err := t.restore(saved); err != nil {
			return fmt.Errorf("%s: %w", o.checkpoint, err)
		}
		fmt.Fprintf(stderr, "resuming %s at step %d of %d\n", s.Method, t.step, s.Steps)
	}

	fmt.Fprintf(stdout, "%s on %d images of %d classes; %d held-out images\n",
		recipes[s.Method].title, len(train.Pixels), len(train.Classes), len(test.Pixels))
	if err := t.Run(ctx, cli.NewProgress(stderr, s.Method, t.step, s.Steps)); err != nil {
		if errors.Is(err, context.Canceled) && o.checkpoint != "" {
			return fmt.Errorf("%w; saved in %s, go on with -resume", err, o.checkpoint)
		}
		return err
	}

	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	fmt.Fprintf(stdout, "%d steps of %d pairs in %.1f s, with %d MiB of memory\n\n", s.Steps, s.Batch, t.Seconds, memory.Sys>>20)

	e := NewEvaluator(train, test, s.Data != "")
	scores, embeddings, err := e.Method(t.method, s.Seed)
	if err != nil {
		return err
	}
	pixels, err := e.Pixels(s.Seed)
	if err != nil {
		return err
	}
	table := report.Table{Title: "Accuracy on held-out images"}
	table.Columns = scoreNames[:len(scores)]
	table.Rows = []report.Row{{Name: "pixels", Cells: pixels}, {Name: recipes[s.Method].title, Cells: scores}}
	for len(table.Rows[0].Cells) < len(scores) {
		table.Rows[0].Cells = append(table.Rows[0].Cells, missing)
	}
	chance := report.Score{Value: 1 / float64(len(test.Classes))}
	guess := report.Row{Name: "chance"}
	for range scores {
		guess.Cells = append(guess.Cells, chance)
	}
	table.Rows = slices.Insert(table.Rows, 0, guess)
	fmt.Fprint(stdout, table.Markdown())
	fmt.Fprintln(stdout, fewShotNote)

	r := report.Run{
		Method: recipes[s.Method].title, Made: stamp(), Settings: s.list(), History: t.History, Scores: scores,
		Baselines:  []report.Row{table.Rows[1], guess},
		ScoreNote:  fewShotNote,
		HeldOut:    e.heldOut(),
		Embeddings: embeddings, Labels: labelsOf(test, e.testIndex), Classes: test.Classes,
		Collapse: t.Monitor.Message,
	}
	r.Positive, r.Negative = e.similarities(embeddings)
	if err := report.Write(dir, r); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "report: %s\n", filepath.Join(dir, "report.html"))
	return nil
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{given: map[string]string{}}
	fs := flag.NewFlagSet("glyphs", flag.ContinueOnError)
	fs.SetOutput(stderr)
	settings := common
	settings.setFlags(fs)
	isSetting := map[string]bool{}
	fs.VisitAll(func(f *flag.Flag) { isSetting[f.Name] = true })
	fs.StringVar(&o.method, "method", "simclr", "one of "+strings.Join(methodNames(), ", "))
	fs.StringVar(&o.sweep, "sweep", "", "train many times and tabulate: one of "+strings.Join(sweepNames(), ", ")+", or all")
	fs.IntVar(&o.seeds, "seeds", 3, "runs of each row of a sweep, with seeds from -seed on")
	fs.StringVar(&o.out, "out", "glyphs-out", "directory for reports, tables and plots")
	fs.StringVar(&o.checkpoint, "checkpoint", "", "file to save the run in, every -every steps, at its end and on an interrupt")
	fs.IntVar(&o.every, "every", 50, "steps between checkpoints")
	fs.BoolVar(&o.resume, "resume", false, "go on with the run in -checkpoint")
	fs.BoolVar(&o.smoke, "smoke", false, "tiny sizes, to see that everything works")
	fs.Usage = func() {
		fmt.Fprintf(stderr, "Usage of glyphs (defaults are those of most methods; a report lists those of a run):\n")
		fs.PrintDefaults()
	}
	if err := cli.Parse(fs, args); err != nil {
		return nil, err
	}
	fs.Visit(func(f *flag.Flag) {
		if isSetting[f.Name] {
			o.given[f.Name] = f.Value.String()
		}
		o.methodGiven = o.methodGiven || f.Name == "method"
	})
	switch {
	case fs.NArg() > 0:
		return nil, cli.Usage("unexpected argument %q", fs.Arg(0))
	case o.resume && o.checkpoint == "":
		return nil, cli.Usage("-resume needs the -checkpoint to go on with")
	case o.sweep != "" && o.checkpoint != "":
		return nil, cli.Usage("-checkpoint is for single runs, not for -sweep")
	case o.every < 1:
		return nil, cli.Usage("-every is %d and must be positive", o.every)
	case o.seeds < 1:
		return nil, cli.Usage("-seeds is %d and must be positive", o.seeds)
	}
	return o, nil
}

// checkUsed returns an error if the command line sets what a method does not use.
func (o *options) checkUsed(method string) error {
	for name := range o.given {
		if methods := users[name]; methods != nil && !slices.Contains(methods, method) {
			return cli.Usage("-%s is not used by -method %s, but by %s", name, method, strings.Join(methods, ", "))
		}
	}
	return nil
}

// checkFiles returns an error if what the run writes in the end cannot be written.
func (o *options) checkFiles(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return cli.Usage("-out: %w", err)
	}
	if err := cli.CheckWritable(filepath.Join(dir, "report.html")); err != nil {
		return cli.Usage("-out: %w", err)
	}
	if o.checkpoint != "" {
		if err := cli.CheckWritable(o.checkpoint); err != nil {
			return cli.Usage("-checkpoint: %w", err)
		}
	}
	return nil
}

// settings returns the recipe of a method, made small for -smoke, with what the
// command line says.
func (o *options) settings(method string) (Settings, error) {
	s, err := defaultSettings(method)
	if err != nil {
		return s, cli.Usage("%w", err)
	}
	if o.smoke {
		s.shrink()
	}
	if err := o.apply(&s); err != nil {
		return s, err
	}
	s.largeBatch()
	if err := s.check(); err != nil {
		return s, cli.Usage("%w", err)
	}
	return s, nil
}

// apply sets what the command line says.
func (o *options) apply(s *Settings) error {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	s.setFlags(fs)
	for name, value := range o.given {
		if err := fs.Set(name, value); err != nil {
			return cli.Usage("-%s %s: %w", name, value, err)
		}
	}
	return nil
}

// resumed returns the settings of a saved run, which those on the command line
// must not contradict: they would make it another run.
func (o *options) resumed(saved Settings) (Settings, error) {
	changed := saved
	if err := o.apply(&changed); err != nil {
		return saved, err
	}
	if changed != saved || o.methodGiven && o.method != saved.Method {
		return saved, fmt.Errorf("-resume: the run in %s has other settings than the command line; start it with -resume and -checkpoint only", o.checkpoint)
	}
	return saved, saved.check()
}

// open returns the images of a run.
func open(s *Settings) (train, test *data.Set, err error) {
	if s.Data != "" {
		return data.Open(s.Data)
	}
	train, test, err = data.Glyphs()
	if err != nil {
		return nil, nil, err
	}
	if s.Validation {
		held := func(i int) bool {
			style := train.Styles[train.Style[i]]
			return style == "medium italic" || style == "mono"
		}
		train, test = subset(train, func(i int) bool { return !held(i) }), subset(train, held)
	}
	if s.Glyphs < len(train.Classes) {
		train = subset(train, func(i int) bool { return train.Labels[i] < s.Glyphs })
		test = subset(test, func(i int) bool { return test.Labels[i] < s.Glyphs })
		train.Classes, test.Classes = train.Classes[:s.Glyphs], test.Classes[:s.Glyphs]
	}
	return train, test, nil
}

// subset returns the images of a set of glyphs that are wanted.
func subset(set *data.Set, wanted func(i int) bool) *data.Set {
	part := *set
	part.Pixels, part.Labels, part.Style = nil, nil, nil
	for i := range set.Pixels {
		if wanted(i) {
			part.Pixels = append(part.Pixels, set.Pixels[i])
			part.Labels = append(part.Labels, set.Labels[i])
			part.Style = append(part.Style, set.Style[i])
		}
	}
	return &part
}

// stamp says when and on what a result was made.
func stamp() string {
	return fmt.Sprintf("%s, %s", time.Now().Format("2 January 2006"), machine())
}
