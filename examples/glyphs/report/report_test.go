package report

import (
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
)

func example() Run {
	r := rand.New(rand.NewPCG(1, 2))
	run := Run{
		Method: "SimCLR & <co>", Settings: [][2]string{{"batch", "256"}},
		Scores:     []Score{{Name: "1-NN", Value: 0.75, SD: 0.01}, {Name: "zero-shot", Value: math.NaN()}},
		Embeddings: contrastive.NewMatrix(120, 8), Classes: []string{"<", "&", "a", "b", "c", "d", "e", "f", "g", "h"},
		Collapse: "collapsed at step 12",
	}
	for step := range 30 {
		run.History = append(run.History, Point{Step: step, Loss: 5 - float64(step)/10, Uniformity: -2, Alignment: 0.5, EffectiveRank: 7})
	}
	run.History[3].Uniformity = math.Inf(-1)
	for i := range run.Embeddings.Rows {
		run.Labels = append(run.Labels, i%10)
		for j := range 8 {
			run.Embeddings.Row(i)[j] = float32(r.NormFloat64())
		}
		run.Positive = append(run.Positive, math.Tanh(1+0.3*r.NormFloat64()))
		run.Negative = append(run.Negative, math.Tanh(0.3*r.NormFloat64()))
	}
	return run
}

// checkImages fails t unless the PNG has colours and the SVG is well-formed.
func checkImages(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path + ".png")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	im, err := png.Decode(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	colours := map[any]bool{}
	for y := range im.Bounds().Dy() {
		for x := range im.Bounds().Dx() {
			colours[im.At(x, y)] = true
		}
	}
	if len(colours) < 8 {
		t.Errorf("%s.png has %d colours", path, len(colours))
	}
	svg, err := os.Open(path + ".svg")
	if err != nil {
		t.Fatal(err)
	}
	defer svg.Close()
	d := xml.NewDecoder(svg)
	elements := 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%s.svg: %v", path, err)
		}
		if _, ok := token.(xml.StartElement); ok {
			elements++
		}
	}
	if elements < 20 {
		t.Errorf("%s.svg has %d elements", path, elements)
	}
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	r := example()
	r.Made, r.HeldOut, r.ScoreNote = "1 May 2030, a processor", "3 images in 2 views", "± is a deviation"
	r.Baselines = []Row{{"pixels", make([]Score, len(r.Scores))}, {"chance", make([]Score, len(r.Scores))}}
	r.Baselines[0].Cells[0].Value, r.Baselines[1].Cells[0].Value = 0.25, 0.125
	if err := Write(dir, r); err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"loss", "embeddings", "similarities", "scores"} {
		checkImages(t, filepath.Join(dir, name))
		if !strings.Contains(string(html), `src="`+name+`.svg"`) {
			t.Errorf("the page does not show %s", name)
		}
	}
	for _, part := range []string{"<h1>SimCLR &amp; &lt;co&gt;</h1>", "0.750 ± 0.010", "collapsed at step 12", "<th>batch<td>256", "After 30 steps",
		"1 May 2030, a processor", "<p>3 images in 2 views.</p>", "Representations of 3 images in 2 views", "± is a deviation",
		`<th class="number">pixels<th class="number">chance`, `0.750 ± 0.010<td class="number">0.250<td class="number">0.125`} {
		if !strings.Contains(string(html), part) {
			t.Errorf("the page has no %q: %s", part, html)
		}
	}
}

// What was not measured is left out.
func TestWriteLittle(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, Run{Method: "random"}); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != "report.html" {
		t.Errorf("%v, %v", files, err)
	}
}

func TestMarkdown(t *testing.T) {
	table := Table{Title: "Accuracy", Columns: []string{"1-NN", "linear"}, Rows: []Row{
		{"pixels", []Score{{Value: 0.5}, {Value: math.NaN()}}},
		{"SimCLR", []Score{{Value: 0.75, SD: 0.0125}, {Value: 1}}},
	}}
	const want = "Accuracy\n\n| | 1-NN | linear |\n|---|---|---|\n| pixels | 0.500 | – |\n| SimCLR | 0.750 ± 0.013 | 1.000 |\n"
	if got := table.Markdown(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSweep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sweep")
	x := []float64{0.05, 0.1, 0.5}
	series := map[string][]Score{
		"accuracy":   {{Value: 0.5, SD: 0.1}, {Value: 0.7}, {Value: math.NaN()}},
		"uniformity": {{Value: -3}, {Value: -2}, {Value: -1, SD: 0.2}},
	}
	if err := Sweep(path, "title", "τ", true, x, series); err != nil {
		t.Fatal(err)
	}
	checkImages(t, path)
	for _, c := range []struct {
		name   string
		x      []float64
		log    bool
		series map[string][]Score
		want   error
	}{
		{"series of another length", x[:2], false, series, contrastive.ErrShape},
		{"0 on a logarithmic axis", []float64{0, 1, 2}, true, series, contrastive.ErrParameter},
		{"NaN", []float64{0, math.NaN(), 2}, false, series, contrastive.ErrParameter},
		{"nothing measured", x[:1], false, map[string][]Score{"a": {{Value: math.NaN()}}}, contrastive.ErrEmpty},
		{"no series", x, false, nil, contrastive.ErrEmpty},
	} {
		bad := filepath.Join(t.TempDir(), "bad")
		if err := Sweep(bad, "title", "x", c.log, c.x, c.series); !errors.Is(err, c.want) {
			t.Errorf("%s: error is %v, want %v", c.name, err, c.want)
		}
		if _, err := os.Stat(bad + ".png"); err == nil {
			t.Errorf("%s: a plot was written", c.name)
		}
	}
}

func TestWriteErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Run)
		want   error
	}{
		{"labels", func(r *Run) { r.Labels = r.Labels[1:] }, contrastive.ErrShape},
		{"data", func(r *Run) { r.Embeddings.Data = r.Embeddings.Data[1:] }, contrastive.ErrShape},
		{"stride", func(r *Run) { r.Embeddings.Stride-- }, contrastive.ErrShape},
		{"class", func(r *Run) { r.Labels[5] = 10 }, contrastive.ErrParameter},
		{"negative class", func(r *Run) { r.Labels[5] = -1 }, contrastive.ErrParameter},
		{"NaN", func(r *Run) { r.Embeddings.Row(4)[2] = float32(math.NaN()) }, contrastive.ErrNotFinite},
	} {
		run := example()
		c.change(&run)
		dir := filepath.Join(t.TempDir(), "report")
		if err := Write(dir, run); !errors.Is(err, c.want) {
			t.Errorf("%s: error is %v, want %v", c.name, err, c.want)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: a directory was made", c.name)
		}
	}
}

// Classes with long names are dots with a legend, and embeddings that coincide have
// a picture like others.
func TestPictures(t *testing.T) {
	long := example()
	for i := range long.Classes {
		long.Classes[i] = "class " + long.Classes[i]
	}
	collapsed := example()
	for i := range collapsed.Embeddings.Rows {
		copy(collapsed.Embeddings.Row(i), collapsed.Embeddings.Row(0))
	}
	many := example()
	many.Classes = strings.Split("ABCDEFGHIJKLMNOPQRSTUVWXYZabcd", "")
	for i := range many.Labels {
		many.Labels[i] = i % 30
	}
	for name, run := range map[string]Run{"long": long, "collapsed": collapsed, "many": many} {
		dir := t.TempDir()
		if err := Write(dir, run); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		checkImages(t, filepath.Join(dir, "embeddings"))
		svg, err := os.ReadFile(filepath.Join(dir, "embeddings.svg"))
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		if name == "long" {
			want = 1
		}
		if got := strings.Count(string(svg), ">class a<"); got != want {
			t.Errorf("%s: the legend has class a %d times", name, got)
		}
	}
}

// The first two components of points in a plane are the plane.
func TestPrincipal(t *testing.T) {
	x := contrastive.NewMatrix(40, 5)
	for i := range x.Rows {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / float64(x.Rows))
		// An ellipse in the second and fourth dimension, on the unit sphere by the last.
		a, b := 0.8*cos, 0.3*sin
		x.Row(i)[1], x.Row(i)[3] = float32(a), float32(b)
		x.Row(i)[4] = float32(math.Sqrt(1 - a*a - b*b))
	}
	at, shares, err := principal(x)
	if err != nil {
		t.Fatal(err)
	}
	sign := math.Copysign(1, at[0].X)
	for i := range at {
		if d := math.Abs(sign*at[i].X - float64(x.Row(i)[1])); d > 1e-6 {
			t.Fatalf("point %d is %v away from the long axis of the ellipse", i, d)
		}
	}
	if !(shares[0] > shares[1]) || !(shares[1] > 0) || shares[0]+shares[1] > 1 {
		t.Errorf("shares of the variance are %v", shares)
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		want      string
	}{
		{0.466, 0.788, "0.5 0.55 0.6 0.65 0.7 0.75"},
		{-3.3, -1.9, "−3.2 −3 −2.8 −2.6 −2.4 −2.2 −2"},
		{0, 300, "0 50 100 150 200 250 300"},
		{-1.1, 1.1, "−1 −0.5 0 0.5 1"},
		{1.4e-5, 4.2e-5, "1.5e−05 2e−05 2.5e−05 3e−05 3.5e−05 4e−05"},
	} {
		var labels []string
		for _, tick := range (ticks{}).Ticks(c.low, c.high) {
			labels = append(labels, tick.Label)
		}
		if got := strings.Join(labels, " "); got != c.want {
			t.Errorf("from %v to %v: %s, want %s", c.low, c.high, got, c.want)
		}
	}
}
