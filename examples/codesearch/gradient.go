package main

import (
	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
)

// parameters are those of an encoder, in its memory, with their gradients.
type parameters struct {
	encoder      *Encoder
	table        *nn.Embedding // E
	weight, gain *nn.Param     // a and g
	temperature  *nn.Temperature

	texts        [][]Feature // the latest
	rows         [][]int
	coefficients [][]float32
}

func newParameters(e *Encoder) *parameters {
	p := &parameters{
		encoder:     e,
		table:       nn.EmbeddingOf(e.Embedding),
		weight:      nn.NewParam("weight", e.Buckets),
		gain:        nn.NewParam("gain", int(channels)),
		temperature: nn.NewTemperature(float32(e.Temperature())),
	}
	p.table.Sparse = true
	p.weight.Value, p.gain.Value = e.Weight, e.Gain[:]
	return p
}

// encode is [Encoder.Encode], and remembers the texts for backward.
func (p *parameters) encode(texts [][]Feature) (contrastive.Matrix, error) {
	p.texts = texts
	for len(p.rows) < len(texts) {
		p.rows, p.coefficients = append(p.rows, nil), append(p.coefficients, nil)
	}
	p.rows, p.coefficients = p.rows[:len(texts)], p.coefficients[:len(texts)]
	parallel(len(texts), 64, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			rows, coefficients := p.rows[i][:0], p.coefficients[i][:0]
			for _, f := range texts[i] {
				rows, coefficients = append(rows, int(f.Row)), append(coefficients, p.encoder.coefficient(f))
			}
			p.rows[i], p.coefficients[i] = rows, coefficients
		}
	})
	return p.table.ForwardBags(p.rows, p.coefficients)
}

// backward adds to the gradients of E, a and g, given that of the encoded texts. A
// coefficient is its own derivative by a and by g.
func (p *parameters) backward(dx contrastive.Matrix) {
	d := p.table.BackwardBags(dx)
	for i, text := range p.texts {
		for j, f := range text {
			g := d[j] * p.coefficients[i][j]
			p.weight.Grad[f.Row] += g
			p.gain.Grad[f.Channel] += g
		}
		d = d[len(text):]
	}
}
