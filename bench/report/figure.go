package main

import (
	"errors"
	"image/color"
	"math"
	"os"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// colours are those of Okabe and Ito, which differ for the colour-blind, and their darker
// neighbours.
var colours = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 255}, color.RGBA{0xd5, 0x5e, 0x00, 255}, color.RGBA{0x00, 0x9e, 0x73, 255},
	color.RGBA{0xcc, 0x79, 0xa7, 255}, color.RGBA{0xe6, 0x9f, 0x00, 255}, color.RGBA{0x56, 0xb4, 0xe9, 255},
	color.RGBA{0x00, 0x00, 0x00, 255}, color.RGBA{0x80, 0x80, 0x80, 255}, color.RGBA{0x7a, 0x32, 0x00, 255}, color.RGBA{0x4b, 0x2c, 0x6b, 255},
}

// figure plots the speed of InfoNCE at 128 dimensions, counting its products alone, with a
// label at the end of each line.
func (m *machine) figure(name string) error {
	p := plot.New()
	p.Title.Text = "InfoNCE with both gradients, D = 128, one thread, " + m.config["processor"]
	p.X.Label.Text, p.Y.Label.Text = "N = K", "GFLOP/s"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker = plot.ConstantTicks{{Value: 32, Label: "32"}, {Value: 256, Label: "256"}, {Value: 1024, Label: "1024"}, {Value: 4096, Label: "4096"}}
	p.Y.Tick.Marker = plot.ConstantTicks{{Value: 1, Label: "1"}, {Value: 3, Label: "3"}, {Value: 10, Label: "10"}, {Value: 30, Label: "30"}, {Value: 100, Label: "100"}, {Value: 300, Label: "300"}}
	p.Add(plotter.NewGrid())

	type end struct {
		title string
		plotter.XY
		colour color.Color
	}
	var ends []end
	least, top := math.Inf(1), 0.0
	for _, c := range tables[0].columns {
		var points plotter.XYs
		for _, s := range batches {
			if t, ok := m.times[key{c.what, c.isa, s.n, s.k, s.d, 1}]; ok && s.d == 128 {
				y := 6 * float64(s.n) * float64(s.k) * 128 / t / 1e9
				points = append(points, plotter.XY{X: float64(s.n), Y: y})
				least, top = min(least, y), max(top, y)
			}
		}
		if len(points) < 2 {
			continue
		}
		line, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		colour := colours[len(ends)%len(colours)]
		line.Color, marks.Color, marks.Shape = colour, colour, draw.CircleGlyph{}
		line.Width = vg.Points(1.5)
		if len(ends) >= len(colours) { // the colours begin again
			line.Dashes = []vg.Length{vg.Points(4), vg.Points(2)}
		}
		p.Add(line, marks)
		ends = append(ends, end{c.title, points[len(points)-1], colour})
	}

	if len(ends) == 0 { // no loss has been measured
		return nil
	}

	// Labels that would overlap move up.
	slices.SortFunc(ends, func(a, b end) int {
		if a.Y < b.Y {
			return -1
		}
		return 1
	})
	const apart = 1.25
	for i, last := 0, map[float64]float64{}; i < len(ends); i++ {
		e := &ends[i]
		e.Y = max(e.Y, apart*last[e.X])
		last[e.X] = e.Y
		labels, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{e.XY}, Labels: []string{e.title}})
		if err != nil {
			return err
		}
		labels.Offset.X = vg.Points(6)
		labels.TextStyle[0].Color, labels.TextStyle[0].YAlign = e.colour, text.YCenter
		p.Add(labels)
		top = max(top, e.Y)
	}
	p.X.Min, p.X.Max = 28, 20000 // room for the labels
	p.Y.Min, p.Y.Max = least/1.3, top*1.3
	p.BackgroundColor = nil
	const width, height, margin = 20 * vg.Centimeter, 14 * vg.Centimeter, 3 * vg.Millimeter
	c := vgsvg.New(width, height)
	c.SetColor(color.White)
	canvas := draw.New(c)
	c.Fill(canvas.Rectangle.Path())
	p.Draw(draw.Crop(canvas, margin, -margin, margin, -margin))
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = c.WriteTo(f)
	return errors.Join(err, f.Close())
}
