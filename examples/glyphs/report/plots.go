package report

import (
	"fmt"
	"image/color"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/contrastive-go/contrastive"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A drawing is plots above each other.
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
		tiles := draw.Tiles{Rows: len(d.plots), Cols: 1, PadY: 16, PadTop: 4, PadBottom: 4, PadLeft: 8, PadRight: 10}
		canvas := draw.NewCanvas(out.canvas, d.width, d.height)
		rows := make([][]*plot.Plot, len(d.plots))
		for i, p := range d.plots {
			rows[i] = []*plot.Plot{p}
		}
		for i, row := range plot.Align(rows, tiles, canvas) {
			d.plots[i].Draw(row[0])
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
	p.Legend.Top, p.Legend.Padding = true, 3
	for _, style := range []*text.Style{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		style.Font.Variant = "Sans"
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = ticks{}, ticks{}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{0xe0}, color.Gray{0xe0}
	p.Add(grid)
	return p
}

// ticks are at multiples of 1, 2 or 5 times a power of ten, of which gonum's own show as
// few as two.
type ticks struct{}

func (ticks) Ticks(low, high float64) []plot.Tick {
	const most = 7
	if !(low < high) || math.IsInf(high-low, 1) {
		return plot.DefaultTicks{}.Ticks(low, high)
	}
	unit := math.Pow(10, math.Floor(math.Log10((high-low)/most)))
	step := 10 * unit
	for _, times := range []float64{1, 2, 5} {
		if (high-low)/(times*unit) <= most {
			step = times * unit
			break
		}
	}
	var all []plot.Tick
	for n := math.Ceil(low / step); n*step <= high; n++ {
		all = append(all, plot.Tick{Value: n * step, Label: number(n * step)})
	}
	return all
}

// number formats v, whose last digits are those of rounding errors.
func number(v float64) string {
	if math.Abs(v) < 1e-12 {
		v = 0
	}
	return strings.Replace(strconv.FormatFloat(v, 'g', 6, 64), "-", "−", 1)
}

// colours begin with those that colour-blind readers tell apart: Okabe and Ito (2008).
var colours = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xd5, 0x5e, 0x00, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff},
	color.RGBA{0xcc, 0x79, 0xa7, 0xff}, color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	color.RGBA{0x8c, 0x56, 0x4b, 0xff}, color.RGBA{0x5b, 0x2a, 0x86, 0xff}, color.RGBA{0x22, 0x22, 0x22, 0xff},
	color.RGBA{0xb0, 0xa0, 0x00, 0xff},
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
	d := &drawing{width: 5 * vg.Inch}
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
			if len(panel.lines) > 1 {
				p.Y.Max += 0.25 * (p.Y.Max - p.Y.Min) // room for the legend
			}
			d.plots = append(d.plots, p)
			d.height += 2.2 * vg.Inch
		}
	}
	if len(d.plots) == 0 {
		return nil, nil
	}
	return d, nil
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
	return &drawing{plots: []*plot.Plot{p}, width: 5 * vg.Inch, height: 2.8 * vg.Inch}, nil
}

// bars draws the scores.
func bars(r Run) (*drawing, error) {
	var values plotter.Values
	var names, figures []string
	var tops plotter.XYs
	var spread errorPoints
	for _, s := range r.Scores {
		if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
			continue
		}
		x := float64(len(values))
		tops = append(tops, plotter.XY{X: x, Y: s.Value + s.SD})
		spread.add(x, s)
		values, names, figures = append(values, s.Value), append(names, s.Name), append(figures, fmt.Sprintf("%.3f", s.Value))
	}
	if len(values) == 0 {
		return nil, nil
	}
	chart, err := plotter.NewBarChart(values, 28)
	if err != nil {
		return nil, err
	}
	chart.Color, chart.LineStyle.Width = colours[5], 0
	labels, err := plotter.NewLabels(plotter.XYLabels{XYs: tops, Labels: figures})
	if err != nil {
		return nil, err
	}
	labels.Offset.Y = 4
	for i := range labels.TextStyle {
		labels.TextStyle[i].Font.Variant, labels.TextStyle[i].XAlign = "Sans", draw.XCenter
	}
	p := newPlot("accuracy on held-out images", "", "share that is right")
	p.Add(chart, labels)
	if err := spread.draw(p, color.Black); err != nil {
		return nil, err
	}
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.6, float64(len(values))-0.4
	p.Y.Min, p.Y.Max = 0, 1.1
	return &drawing{plots: []*plot.Plot{p}, width: 5 * vg.Inch, height: 2.8 * vg.Inch}, nil
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
		var points plotter.XYs
		var spread errorPoints
		for k, s := range scores {
			if !math.IsNaN(s.Value) && !math.IsInf(s.Value, 0) {
				points = append(points, plotter.XY{X: x[k], Y: s.Value})
				spread.add(x[k], s)
			}
		}
		if len(points) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		c := colours[i%len(colours)]
		line.Color, dots.Color = c, c
		line.Width, dots.Shape = 1.5, plotutil.Shape(i)
		p.Add(line, dots)
		if err := spread.draw(p, c); err != nil {
			return err
		}
		p.Legend.Add(strings.ReplaceAll(name, "⁺", "+"), line, dots) // the font has no superscript plus
		drawn = true
	}
	if !drawn {
		return fmt.Errorf("Sweep: no score of %q was measured: %w", title, contrastive.ErrEmpty)
	}
	p.Y.Max += 0.08 * float64(1+len(series)) * (p.Y.Max - p.Y.Min) // room for the legend
	d := &drawing{plots: []*plot.Plot{p}, width: 7 * vg.Inch, height: 4 * vg.Inch}
	return d.save(path)
}

// errorPoints are the scores that have a deviation.
type errorPoints struct {
	plotter.XYs
	plotter.YErrors
}

func (e *errorPoints) add(x float64, s Score) {
	if s.SD > 0 {
		e.XYs = append(e.XYs, plotter.XY{X: x, Y: s.Value})
		e.YErrors = append(e.YErrors, struct{ Low, High float64 }{s.SD, s.SD})
	}
}

func (e *errorPoints) draw(p *plot.Plot, c color.Color) error {
	if len(e.XYs) == 0 {
		return nil
	}
	bars, err := plotter.NewYErrorBars(e)
	if err != nil {
		return err
	}
	bars.Color = c
	p.Add(bars)
	return nil
}

// valueTicks marks the values themselves.
type valueTicks []float64

func (v valueTicks) Ticks(_, _ float64) []plot.Tick {
	var ticks []plot.Tick
	for _, x := range v {
		ticks = append(ticks, plot.Tick{Value: x, Label: number(x)})
	}
	return ticks
}
