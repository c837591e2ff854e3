package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/contrastive-go/contrastive/adapter"
)

// Colours that are told apart without seeing red and green, and in print: those of
// Okabe and Ito.
var (
	blue   = color.RGBA{0x00, 0x72, 0xB2, 0xFF}
	orange = color.RGBA{0xE6, 0x9F, 0x00, 0xFF}
	grey   = color.RGBA{0x99, 0x99, 0x99, 0xFF}
)

// A curve is the course of training.
type curve struct {
	loss, ndcg plotter.XYs
}

func (c *curve) add(p adapter.Progress) {
	if p.Validated && p.NDCG == p.NDCG {
		c.ndcg = append(c.ndcg, plotter.XY{X: float64(p.Step), Y: p.NDCG})
	}
	if !p.Validated && p.Step > 0 {
		c.loss = append(c.loss, plotter.XY{X: float64(p.Step), Y: p.Loss})
	}
}

// smoothed returns means of at most 200 spans of steps.
func smoothed(points plotter.XYs) plotter.XYs {
	const most = 200
	span := (len(points) + most - 1) / most
	var means plotter.XYs
	for lo := 0; lo < len(points); lo += span {
		part := points[lo:min(lo+span, len(points))]
		var m plotter.XY
		for _, p := range part {
			m.X += p.X / float64(len(part))
			m.Y += p.Y / float64(len(part))
		}
		means = append(means, m)
	}
	return means
}

// A picture is a PNG of a report.
type picture struct {
	Name, Title, Caption string
	PNG                  []byte   // of the panels beside each other
	Panels               [][]byte // one by one, which a narrow screen has below each other
}

// draw makes the images.
func (p *picture) draw(panels ...*plot.Plot) (err error) {
	if p.PNG, err = render(panels...); err != nil {
		return err
	}
	for _, panel := range panels {
		png, err := render(panel)
		if err != nil {
			return err
		}
		p.Panels = append(p.Panels, png)
	}
	return nil
}

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.TextStyle.Font.Size, p.Title.Padding = 12, vg.Points(6)
	p.Legend.Top = true
	p.Legend.TextStyle.Font.Size = 10
	p.X.Tick.Marker, p.Y.Tick.Marker = plainTicks{}, plainTicks{}
	return p
}

// plainTicks are the usual ones, with no more digits than it takes to tell them apart.
type plainTicks struct{ plot.DefaultTicks }

func (t plainTicks) Ticks(low, high float64) []plot.Tick {
	ticks := t.DefaultTicks.Ticks(low, high)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = strconv.FormatFloat(ticks[i].Value, 'g', 6, 64)
			if math.Abs(ticks[i].Value) < 1e-9*(high-low) {
				ticks[i].Label = "0"
			}
		}
	}
	return ticks
}

// render draws panels beside each other.
func render(panels ...*plot.Plot) ([]byte, error) {
	const width, height, dpi = 3.4 * vg.Inch, 2.9 * vg.Inch, 150
	canvas := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(width*vg.Length(len(panels)), height), vgimg.UseDPI(dpi))}
	tiles := draw.Tiles{Rows: 1, Cols: len(panels), PadX: vg.Points(12), PadLeft: vg.Points(4), PadRight: vg.Points(10), PadTop: vg.Points(6), PadBottom: vg.Points(4)}
	area := draw.New(canvas)
	for i, p := range panels {
		p.Draw(tiles.At(area, i, 0))
	}
	var b bytes.Buffer
	_, err := canvas.WriteTo(&b)
	return b.Bytes(), err
}

// learningCurve shows the loss, and the nDCG of the validation queries.
func learningCurve(c curve, best float64) (picture, error) {
	loss := newPlot("loss of the training batches", "step", "nats")
	line, err := plotter.NewLine(smoothed(c.loss))
	if err != nil {
		return picture{}, err
	}
	line.Color, line.Width = blue, vg.Points(1.5)
	loss.Add(plotter.NewGrid(), line)
	panels := []*plot.Plot{loss}
	if len(c.ndcg) > 0 {
		p := newPlot("nDCG@10 of the validation queries", "step", "nDCG@10")
		line, dots, err := plotter.NewLinePoints(c.ndcg)
		if err != nil {
			return picture{}, err
		}
		line.Color, line.Width, dots.Color, dots.Shape, dots.Radius = orange, vg.Points(1.5), orange, draw.CircleGlyph{}, vg.Points(2)
		p.Add(plotter.NewGrid(), line, dots)
		panels = append(panels, p)
	}
	p := picture{Name: "learning-curve.png", Title: "Learning curve", Caption: fmt.Sprintf(
		"The loss of the batches, averaged over neighbouring steps, and the nDCG@10 of the validation queries, after each epoch; the adapter is that of the best one, %.3f.", best)}
	return p, p.draw(panels...)
}

// histograms show cosines of queries with documents, before and after.
func histograms(e *evaluation) (picture, error) {
	panel := func(title string, relevant, random []float64) (*plot.Plot, error) {
		p := newPlot(title, "cosine", "share of the pairs")
		low, high := math.Inf(1), math.Inf(-1)
		for _, values := range [][]float64{e.relevant.before, e.relevant.after, e.random.before, e.random.after} {
			for _, v := range values {
				low, high = min(low, v), max(high, v)
			}
		}
		if high-low < 1e-6 {
			low, high = low-0.5, high+0.5
		}
		const bins = 30
		for _, set := range []struct {
			name   string
			values []float64
			color  color.RGBA
		}{{"another document", random, grey}, {"a relevant one", relevant, blue}} {
			shares := make(plotter.XYs, 0, 2*bins+2)
			counts := make([]float64, bins)
			for _, v := range set.values {
				counts[min(int((v-low)/(high-low)*bins), bins-1)] += 1 / float64(len(set.values))
			}
			width := (high - low) / bins
			shares = append(shares, plotter.XY{X: low})
			for b, c := range counts {
				shares = append(shares, plotter.XY{X: low + float64(b)*width, Y: c}, plotter.XY{X: low + float64(b+1)*width, Y: c})
			}
			shares = append(shares, plotter.XY{X: high})
			outline, err := plotter.NewPolygon(shares)
			if err != nil {
				return nil, err
			}
			fill := set.color
			fill.A = 0x60
			outline.Color = premultiplied(fill)
			outline.LineStyle.Color, outline.LineStyle.Width = set.color, vg.Points(1)
			p.Add(outline)
			p.Legend.Add(set.name, outline)
		}
		p.X.Min, p.X.Max, p.Y.Min = low, high, 0
		p.Y.Max *= 1.3 // room for the legend
		return p, nil
	}
	before, err := panel("before", e.relevant.before, e.random.before)
	if err != nil {
		return picture{}, err
	}
	after, err := panel("after", e.relevant.after, e.random.after)
	if err != nil {
		return picture{}, err
	}
	before.Y.Max = max(before.Y.Max, after.Y.Max)
	after.Y.Max = before.Y.Max
	p := picture{Name: "similarities.png", Title: "Similarities", Caption: fmt.Sprintf(
		"Cosines of %d test queries with a relevant document (blue) and with a random other one (grey), before and after. The less they overlap, the better.", len(e.pictured))}
	return p, p.draw(before, after)
}

func premultiplied(c color.RGBA) color.RGBA {
	mul := func(v uint8) uint8 { return uint8(int(v) * int(c.A) / 255) }
	return color.RGBA{mul(c.R), mul(c.G), mul(c.B), c.A}
}

// plane shows queries and the documents that answer them in the plane of the two greatest
// principal components of all of them, before and after.
func plane(e *evaluation) (picture, error) {
	const most = 60 // lines that can be told apart
	pairs := e.pictured[:min(most, len(e.pictured))]
	rows := make([][]float32, 0, 4*len(pairs))
	for _, p := range pairs {
		rows = append(rows, p.queryBefore, p.documentBefore, p.queryAfter, p.documentAfter)
	}
	points, err := principal(rows)
	if err != nil {
		return picture{}, err
	}
	panel := func(title string, first int) (*plot.Plot, error) {
		p := newPlot(title, "first component", "second component")
		var queries, documents plotter.XYs
		for i := range pairs {
			q, d := points[4*i+first], points[4*i+first+1]
			line, err := plotter.NewLine(plotter.XYs{q, d})
			if err != nil {
				return nil, err
			}
			line.Color, line.Width = grey, vg.Points(0.6)
			p.Add(line)
			queries, documents = append(queries, q), append(documents, d)
		}
		for _, set := range []struct {
			name   string
			points plotter.XYs
			color  color.RGBA
			shape  draw.GlyphDrawer
		}{{"query", queries, orange, draw.CircleGlyph{}}, {"its document", documents, blue, draw.BoxGlyph{}}} {
			s, err := plotter.NewScatter(set.points)
			if err != nil {
				return nil, err
			}
			s.Color, s.Shape, s.Radius = set.color, set.shape, vg.Points(2.2)
			p.Add(s)
			p.Legend.Add(set.name, s)
		}
		return p, nil
	}
	before, err := panel("before", 0)
	if err != nil {
		return picture{}, err
	}
	after, err := panel("after", 2)
	if err != nil {
		return picture{}, err
	}
	for _, p := range []*plot.Plot{before, after} {
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = bounds(points)
	}
	p := picture{Name: "plane.png", Title: "In two dimensions", Caption: fmt.Sprintf(
		"%d test queries, each tied to a document that answers it, in the plane in which all of these vary most. Most of what tells vectors apart is in the other dimensions: short lines are good, long ones no proof of the contrary.", len(pairs))}
	return p, p.draw(before, after)
}

func bounds(points plotter.XYs) (xmin, xmax, ymin, ymax float64) {
	xmin, xmax, ymin, ymax = math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, p := range points {
		xmin, xmax, ymin, ymax = min(xmin, p.X), max(xmax, p.X), min(ymin, p.Y), max(ymax, p.Y)
	}
	const margin = 0.06
	dx, dy := max(xmax-xmin, 1e-6), max(ymax-ymin, 1e-6)
	// The legend is at the top.
	return xmin - margin*dx, xmax + margin*dx, ymin - margin*dy, ymax + 4*margin*dy
}

// principal projects rows, scaled to unit length, to their first two principal
// components.
func principal(rows [][]float32) (plotter.XYs, error) {
	dim := len(rows[0])
	x := mat.NewDense(len(rows), dim, nil)
	for i, row := range rows {
		norm := 0.0
		for _, v := range row {
			norm += float64(v) * float64(v)
		}
		if norm == 0 {
			norm = 1
		}
		for j, v := range row {
			x.Set(i, j, float64(v)/math.Sqrt(norm))
		}
	}
	points := make(plotter.XYs, len(rows))
	if len(rows) < 3 || dim < 2 {
		for i := range points {
			points[i] = plotter.XY{X: x.At(i, 0)}
		}
		return points, nil
	}
	var pc stat.PC
	if !pc.PrincipalComponents(x, nil) {
		return nil, fmt.Errorf("the principal components of %d vectors do not converge", len(rows))
	}
	var vectors, projected mat.Dense
	pc.VectorsTo(&vectors)
	projected.Mul(x, vectors.Slice(0, dim, 0, 2))
	for i := range points {
		points[i] = plotter.XY{X: projected.At(i, 0), Y: projected.At(i, 1)}
	}
	return points, nil
}
