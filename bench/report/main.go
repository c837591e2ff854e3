// Command report turns benchmark output into the table and the figure of
// README.md:
//
//	go run ./report -in results/bench.txt -readme ../README.md -svg results/infonce.svg
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/perf/benchfmt"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

func main() {
	in := flag.String("in", "results/bench.txt", "output of the benchmarks")
	readme := flag.String("readme", "../README.md", "file with the table, between its markers")
	svg := flag.String("svg", "results/infonce.svg", "figure to write")
	flag.Parse()
	log.SetFlags(0)
	runs, err := read(*in)
	if err != nil {
		log.Fatal(err)
	}
	if err := replace(*readme, table(runs)); err != nil {
		log.Fatal(err)
	}
	if err := figure(runs, *svg); err != nil {
		log.Fatal(err)
	}
}

// A key says what was timed.
type key struct {
	loss, isa  string
	n, d, work int
}

// read returns the median time of each gradient benchmark, in seconds.
func read(name string) (map[key]float64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	times := make(map[key][]float64)
	for r := benchfmt.NewReader(f, name); r.Scan(); {
		result, ok := r.Result().(*benchfmt.Result)
		if !ok {
			continue
		}
		_, parts := result.Name.Parts()
		values := make(map[string]string)
		for _, p := range parts {
			name, value, _ := strings.Cut(strings.TrimPrefix(string(p), "/"), "=")
			values[name] = value
		}
		seconds, ok := result.Value("sec/op")
		if !ok || values["pass"] != "grad" {
			continue
		}
		k := key{loss: values["loss"], isa: values["isa"], n: number(values["n"]), d: number(values["d"]), work: number(values["workers"])}
		times[k] = append(times[k], seconds)
	}
	medians := make(map[key]float64)
	for k, t := range times {
		slices.Sort(t)
		medians[k] = t[len(t)/2]
	}
	return medians, nil
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

type (
	size   struct{ n, d int }
	column struct{ title, loss, isa string }
)

var (
	sizes   = []size{{32, 128}, {256, 128}, {1024, 128}, {4096, 128}, {4096, 512}, {4096, 768}}
	columns = []column{
		{"amx", "infonce", "amx"}, {"amx, High", "infonce-high", "amx"}, {"amx, Medium", "infonce-medium", "amx"},
		{"avx512", "infonce", "avx512"}, {"avx512bf16, Medium", "infonce-medium", "avx512bf16"}, {"avx2", "infonce", "avx2"}, {"generic", "infonce", "generic"},
		{"Go loops", "infonce", "go"}, {"vek", "infonce", "vek"}, {"gonum", "infonce", "gonum"}, {"OpenBLAS", "infonce", "openblas"},
		{"products alone", "products", "openblas"}, {"PyTorch", "infonce", "torch"}, {"tuned", "infonce", "torch-tuned"},
	}
)

// table returns the times of InfoNCE with both gradients on one core. Columns
// without any are left out.
func table(runs map[key]float64) string {
	columns := slices.DeleteFunc(slices.Clone(columns), func(c column) bool {
		return !slices.ContainsFunc(sizes, func(s size) bool {
			_, ok := runs[key{c.loss, c.isa, s.n, s.d, 1}]
			return ok
		})
	})
	var b strings.Builder
	head, line := "| N = K | D |", "|---|---|"
	for _, c := range columns {
		head += " " + c.title + " |"
		line += "---|"
	}
	fmt.Fprintln(&b, head)
	fmt.Fprintln(&b, line)
	for _, s := range sizes {
		fmt.Fprintf(&b, "| %d | %d |", s.n, s.d)
		for _, c := range columns {
			cell := "–"
			if t, ok := runs[key{c.loss, c.isa, s.n, s.d, 1}]; ok {
				cell = fmt.Sprintf("%.3g", 1000*t)
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

// replace puts text between the markers of a file.
func replace(name, text string) error {
	const begin, end = "<!-- bench -->\n", "<!-- /bench -->\n"
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, ok1 := bytes.Cut(data, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no markers %q and %q", name, begin, end)
	}
	return os.WriteFile(name, slices.Concat(before, []byte(begin), []byte(text), []byte(end), after), 0o666)
}

// figure plots speeds, counting the products of the loss alone.
func figure(runs map[key]float64, name string) error {
	p := plot.New()
	p.Title.Text = "InfoNCE with both gradients, D = 128, one core"
	p.X.Label.Text, p.Y.Label.Text = "N = K", "GFLOP/s"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.ConstantTicks{
		{Value: 32, Label: "32"}, {Value: 256, Label: "256"}, {Value: 1024, Label: "1024"}, {Value: 4096, Label: "4096"},
	}
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	i, top := 0, 0.0
	for _, c := range columns {
		var points plotter.XYs
		for _, s := range sizes {
			if t, ok := runs[key{c.loss, c.isa, s.n, 128, 1}]; ok && s.d == 128 {
				points = append(points, plotter.XY{X: float64(s.n), Y: 6 * float64(s.n) * float64(s.n) * 128 / t / 1e9})
			}
		}
		if len(points) < 2 {
			continue
		}
		for _, point := range points {
			top = max(top, point.Y)
		}
		line, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		line.Color, marks.Color, marks.Shape = plotutil.Color(i), plotutil.Color(i), plotutil.Shape(i)
		line.Width = vg.Points(1.5)
		if i >= len(plotutil.SoftColors) { // the colours begin again
			line.Dashes = plotutil.Dashes(1)
		}
		p.Add(line, marks)
		p.Legend.Add(c.title, line, marks)
		i++
	}
	p.Y.Min, p.Y.Max = 0, 1.4*top // room for the legend
	return p.Save(18*vg.Centimeter, 12*vg.Centimeter, name)
}
