// Package report writes what a training run came to: plots, and a page that holds
// them.
package report

import (
	"fmt"
	"html/template"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/contrastive-go/contrastive"

	_ "embed"
)

// A Point is the state of a run after a step.
type Point struct {
	Step                                                              int
	Loss, Accuracy, Temperature, Alignment, Uniformity, EffectiveRank float64
}

// A Score is a measured value, a share for accuracies, and its standard deviation,
// 0 if there is none. A Value that is NaN was not measured.
type Score struct {
	Name      string
	Value, SD float64
}

func (s Score) String() string {
	digits := 3
	if math.Abs(s.Value) >= 5 { // seconds or a rank
		digits = 1
	}
	switch {
	case math.IsNaN(s.Value):
		return "–"
	case s.SD > 0:
		return fmt.Sprintf("%.*f ± %.*f", digits, s.Value, digits, s.SD)
	}
	return fmt.Sprintf("%.*f", digits, s.Value)
}

// A Run is what there is to show of one.
type Run struct {
	Method    string
	Made      string      // when, and with what
	Settings  [][2]string // names and values
	History   []Point
	Scores    []Score
	Baselines []Row  // what Scores are compared with, with cells for each of them
	ScoreNote string // what the deviations of Scores are
	HeldOut   string // what is evaluated

	// Embeddings, Labels and Classes are of held-out images.
	Embeddings contrastive.Matrix
	Labels     []int
	Classes    []string

	Positive, Negative []float64 // cosines of pairs
	Collapse           string    // what the monitor said, if anything
}

// A Table is scores of several runs.
type Table struct {
	Title   string
	Columns []string
	Rows    []Row
}

// A Row is one of a Table, with a cell for each column.
type Row struct {
	Name  string
	Cells []Score
}

// Markdown returns t in GitHub's Markdown.
func (t Table) Markdown() string {
	var b strings.Builder
	if t.Title != "" {
		fmt.Fprintf(&b, "%s\n\n", t.Title)
	}
	fmt.Fprintf(&b, "| | %s |\n|---|%s\n", strings.Join(t.Columns, " | "), strings.Repeat("---|", len(t.Columns)))
	for _, r := range t.Rows {
		cells := []string{r.Name}
		for _, c := range r.Cells {
			cells = append(cells, c.String())
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	return b.String()
}

func (r Run) heldOut() string {
	if r.HeldOut == "" {
		return "held-out images"
	}
	return r.HeldOut
}

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Parse(page))

// Write writes the plots of r to dir, which it makes, each as PNG and SVG, and
// report.html, which shows them.
func Write(dir string, r Run) error {
	if err := r.check(); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	type figure struct{ Name, Caption string }
	var figures []figure
	for _, f := range []struct {
		figure
		draw func(Run) (*drawing, error)
	}{
		{figure{"loss", "From above: the loss of each step; alignment, the mean squared distance between two views of an image, which should fall, and uniformity, which is lower the more evenly embeddings fill the sphere; and effective rank, about how many dimensions the embeddings use."}, curves},
		{figure{"embeddings", "Representations of " + r.heldOut() + ", by their first two principal components. Each is drawn as the character that it shows. Ten classes have a colour each, the others are grey."}, picture},
		{figure{"similarities", "How similar pairs of held-out images are: two of the same class should be more similar than two of different classes."}, histogram},
		{figure{"scores", "Share of held-out images whose class is found."}, bars},
	} {
		d, err := f.draw(r)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		if d == nil {
			continue // nothing to show
		}
		if err := d.save(filepath.Join(dir, f.Name)); err != nil {
			return err
		}
		figures = append(figures, f.figure)
	}
	f, err := os.Create(filepath.Join(dir, "report.html"))
	if err != nil {
		return err
	}
	data := struct {
		Run
		Figures []figure
		Last    *Point
		Steps   int
	}{Run: r, Figures: figures}
	if n := len(r.History); n > 0 {
		data.Last = &r.History[n-1]
		data.Steps = data.Last.Step + 1
	}
	if err := pageTemplate.Execute(f, data); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
