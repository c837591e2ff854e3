// Package data holds sets of small images: glyphs that it renders from the Go
// fonts, and those of MNIST and CIFAR-10 files, and random views of them.
package data

import (
	"fmt"
	"image"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gobolditalic"
	"golang.org/x/image/font/gofont/goitalic"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/gofont/gomediumitalic"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/gomonobold"
	"golang.org/x/image/font/gofont/gomonobolditalic"
	"golang.org/x/image/font/gofont/gomonoitalic"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/gofont/gosmallcaps"
	"golang.org/x/image/font/gofont/gosmallcapsitalic"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// A Set is images with labels.
type Set struct {
	Width, Height, Channels int
	Pixels                  [][]float32 // one image each: Channels planes of Height rows of Width, from 0 to 1
	Labels                  []int       // index into Classes
	Classes                 []string
	Style                   []int // index into Styles; nil for images from files
	Styles                  []string
}

// Len returns the number of images, and Dim that of the values of each.
func (s *Set) Len() int { return len(s.Pixels) }
func (s *Set) Dim() int { return s.Width * s.Height * s.Channels }

var fonts = []struct {
	name string
	ttf  []byte
	test bool
}{
	{"regular", goregular.TTF, false},
	{"italic", goitalic.TTF, true},
	{"medium", gomedium.TTF, false},
	{"medium italic", gomediumitalic.TTF, false},
	{"bold", gobold.TTF, false},
	{"bold italic", gobolditalic.TTF, false},
	{"mono", gomono.TTF, false},
	{"mono italic", gomonoitalic.TTF, false},
	{"mono bold", gomonobold.TTF, true},
	{"mono bold italic", gomonobolditalic.TTF, false},
	{"small caps", gosmallcaps.TTF, false},
	{"small caps italic", gosmallcapsitalic.TTF, false},
}

// Glyphs are rendered to images of size pixels a side, at a size of points.
const (
	size   = 28
	points = 24
)

// Glyphs renders the 94 printable ASCII characters in the 12 Go fonts of
// golang.org/x/image/font/gofont: white on black, centred. Two fonts, an italic and
// a bold monospaced one, are held out for the test set.
func Glyphs() (train, test *Set, err error) {
	newSet := func() *Set { return &Set{Width: size, Height: size, Channels: 1} }
	train, test = newSet(), newSet()
	for r := '!'; r <= '~'; r++ {
		train.Classes = append(train.Classes, string(r))
	}
	test.Classes = train.Classes
	for i, f := range fonts {
		train.Styles = append(train.Styles, f.name)
		set := train
		if f.test {
			set = test
		}
		if err := set.render(f.ttf, i); err != nil {
			return nil, nil, fmt.Errorf("font Go %s: %w", f.name, err)
		}
	}
	test.Styles = train.Styles
	return train, test, nil
}

func (s *Set) render(ttf []byte, style int) error {
	parsed, err := opentype.Parse(ttf)
	if err != nil {
		return err
	}
	face, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: points, DPI: 72})
	if err != nil {
		return err
	}
	defer face.Close()
	for label, text := range s.Classes {
		r := []rune(text)[0]
		bounds, _, ok := face.GlyphBounds(r)
		if !ok {
			return fmt.Errorf("no glyph for %q", r)
		}
		im := image.NewGray(image.Rect(0, 0, size, size))
		centre := fixed.I(size / 2)
		d := font.Drawer{Dst: im, Src: image.White, Face: face, Dot: fixed.Point26_6{
			X: centre - (bounds.Min.X+bounds.Max.X)/2,
			Y: centre - (bounds.Min.Y+bounds.Max.Y)/2,
		}}
		d.DrawString(text)
		pixels := make([]float32, len(im.Pix))
		for i, p := range im.Pix {
			pixels[i] = float32(p) / 255
		}
		s.Pixels, s.Labels, s.Style = append(s.Pixels, pixels), append(s.Labels, label), append(s.Style, style)
	}
	return nil
}
