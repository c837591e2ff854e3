// Command report turns the output of the benchmarks into tables and figures: those of
// InfoNCE, for each processor in results, between the markers of README.md, and all of
// them in bench/README.md.
//
//	go run ./report
package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/perf/benchfmt"
)

func main() {
	results := flag.String("results", "results", "directory with one for each processor")
	readme := flag.String("readme", "../README.md", "file with the tables of InfoNCE, between its markers")
	all := flag.String("all", "README.md", "file with all tables, between its markers")
	flag.Parse()
	log.SetFlags(0)
	if err := report(*results, *readme, *all); err != nil {
		log.Fatal(err)
	}
}

func report(results, readme, all string) error {
	files, err := filepath.Glob(filepath.Join(results, "*", "bench.txt"))
	if err != nil {
		return err
	}
	var machines []*machine
	for _, name := range files {
		m, err := read(name)
		if err != nil {
			return err
		}
		machines = append(machines, m)
	}
	slices.SortStableFunc(machines, func(a, b *machine) int {
		return cmp.Compare(slices.Index(levels, a.config["level"]), slices.Index(levels, b.config["level"]))
	})
	var short, long strings.Builder
	for _, m := range machines {
		if text := m.table(tables[0], 1); text != "" {
			fmt.Fprintf(&short, "%s:\n\n%s\n", m.title(), text)
		}
		fmt.Fprintf(&long, "## %s\n\n%s.\n\n", m.config["processor"], m.title())
		for _, workers := range []int{1, 2} {
			for _, t := range tables {
				if text := m.table(t, workers); text != "" {
					threads := "one thread"
					if workers > 1 {
						threads = "two threads"
					}
					fmt.Fprintf(&long, "%s, %s:\n\n%s\n", t.title, threads, text)
				}
			}
		}
		if err := m.figure(filepath.Join(m.directory, "infonce.svg")); err != nil {
			return err
		}
	}
	if err := replace(readme, short.String()); err != nil {
		return err
	}
	return replace(all, long.String())
}

// levels are the order of processors.
var levels = []string{"amx", "avx512bf16", "avx512", "neon", "avx2", "generic"}

// A machine is what was measured on one processor.
type machine struct {
	directory string
	config    map[string]string
	times     map[key]float64 // medians, in seconds
}

// A key says what was timed.
type key struct {
	what, isa        string
	n, k, d, workers int
}

// configs are what a file says of itself.
var configs = []string{"processor", "level", "date", "go", "openblas", "torch", "faiss", "gomlx"}

func read(name string) (*machine, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := &machine{filepath.Dir(name), make(map[string]string), make(map[key]float64)}
	times := make(map[key][]float64)
	for r := benchfmt.NewReader(f, name); r.Scan(); {
		result, ok := r.Result().(*benchfmt.Result)
		if !ok {
			continue
		}
		for _, c := range configs {
			if v := result.GetConfig(c); v != "" {
				m.config[c] = v
			}
		}
		_, parts := result.Name.Parts()
		values := make(map[string]string)
		for _, p := range parts {
			name, value, _ := strings.Cut(strings.TrimPrefix(string(p), "/"), "=")
			values[name] = value
		}
		seconds, ok := result.Value("sec/op")
		if !ok || values["pass"] == "value" {
			continue
		}
		k := key{cmp.Or(values["loss"], values["metric"]), values["isa"], number(values["n"]), number(values["k"]), number(values["d"]), number(values["workers"])}
		times[k] = append(times[k], seconds)
	}
	for k, t := range times {
		slices.Sort(t)
		m.times[k] = t[len(t)/2]
	}
	return m, nil
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// title says what the figures are of.
func (m *machine) title() string {
	parts := []string{m.config["processor"], m.config["date"], strings.Replace(m.config["go"], "go", "Go ", 1)}
	for _, peer := range [...][2]string{{"openblas", "OpenBLAS"}, {"torch", "PyTorch"}, {"faiss", "faiss"}, {"gomlx", "GoMLX"}} {
		if v := m.config[peer[0]]; v != "" {
			parts = append(parts, peer[1]+" "+v)
		}
	}
	return strings.Join(parts, "; ")
}

type (
	size   struct{ n, k, d int }
	column struct{ title, what, isa string }

	// A table has a row for each size and a column for each implementation.
	table struct {
		title   string
		sizes   []size
		columns []column
	}
)

var batches = func() (all []size) {
	for _, s := range [][2]int{{32, 128}, {100, 64}, {256, 128}, {512, 768}, {1024, 128}, {1024, 768}, {2048, 384}, {4096, 128}, {4096, 512}, {4096, 768}} {
		all = append(all, size{s[0], s[0], s[1]})
	}
	return all
}()

// own are the columns of this package for a loss.
func own(loss string) []column {
	return []column{
		{"amx", loss, "amx"}, {"amx, High", loss + "-high", "amx"}, {"amx, Medium", loss + "-medium", "amx"},
		{"avx512", loss, "avx512"}, {"avx512bf16, Medium", loss + "-medium", "avx512bf16"}, {"avx2", loss, "avx2"}, {"neon", loss, "neon"}, {"generic", loss, "generic"},
	}
}

func torch(loss string) []column {
	return []column{{"PyTorch", loss, "torch"}, {"tuned", loss, "torch-tuned"}}
}

var tables = []table{
	{"InfoNCE with both gradients, ms", batches, slices.Concat(own("infonce"), []column{
		{"Go loops", "infonce", "go"}, {"vek", "infonce", "vek"}, {"gonum", "infonce", "gonum"}, {"GoMLX", "infonce", "gomlx"},
		{"OpenBLAS", "infonce", "openblas"}, {"products alone", "products", "openblas"},
	}, torch("infonce"))},
	{"CLIP with both gradients, ms", batches, slices.Concat(own("clip"), torch("clip"))},
	{"NT-Xent with all gradients, N views, ms", batches, slices.Concat(own("ntxent"), torch("ntxent"))},
	{"InfoNCE against a queue, with the gradient of the queries, ms", []size{{256, 65536, 128}}, slices.Concat(own("moco"), torch("moco"))},
	{"The 10 nearest of K keys, and the matrix product of the same size, ms", []size{{1000, 1_000_000, 128}}, []column{
		{"avx512", "topk", "avx512"}, {"product", "product", "avx512"}, {"avx2", "topk", "avx2"}, {"product", "product", "avx2"},
		{"neon", "topk", "neon"}, {"product", "product", "neon"}, {"OpenBLAS product", "product", "openblas"}, {"faiss", "topk", "faiss"},
	}},
}

// table returns the times of t in Markdown. Rows and columns without any are left out.
func (m *machine) table(t table, workers int) string {
	at := func(c column, s size) (float64, bool) {
		seconds, ok := m.times[key{c.what, c.isa, s.n, s.k, s.d, workers}]
		return seconds, ok
	}
	columns := slices.DeleteFunc(slices.Clone(t.columns), func(c column) bool {
		return !slices.ContainsFunc(t.sizes, func(s size) bool { _, ok := at(c, s); return ok })
	})
	if len(columns) == 0 {
		return ""
	}
	var b strings.Builder
	head, line := "| N | K | D |", "|---|---|---|"
	for _, c := range columns {
		head += " " + c.title + " |"
		line += "---|"
	}
	fmt.Fprintf(&b, "%s\n%s\n", head, line)
	for _, s := range t.sizes {
		if !slices.ContainsFunc(columns, func(c column) bool { _, ok := at(c, s); return ok }) {
			continue
		}
		fmt.Fprintf(&b, "| %d | %d | %d |", s.n, s.k, s.d)
		for _, c := range columns {
			cell := "–"
			if t, ok := at(c, s); ok {
				cell = milliseconds(t)
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

// milliseconds returns three digits, and all before the point.
func milliseconds(seconds float64) string {
	ms := 1000 * seconds
	switch {
	case ms >= 100:
		return strconv.FormatFloat(ms, 'f', 0, 64)
	case ms >= 10:
		return strconv.FormatFloat(ms, 'f', 1, 64)
	}
	return strconv.FormatFloat(ms, 'g', 3, 64)
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
