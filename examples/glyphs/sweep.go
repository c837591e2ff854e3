package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/klauspost/cpuid/v2"

	"github.com/contrastive-go/contrastive/examples/glyphs/report"
	"github.com/contrastive-go/contrastive/examples/internal/cli"
	"github.com/contrastive-go/contrastive/simd"
)

// A study is one question that many runs answer in a table.
type study struct {
	name, title string
	text        string // what is varied, for RESULTS.md
	short       bool   // runs have half the steps of the recipes
	run         func(*studio) (*report.Table, error)
}

var studies = []study{
	{"methods", "Methods", "Accuracy on two fonts that were not in the training set. Each method has the settings of its recipe, which were chosen with other seeds on two of the training fonts, held out by -validation.", false, sweepMethods},
	{"collapse", "Collapse", "SimSiam with and without its stop-gradient; the monitor says at which step the embeddings have collapsed.", true, sweepCollapse},
	{"temperature", "Temperature", "SimCLR with fixed and learned temperatures, which go from hard to soft: small ones spread the embeddings evenly, great ones tolerate neighbours.", true, sweepTemperature},
	{"batch", "Batch size", "SimCLR and DCL with batches of different sizes that see the same number of images; the learning rate goes with the square root of the batch.", true, sweepBatch},
	{"queue", "Queue size", "MoCo with dictionaries of different sizes. The number of steps and the batch are the same.", true, sweepQueue},
	{"negatives", "Negatives", "SimCLR's loss with hard (β) and debiased (τ⁺) negatives. With both 0 it is NT-Xent.", true, sweepNegatives},
}

func sweepNames() []string {
	names := make([]string, len(studies))
	for i, s := range studies {
		names[i] = s.name
	}
	return names
}

// missing is the cell of a figure that does not exist.
var missing = report.Score{Value: math.NaN()}

// sweep runs a study, or all, writes its table and plots to results/ in the
// output directory, and puts RESULTS.md together from all that are there.
func sweep(ctx context.Context, o *options, stdout, stderr io.Writer) error {
	chosen := studies
	if o.sweep != "all" {
		i := slices.IndexFunc(studies, func(s study) bool { return s.name == o.sweep })
		if i < 0 {
			return cli.Usage("there is no -sweep %q; there are %s, and all", o.sweep, strings.Join(sweepNames(), ", "))
		}
		chosen = studies[i : i+1]
	}
	dir := filepath.Join(o.out, "results")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return cli.Usage("-out: %w", err)
	}
	if err := cli.CheckWritable(filepath.Join(o.out, "RESULTS.md")); err != nil {
		return cli.Usage("-out: %w", err)
	}
	for _, s := range chosen {
		st := &studio{ctx: ctx, options: o, dir: dir, name: s.name, short: s.short, stdout: stdout, stderr: stderr}
		table, err := s.run(st)
		if err != nil {
			return fmt.Errorf("-sweep %s: %w", s.name, err)
		}
		fmt.Fprintln(stdout, table.Markdown())
		text := s.text
		if s.short {
			text += " Runs have half the steps of the recipe."
		}
		section := fmt.Sprintf("## %s\n\n%s\n\n%s\n", s.title, text, table.Markdown())
		for _, plot := range st.plots {
			section += fmt.Sprintf("\n![%s](%s)\n", plot.title, plot.file)
		}
		for i, note := range st.notes {
			if i == 0 {
				section += "\n"
			}
			section += "- " + note + "\n"
		}
		section += fmt.Sprintf("\n`go run ./glyphs %s`, %s.\n", st.command(), stamp())
		if err := replaceFile(filepath.Join(dir, s.name+".md"), []byte(section)); err != nil {
			return err
		}
		if err := compose(o.out, dir); err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, "tables and plots: %s\n", filepath.Join(o.out, "RESULTS.md"))
	return nil
}

// compose writes RESULTS.md from the studies that have been run.
func compose(out, dir string) error {
	text := "# Results of examples/glyphs\n\nMeans of runs with different seeds ± their standard deviation. The figures of a seed do not depend on\nthe number of processors; they may differ between instruction sets in the last digits. Processor seconds are\nthose of training, of all threads together.\n"
	for _, s := range studies {
		section, err := os.ReadFile(filepath.Join(dir, s.name+".md"))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		text += "\n" + strings.ReplaceAll(string(section), "](", "](results/")
	}
	return replaceFile(filepath.Join(out, "RESULTS.md"), []byte(text))
}

// machine describes what this runs on.
func machine() string {
	name := cpuid.CPU.BrandName
	if name == "" {
		name = runtime.GOARCH
	}
	return fmt.Sprintf("%s, %d processors, %s, %s", name, runtime.GOMAXPROCS(0), simd.Level(), runtime.Version())
}

// A studio makes the runs of one study.
type studio struct {
	ctx            context.Context
	options        *options
	dir, name      string
	short          bool
	stdout, stderr io.Writer
	evaluators     map[bool]*Evaluator // by Settings.Validation
	plots          []plot
	notes          []string
}

type plot struct{ title, file string }

// An outcome is what the runs of one row of a table gave, by the names of
// figures: accuracies, and what the end of training tells.
type outcome struct {
	values    map[string][]float64
	histories [][]report.Point
	collapse  []string // messages of the monitor
}

const (
	figureLoss       = "loss"
	figureTau        = "final τ"
	figureAlignment  = "alignment"
	figureUniformity = "uniformity"
	figureRank       = "effective rank"
	figureSeconds    = "processor seconds"
)

// runs trains the method with every seed, after change has been applied to the
// settings of its recipe.
func (st *studio) runs(label, method string, change func(*Settings)) (*outcome, error) {
	o := &outcome{values: map[string][]float64{}}
	seeds := st.options.seeds
	if st.options.smoke {
		seeds = 1
	}
	for i := range seeds {
		s, err := st.options.settings(method)
		if err != nil {
			return nil, err
		}
		if _, ok := st.options.given["steps"]; st.short && !ok {
			s.Steps /= 2
		}
		if change != nil {
			change(&s)
		}
		s.Seed += uint64(i)
		train, test, err := open(&s)
		if err != nil {
			return nil, err
		}
		t, err := NewTrainer(s, train, test)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", label, err)
		}
		name := fmt.Sprintf("%s, seed %d", label, s.Seed)
		before, err := cli.ProcessorTime()
		if err != nil {
			return nil, err
		}
		if err := t.Run(st.ctx, cli.NewProgress(st.stderr, name, 0, s.Steps)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		after, err := cli.ProcessorTime()
		if err != nil {
			return nil, err
		}
		if st.evaluators == nil {
			st.evaluators = map[bool]*Evaluator{}
		}
		e := st.evaluators[s.Validation]
		if e == nil {
			e = NewEvaluator(train, test, s.Data != "")
			st.evaluators[s.Validation] = e
		}
		scores, _, err := e.Method(t.method, s.Seed)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, score := range scores {
			o.add(score.Name, score.Value)
		}
		if n := len(t.History); n > 0 {
			last := t.History[n-1]
			o.add(figureLoss, last.Loss)
			o.add(figureTau, last.Temperature)
			o.add(figureAlignment, last.Alignment)
			o.add(figureUniformity, last.Uniformity)
			o.add(figureRank, last.EffectiveRank)
		}
		o.histories = append(o.histories, t.History)
		if s.Steps > 0 {
			o.add(figureSeconds, (after - before).Seconds())
		}
		if t.Monitor.Message != "" {
			o.collapse = append(o.collapse, fmt.Sprintf("%s: %s", name, t.Monitor.Message))
		}
		fmt.Fprintf(st.stderr, "%s: %s %.3f, %s %.3f, %.1f s\n", name, scores[0].Name, scores[0].Value, scores[2].Name, scores[2].Value, t.Seconds)
	}
	return o, nil
}

func (o *outcome) add(name string, value float64) { o.values[name] = append(o.values[name], value) }

// score returns the mean of a figure and its standard deviation over seeds.
func (o *outcome) score(name string) report.Score { return scoreOf(name, o.values[name]) }

func scoreOf(name string, v []float64) report.Score {
	if len(v) == 0 {
		return missing
	}
	s := report.Score{Name: name}
	for _, x := range v {
		s.Value += x / float64(len(v))
	}
	for _, x := range v {
		s.SD += (x - s.Value) * (x - s.Value)
	}
	if len(v) > 1 {
		s.SD = math.Sqrt(s.SD / float64(len(v)-1))
	}
	return s
}

func (o *outcome) row(name string, columns []string) report.Row {
	r := report.Row{Name: name}
	for _, c := range columns {
		r.Cells = append(r.Cells, o.score(c))
	}
	return r
}

// plot draws figures against x, which has a logarithmic axis, a curve for each
// series; linearPlot has a linear axis.
func (st *studio) plot(file, title, xlabel string, x []float64, series map[string][]report.Score) error {
	return st.draw(file, title, xlabel, true, x, series)
}

func (st *studio) linearPlot(file, title, xlabel string, x []float64, series map[string][]report.Score) error {
	return st.draw(file, title, xlabel, false, x, series)
}

func (st *studio) draw(file, title, xlabel string, log bool, x []float64, series map[string][]report.Score) error {
	st.plots = append(st.plots, plot{title, file + ".png"})
	return report.Sweep(filepath.Join(st.dir, file), title, xlabel, log, x, series)
}

// command returns the flags that make the study again.
func (st *studio) command() string {
	args := []string{"-sweep " + st.name}
	if st.options.smoke {
		args = append(args, "-smoke")
	} else {
		args = append(args, fmt.Sprintf("-seeds %d", st.options.seeds))
	}
	for _, name := range slices.Sorted(maps.Keys(st.options.given)) {
		args = append(args, fmt.Sprintf("-%s %s", name, st.options.given[name]))
	}
	return strings.Join(args, " ")
}
