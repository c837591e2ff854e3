package report

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/contrastive-go/contrastive"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// check returns an error unless each row of the embeddings is finite and
// has a class.
func (r Run) check() error {
	if r.Embeddings.Rows != len(r.Labels) {
		return fmt.Errorf("Write: Embeddings has %d rows, Labels %d elements: %w", r.Embeddings.Rows, len(r.Labels), contrastive.ErrShape)
	}
	if x := r.Embeddings; x.Rows > 0 && (x.Stride < x.Cols || len(x.Data) < (x.Rows-1)*x.Stride+x.Cols) {
		return fmt.Errorf("Write: Embeddings is %d×%d with a stride of %d and %d elements of Data: %w", x.Rows, x.Cols, x.Stride, len(x.Data), contrastive.ErrShape)
	}
	for i, l := range r.Labels {
		if l < 0 || l >= len(r.Classes) {
			return fmt.Errorf("Write: Labels: element %d is %d of %d classes: %w", i, l, len(r.Classes), contrastive.ErrParameter)
		}
		for j, v := range r.Embeddings.Row(i) {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("Write: Embeddings: row %d, column %d is %v: %w", i, j, v, contrastive.ErrNotFinite)
			}
		}
	}
	return nil
}

// principal returns the rows of x, of unit norm, by their first two principal
// components, and the share of the variance that each of these has.
func principal(x contrastive.Matrix) (plotter.XYs, [2]float64, error) {
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
	var shares [2]float64
	var pc stat.PC
	if !pc.PrincipalComponents(data, nil) {
		return nil, shares, fmt.Errorf("no principal components of %d×%d representations", x.Rows, x.Cols)
	}
	variances := pc.VarsTo(nil)
	if total := floats.Sum(variances); total > 0 {
		shares = [2]float64{variances[0] / total, variances[1] / total}
	}
	var vectors, projected mat.Dense
	pc.VectorsTo(&vectors)
	projected.Mul(data, vectors.Slice(0, x.Cols, 0, 2))
	first, second := mat.Col(nil, 0, &projected), mat.Col(nil, 1, &projected)
	floats.AddConst(-stat.Mean(first, nil), first)
	floats.AddConst(-stat.Mean(second, nil), second)
	xys := make(plotter.XYs, x.Rows)
	for i := range xys {
		xys[i] = plotter.XY{X: first[i], Y: second[i]}
	}
	return xys, shares, nil
}

const (
	pictured  = 800 // images in a picture
	leastAxis = 0.1 // of a picture, so that embeddings that coincide are seen to
)

var faint = color.Gray{0xa0}

// picture draws embeddings in two dimensions: each as the name of its class, or as
// a dot if classes have long names. A few classes have a colour.
func picture(r Run) (*drawing, error) {
	x := r.Embeddings
	if x.Rows < 3 || x.Cols < 2 {
		return nil, nil
	}
	xys, shares, err := principal(x)
	if err != nil {
		return nil, err
	}
	p := newPlot("held-out images", fmt.Sprintf("first principal component, %.0f %% of the variance", 100*shares[0]),
		fmt.Sprintf("second, %.0f %%", 100*shares[1]))

	present := slices.Clone(r.Labels)
	slices.Sort(present)
	present = slices.Compact(present)
	long := slices.ContainsFunc(present, func(l int) bool { return utf8.RuneCountInString(r.Classes[l]) > 2 })
	step := (x.Rows + pictured - 1) / pictured
	points := func(wanted func(class int) bool) (at plotter.XYs, names []string) {
		for i := 0; i < x.Rows; i += step {
			if wanted(r.Labels[i]) {
				at, names = append(at, xys[i]), append(names, r.Classes[r.Labels[i]])
			}
		}
		return at, names
	}
	add := func(wanted func(class int) bool, c color.Color, size vg.Length) error {
		at, names := points(wanted)
		if len(at) == 0 {
			return nil
		}
		if long {
			return addDots(p, at, names[0], c)
		}
		return addNames(p, at, names, c, size)
	}

	highlighted := map[int]color.Color{}
	n := min(len(colours), len(present))
	for i := range n {
		highlighted[present[i*len(present)/n]] = colours[i]
	}
	size := vg.Length(12)
	if n == len(present) {
		size = 9
	}
	if err := add(func(l int) bool { return highlighted[l] == nil }, faint, 8); err != nil {
		return nil, err
	}
	for _, class := range present { // on top
		if c := highlighted[class]; c != nil {
			if err := add(func(l int) bool { return l == class }, c, size); err != nil {
				return nil, err
			}
		}
	}
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		if missing := leastAxis - (axis.Max - axis.Min); missing > 0 {
			axis.Min, axis.Max = axis.Min-missing/2, axis.Max+missing/2
		}
	}
	for _, axis := range []*plot.Axis{&p.X, &p.Y} { // room for the characters at the border
		margin := 0.03 * (axis.Max - axis.Min)
		axis.Min, axis.Max = axis.Min-margin, axis.Max+margin
	}
	if long {
		p.X.Max += 0.2 * (p.X.Max - p.X.Min) // room for the legend
	}
	return &drawing{plots: []*plot.Plot{p}, width: 6 * vg.Inch, height: 5.5 * vg.Inch}, nil
}

func addNames(p *plot.Plot, at plotter.XYs, names []string, c color.Color, size vg.Length) error {
	labels, err := plotter.NewLabels(plotter.XYLabels{XYs: at, Labels: names})
	if err != nil {
		return err
	}
	// The characters of Mono are told apart: l, I, 1 and |.
	f := font.From(plot.DefaultFont, size)
	f.Variant = "Mono"
	for i := range labels.TextStyle {
		labels.TextStyle[i] = text.Style{Color: c, Font: f, Handler: plot.DefaultTextHandler, XAlign: draw.XCenter, YAlign: draw.YCenter}
	}
	p.Add(labels)
	return nil
}

func addDots(p *plot.Plot, at plotter.XYs, name string, c color.Color) error {
	dots, err := plotter.NewScatter(at)
	if err != nil {
		return err
	}
	dots.Color, dots.Shape, dots.Radius = c, draw.CircleGlyph{}, 2
	p.Add(dots)
	if c != faint {
		p.Legend.Add(name, dots)
	}
	return nil
}
