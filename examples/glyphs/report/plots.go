package report

import (
	"fmt"
	"image/color"
	"maps"
	"math"
	"os"
	"slices"

	"github.com/contrastive-go/contrastive"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A drawing is plots side by side.
type drawing struct {
	plots         []*plot.Plot
	width, height vg.Length
}

// save writes d as path.png and path.svg.
func (d *drawing) save(path string) error {
	image := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(d.width, d.height), vgimg.UseDPI(144), vgimg.UseBackgroundColor(color.White))}
	vector := vgsvg.New(d.width, d.height)
	for _, out := range []struct {
		extension string
		canvas    vg.CanvasWriterTo
	}{{".png", image}, {".svg", vector}} {
		tiles := draw.Tiles{Rows: 1, Cols: len(d.plots), PadX: 20, PadTop: 4, PadBottom: 4, PadLeft: 8, PadRight: 10}
		canvas := draw.NewCanvas(out.canvas, d.width, d.height)
		for i, c := range plot.Align([][]*plot.Plot{d.plots}, tiles, canvas)[0] {
			d.plots[i].Draw(c)
		}
		f, err := os.Create(path + out.extension)
		if err != nil {
			return err
		}
		if _, err := out.canvas.WriteTo(f); err != nil {
			f.Close()
			return fmt.Errorf("%s%s: %w", path, out.extension, err)
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding = 6
	p.Add(plotter.NewGrid())
	p.Legend.Top = true
	return p
}

// colours are told apart by most colour-blind readers: Okabe and Ito (2008).
var colours = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff},
	color.RGBA{0xcc, 0x79, 0xa7, 0xff}, color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	color.RGBA{0x8c, 0x56, 0x4b, 0xff}, color.RGBA{0x5b, 0x2a, 0x86, 0xff},
}

// finitePoints returns those of a curve that can be drawn.
func finitePoints(history []Point, value func(Point) float64) plotter.XYs {
	var xys plotter.XYs
	for _, p := range history {
		if v := value(p); !math.IsNaN(v) && !math.IsInf(v, 0) {
			xys = append(xys, plotter.XY{X: float64(p.Step), Y: v})
		}
	}
	return xys
}

// curves draws how the run went.
func curves(r Run) (*drawing, error) {
	d := &drawing{width: 10 * vg.Inch, height: 3 * vg.Inch}
	type curve struct {
		name  string
		value func(Point) float64
	}
	for _, panel := range []struct {
		title string
		lines []curve
	}{
		{"loss", []curve{{"", func(p Point) float64 { return p.Loss }}}},
		{"alignment and uniformity", []curve{
			{"alignment", func(p Point) float64 { return p.Alignment }},
			{"uniformity", func(p Point) float64 { return p.Uniformity }},
		}},
		{"effective rank", []curve{{"", func(p Point) float64 { return p.EffectiveRank }}}},
	} {
		p := newPlot(panel.title, "step", "")
		drawn := false
		for i, l := range panel.lines {
			xys := finitePoints(r.History, l.value)
			if len(xys) == 0 {
				continue
			}
			line, err := plotter.NewLine(xys)
			if err != nil {
				return nil, err
			}
			line.Color, line.Width = colours[i], 1.5
			p.Add(line)
			if l.name != "" {
				p.Legend.Add(l.name, line)
			}
			drawn = true
		}
		if drawn {
			d.plots = append(d.plots, p)
		}
	}
	if len(d.plots) == 0 {
		return nil, nil
	}
	return d, nil
}

// principal returns the rows of x, of unit norm, by their first two principal
// components.
func principal(x contrastive.Matrix) (plotter.XYs, error) {
	data := mat.NewDense(x.Rows, x.Cols, nil)
	for i := range x.Rows {
		norm := 0.0
		for _, v := range x.Row(i) {
			norm += float64(v) * float64(v)
		}
		norm = math.Max(math.Sqrt(norm), math.SmallestNonzeroFloat32)
		for j, v := range x.Row(i) {
			data.Set(i, j, float64(v)/norm)
		}
	}
	var pc stat.PC
	if !pc.PrincipalComponents(data, nil) {
		return nil, fmt.Errorf("no principal components of %d×%d representations", x.Rows, x.Cols)
	}
	var vectors, projected mat.Dense
	pc.VectorsTo(&vectors)
	projected.Mul(data, vectors.Slice(0, x.Cols, 0, 2))
	xys := make(plotter.XYs, x.Rows)
	for i := range xys {
		xys[i] = plotter.XY{X: projected.At(i, 0), Y: projected.At(i, 1)}
	}
	return xys, nil
}

const (
	pictured    = 800 // images in a picture
	highlighted = 8   // classes with a colour
)

// checkPicture returns an error unless each row of the embeddings is finite and
// has a class.
func checkPicture(r Run) error {
	if r.Embeddings.Rows != len(r.Labels) {
		return fmt.Errorf("Embeddings has %d rows, Labels %d elements: %w", r.Embeddings.Rows, len(r.Labels), contrastive.ErrShape)
	}
	for i, l := range r.Labels {
		if l < 0 || l >= len(r.Classes) {
			return fmt.Errorf("Labels: element %d is %d of %d classes: %w", i, l, len(r.Classes), contrastive.ErrParameter)
		}
		for j, v := range r.Embeddings.Row(i) {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("Embeddings: row %d, column %d is %v: %w", i, j, v, contrastive.ErrNotFinite)
			}
		}
	}
	return nil
}

// picture draws embeddings in two dimensions, each as the name of its class.
func picture(r Run) (*drawing, error) {
	if err := checkPicture(r); err != nil {
		return nil, err
	}
	x := r.Embeddings
	if x.Rows < 3 || x.Cols < 2 {
		return nil, nil
	}
	xys, err := principal(x)
	if err != nil {
		return nil, err
	}
	step := max(1, (x.Rows+pictured-1)/pictured)
	var points plotter.XYs
	var names []string
	var styles []text.Style
	present := slices.Clone(r.Labels)
	slices.Sort(present)
	present = slices.Compact(present)
	colour := map[int]color.Color{}
	for i := range highlighted {
		colour[present[i*len(present)/highlighted]] = colours[i]
	}
	faint := color.Gray{0xb8}
	for _, bright := range []bool{false, true} { // on top
		for i := 0; i < x.Rows; i += step {
			c, ok := colour[r.Labels[i]]
			if ok != bright {
				continue
			}
			style := text.Style{Color: faint, Font: font.From(plot.DefaultFont, 8), Handler: plot.DefaultTextHandler, XAlign: draw.XCenter, YAlign: draw.YCenter}
			if ok {
				style.Color, style.Font.Size = c, 12
			}
			points, names, styles = append(points, xys[i]), append(names, r.Classes[r.Labels[i]]), append(styles, style)
		}
	}
	labels, err := plotter.NewLabels(plotter.XYLabels{XYs: points, Labels: names})
	if err != nil {
		return nil, err
	}
	labels.TextStyle = styles
	p := newPlot("held-out images", "first principal component", "second")
	p.Add(labels)
	return &drawing{plots: []*plot.Plot{p}, width: 8 * vg.Inch, height: 6.5 * vg.Inch}, nil
}

// histogram draws the similarities of pairs.
func histogram(r Run) (*drawing, error) {
	const bins = 50
	p := newPlot("cosines of pairs", "cosine", "share of pairs")
	drawn := false
	for i, pairs := range []struct {
		name   string
		values []float64
	}{{"two classes", r.Negative}, {"one class", r.Positive}} {
		if len(pairs.values) == 0 {
			continue
		}
		counts := make([]float64, bins)
		for _, v := range pairs.values {
			counts[min(bins-1, max(0, int((v+1)/2*bins)))] += 1 / float64(len(pairs.values))
		}
		h := &plotter.Histogram{Width: 2. / bins, LineStyle: plotter.DefaultLineStyle}
		for k, n := range counts {
			h.Bins = append(h.Bins, plotter.HistogramBin{Min: -1 + 2*float64(k)/bins, Max: -1 + 2*float64(k+1)/bins, Weight: n})
		}
		c := colours[1-i].(color.RGBA)
		h.FillColor = color.NRGBA{c.R, c.G, c.B, 0x99}
		h.LineStyle.Width = 0
		p.Add(h)
		p.Legend.Add(pairs.name, h)
		drawn = true
	}
	if !drawn {
		return nil, nil
	}
	p.Legend.Left = true
	p.X.Min, p.X.Max, p.Y.Min = -1, 1, 0
	return &drawing{plots: []*plot.Plot{p}, width: 7 * vg.Inch, height: 3.2 * vg.Inch}, nil
}

// bars draws the scores.
func bars(r Run) (*drawing, error) {
	var values plotter.Values
	var names []string
	for _, s := range r.Scores {
		if !math.IsNaN(s.Value) {
			values, names = append(values, s.Value), append(names, s.Name)
		}
	}
	if len(values) == 0 {
		return nil, nil
	}
	chart, err := plotter.NewBarChart(values, 34)
	if err != nil {
		return nil, err
	}
	chart.Color, chart.LineStyle.Width = colours[0], 0
	p := plot.New()
	p.Title.Text = "accuracy on held-out images"
	p.Add(chart)
	tops := make(plotter.XYs, len(values))
	figures := make([]string, len(values))
	for i, v := range values {
		tops[i], figures[i] = plotter.XY{X: float64(i), Y: v}, fmt.Sprintf("%.3f", v)
	}
	labels, err := plotter.NewLabels(plotter.XYLabels{XYs: tops, Labels: figures})
	if err != nil {
		return nil, err
	}
	for i := range labels.TextStyle {
		labels.TextStyle[i].XAlign, labels.TextStyle[i].YAlign = draw.XCenter, draw.YBottom
	}
	p.Add(labels)
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.6, float64(len(values))-0.4
	p.Y.Min, p.Y.Max = 0, 1.05
	return &drawing{plots: []*plot.Plot{p}, width: 7 * vg.Inch, height: 3.2 * vg.Inch}, nil
}

// Sweep draws scores against what was varied, with error bars of a standard
// deviation, as path.png and path.svg. Each series has a score for each x.
func Sweep(path, title, xlabel string, log bool, x []float64, series map[string][]Score) error {
	p := newPlot(title, xlabel, "")
	if log {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, valueTicks(x)
	}
	for i, v := range x {
		if log && !(v > 0) || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("Sweep: element %d of x is %v, which has no place on the axis: %w", i, v, contrastive.ErrParameter)
		}
	}
	drawn := false
	for i, name := range slices.Sorted(maps.Keys(series)) {
		scores := series[name]
		if len(scores) != len(x) {
			return fmt.Errorf("Sweep: %s has %d scores for %d values: %w", name, len(scores), len(x), contrastive.ErrShape)
		}
		var points errorPoints
		for k, s := range scores {
			if !math.IsNaN(s.Value) && !math.IsInf(s.Value, 0) {
				points.XYs = append(points.XYs, plotter.XY{X: x[k], Y: s.Value})
				points.YErrors = append(points.YErrors, struct{ Low, High float64 }{s.SD, s.SD})
			}
		}
		if len(points.XYs) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		spread, err := plotter.NewYErrorBars(points)
		if err != nil {
			return err
		}
		line.Color, dots.Color, spread.Color = colours[i%len(colours)], colours[i%len(colours)], colours[i%len(colours)]
		line.Width, dots.Shape = 1.5, plotutil.Shape(i)
		p.Add(line, dots, spread)
		p.Legend.Add(name, line, dots)
		drawn = true
	}
	if !drawn {
		return fmt.Errorf("Sweep: no score of %q was measured: %w", title, contrastive.ErrEmpty)
	}
	p.Y.Max += 0.12 * (p.Y.Max - p.Y.Min) // room for the legend
	d := &drawing{plots: []*plot.Plot{p}, width: 7 * vg.Inch, height: 4 * vg.Inch}
	return d.save(path)
}

type errorPoints struct {
	plotter.XYs
	plotter.YErrors
}

// valueTicks marks the values themselves.
type valueTicks []float64

func (v valueTicks) Ticks(_, _ float64) []plot.Tick {
	var ticks []plot.Tick
	for _, x := range v {
		ticks = append(ticks, plot.Tick{Value: x, Label: fmt.Sprintf("%g", x)})
	}
	return ticks
}
