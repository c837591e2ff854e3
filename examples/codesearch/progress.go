package main

import (
	"fmt"
	"io"
	"os"

	"github.com/contrastive-go/contrastive"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A Progress shows how training goes: as a bar on a terminal, else as a line now
// and then.
type Progress struct {
	w           io.Writer
	bar         *progressbar.ProgressBar
	step, total int
}

func NewProgress(w io.Writer, total int) *Progress {
	p := &Progress{w: w, total: total}
	if isTerminal(w) {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(w),
			progressbar.OptionShowCount(),
			progressbar.OptionFullWidth(),
			progressbar.OptionSetElapsedTime(true),
			progressbar.OptionOnCompletion(func() { fmt.Fprintln(w) }))
	}
	return p
}

// Step shows the result of one more step.
func (p *Progress) Step(r contrastive.Result, tau float64) {
	p.step++
	state := fmt.Sprintf("loss %.3f  accuracy %.3f  τ %.4f", r.Loss, r.Accuracy, tau)
	if p.bar != nil {
		p.bar.Describe(state)
		p.bar.Add(1) // its error is the terminal's, and nothing depends on it
		return
	}
	if every := max(p.total/8, 1); p.step%every == 0 || p.step == p.total {
		fmt.Fprintf(p.w, "step %d/%d  %s\n", p.step, p.total, state)
	}
}

func isTerminal(x any) bool {
	f, ok := x.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
