package main

import (
	"fmt"
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/contrastive-go/contrastive/examples/glyphs/report"
)

// A Progress shows how a run fares: as a bar on a terminal, else as a line now and
// then. A nil Progress shows nothing.
type Progress struct {
	w     io.Writer
	name  string
	steps int
	bar   *progressbar.ProgressBar
}

// NewProgress returns a display of a run of the given steps, of which some may
// have been made before.
func NewProgress(w io.Writer, name string, step, steps int) *Progress {
	p := &Progress{w: w, name: name, steps: steps}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.bar = progressbar.NewOptions(steps,
			progressbar.OptionSetWriter(w),
			progressbar.OptionShowCount(),
			progressbar.OptionFullWidth(),
			progressbar.OptionSetElapsedTime(true),
			progressbar.OptionOnCompletion(func() { fmt.Fprintln(w) }))
		p.bar.Set(step) // its errors are the terminal's, and nothing depends on them
	}
	return p
}

// Step shows the figures of the latest step.
func (p *Progress) Step(step int, h report.Point) {
	if p == nil {
		return
	}
	state := fmt.Sprintf("%s  loss %.3f  acc %.3f", p.name, h.Loss, h.Accuracy)
	if h.Temperature > 0 {
		state += fmt.Sprintf("  τ %.3f", h.Temperature)
	}
	state += fmt.Sprintf("  align %.2f  unif %.2f  rank %.1f", h.Alignment, h.Uniformity, h.EffectiveRank)
	if p.bar != nil {
		p.bar.Describe(state)
		p.bar.Set(step)
		return
	}
	if every := max(p.steps/5, 1); step%every == 0 || step == p.steps {
		fmt.Fprintf(p.w, "step %4d/%d  %s\n", step, p.steps, state)
	}
}

// Message shows a line among the others.
func (p *Progress) Message(text string) {
	if p == nil {
		return
	}
	if p.bar != nil {
		p.bar.Clear()
	}
	fmt.Fprintf(p.w, "%s: %s\n", p.name, text)
}

// Done ends the display.
func (p *Progress) Done() {
	if p != nil && p.bar != nil {
		p.bar.Finish()
	}
}
