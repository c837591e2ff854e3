package main

import (
	"fmt"
	"math"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/examples/glyphs/report"
)

// Collapse is of two kinds. Embeddings of all images are one point: the standard
// deviation of the columns of unit embeddings, 1/√D if they are spread evenly over
// the sphere, is nearly 0 (Chen and He, 2021, figure 2). Or they are few points or
// lie in few dimensions: their effective rank is a small part of D (Jing, Vincent,
// LeCun and Tian, "Understanding Dimensional Collapse", 2022), which is all that is
// left to happen where batch normalisation keeps the columns apart. Healthy runs
// have half of 1/√D, and a sixth of D, or more.
const (
	collapsedStd  = 0.2  // of 1/√D
	collapsedRank = 0.08 // of D
)

// A Monitor tells when embeddings collapse, and says so once.
type Monitor struct {
	Message string // "" as long as all is well
}

// measure fills in what p says of the embeddings of a step. It returns a message
// in the step in which they have collapsed.
func (m *Monitor) measure(p *report.Point, z1, z2 contrastive.Matrix) (string, error) {
	var err error
	if p.Alignment, err = contrastive.Alignment(z1, z2, 2); err != nil {
		return "", err
	}
	if p.Uniformity, err = contrastive.Uniformity(z1, 2); err != nil {
		return "", err
	}
	c, err := contrastive.Collapse(z1)
	if err != nil {
		return "", err
	}
	p.EffectiveRank = c.EffectiveRank
	even := 1 / math.Sqrt(float64(z1.Cols))
	kind := "complete"
	switch {
	case m.Message != "":
		return "", nil
	case c.Std < collapsedStd*even:
	case c.EffectiveRank < collapsedRank*float64(min(z1.Rows, z1.Cols)):
		kind = "dimensional"
	default:
		return "", nil
	}
	m.Message = fmt.Sprintf("%s collapse at step %d: standard deviation of unit embeddings %.2g (even spread %.2g), mean cosine %.4f, effective rank %.1f of %d",
		kind, p.Step, c.Std, even, c.MeanCosine, c.EffectiveRank, z1.Cols)
	return m.Message, nil
}
