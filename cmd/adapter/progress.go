package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/contrastive-go/contrastive/adapter"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A progress shows how training goes: a bar where it can be drawn anew, else a line for
// some of the epochs.
type progress struct {
	w     io.Writer
	bar   *progressbar.ProgressBar
	width func() int
	epoch int // the last that has a line
}

// leastBar is the width of a terminal on which there is room for a bar.
const leastBar = 40

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, epoch: -1}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return p
	}
	width := func() int {
		w, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 80
		}
		return w
	}
	if width() >= leastBar {
		p.width = width
	}
	return p
}

// maxLines bounds how many lines there are without a bar.
const maxLines = 20

func (p *progress) report(r adapter.Progress) {
	if p.width != nil {
		p.draw(r)
		return
	}
	if r.Validated && (r.Epoch == r.Epochs || p.epoch < 0 || r.Epoch >= p.epoch+(r.Epochs+maxLines-1)/maxLines) {
		p.epoch = r.Epoch
		fmt.Fprintf(p.w, "epoch %d/%d  %s\n", r.Epoch, r.Epochs, describeProgress(r, 200))
	}
}

func (p *progress) draw(r adapter.Progress) {
	width := p.width()
	if p.bar == nil {
		p.bar = progressbar.NewOptions(r.Steps,
			progressbar.OptionSetWriter(p.w), progressbar.OptionSetPredictTime(false),
			progressbar.OptionThrottle(100_000_000), progressbar.OptionUseANSICodes(true),
			progressbar.OptionSetTheme(progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}),
			progressbar.OptionSetWidth(10))
	}
	// Beside the text there are the bar, the percentage and the time.
	const beside = 10 + 20
	p.bar.Describe(describeProgress(r, width-beside))
	p.bar.Set(r.Step) // its error is the terminal's, and nothing depends on it
}

// describeProgress returns as much as fits into width characters.
func describeProgress(r adapter.Progress, width int) string {
	var parts []string
	if r.NDCG == r.NDCG {
		parts = append(parts, fmt.Sprintf("nDCG %.3f", r.NDCG))
	}
	if r.Step > 0 {
		parts = append(parts, fmt.Sprintf("loss %.3f", r.Loss))
		if r.Temperature > 0 {
			parts = append(parts, fmt.Sprintf("τ %.3f", r.Temperature))
		}
		if r.Accuracy > 0 {
			parts = append(parts, fmt.Sprintf("acc %.2f", r.Accuracy))
		}
	}
	for len(parts) > 0 {
		if s := strings.Join(parts, "  "); utf8.RuneCountInString(s) <= width {
			return s
		}
		parts = parts[:len(parts)-1]
	}
	return ""
}

// end ends the line of the bar.
func (p *progress) end() {
	if p.bar != nil {
		fmt.Fprintln(p.w)
	}
}
