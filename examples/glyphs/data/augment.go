package data

import (
	"image"
	"math"
	"math/rand/v2"
	"sync"

	"golang.org/x/image/draw"
	"golang.org/x/image/math/f64"
)

// An Augmentation bounds the random changes that make a view of an image, in the
// manner of SimCLR (Chen et al., 2020, appendix A) for grey images of text: there
// are no flips, which would make b of d.
type Augmentation struct {
	Rotation float64 // greatest angle either way, in radians
	Shear    float64 // greatest horizontal shift for each unit of height, either way
	Shift    float64 // greatest shift either way, as a share of the width
	Scale    float64 // greatest change of size either way, as a share of it
	Blur     float64 // probability of a blur of one pixel
	Noise    float64 // standard deviation of the noise, of 1 for ink
	Cutout   float64 // probability of a rectangle without ink
	Contrast float64 // greatest loss of contrast, as a share of it
}

// Default is what the examples train with.
var Default = Augmentation{Rotation: 0.25, Shear: 0.2, Shift: 0.07, Scale: 0.2, Blur: 0.5, Noise: 0.05, Cutout: 0.5, Contrast: 0.5}

// scratch is the images that a view is drawn with.
type scratch struct {
	src, dst *image.Gray16
	line     []float32
}

var pool = sync.Pool{New: func() any { return new(scratch) }}

// View stores a random view of image i, of Dim values, with mean 0 and deviation
// 1. The state of r determines it.
func (a Augmentation) View(dst []float32, s *Set, i int, r *rand.Rand) {
	w := pool.Get().(*scratch)
	defer pool.Put(w)
	bounds := image.Rect(0, 0, s.Width, s.Height)
	if w.src == nil || w.src.Rect != bounds {
		w.src, w.dst = image.NewGray16(bounds), image.NewGray16(bounds)
		w.line = make([]float32, s.Width*s.Height)
	}
	symmetric := func(greatest float64) float64 { return (2*r.Float64() - 1) * greatest }

	sin, cos := math.Sincos(symmetric(a.Rotation))
	scale := 1 + symmetric(a.Scale)
	shear := symmetric(a.Shear)
	cx, cy := float64(s.Width)/2, float64(s.Height)/2
	m := f64.Aff3{scale * cos, scale * (shear*cos - sin), 0, scale * sin, scale * (shear*sin + cos), 0}
	m[2] = cx + symmetric(a.Shift)*float64(s.Width) - m[0]*cx - m[1]*cy
	m[5] = cy + symmetric(a.Shift)*float64(s.Height) - m[3]*cx - m[4]*cy

	gain := float32(1 - r.Float64()*a.Contrast)
	blur := r.Float64() < a.Blur
	var cut image.Rectangle
	if r.Float64() < a.Cutout {
		size := image.Pt(s.Width/7+r.IntN(s.Width/4+1), s.Height/7+r.IntN(s.Height/4+1))
		at := image.Pt(r.IntN(s.Width-size.X+1), r.IntN(s.Height-size.Y+1))
		cut = image.Rectangle{at, at.Add(size)}
	}

	plane := s.Width * s.Height
	for c := range s.Channels {
		from, to := s.Pixels[i][c*plane:(c+1)*plane], dst[c*plane:(c+1)*plane]
		for k, v := range from {
			u := uint16(v*0xffff + 0.5)
			w.src.Pix[2*k], w.src.Pix[2*k+1] = uint8(u>>8), uint8(u)
		}
		clear(w.dst.Pix)
		draw.ApproxBiLinear.Transform(w.dst, m, w.src, bounds, draw.Src, nil)
		for k := range to {
			u := uint16(w.dst.Pix[2*k])<<8 | uint16(w.dst.Pix[2*k+1])
			to[k] = gain * float32(u) / 0xffff
		}
		if blur {
			binomial(to, w.line, s.Width, s.Height)
		}
		for y := cut.Min.Y; y < cut.Max.Y; y++ {
			clear(to[y*s.Width+cut.Min.X : y*s.Width+cut.Max.X])
		}
	}
	for k := range dst {
		dst[k] += float32(a.Noise * r.NormFloat64())
	}
	standardise(dst)
}
