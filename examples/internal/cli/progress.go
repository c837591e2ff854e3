package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
)

// A Progress shows how long work fares: as a bar on a terminal, else as a line now
// and then. A nil Progress shows nothing.
type Progress struct {
	w     io.Writer
	name  string
	total int
	width func() int
	bar   *progressbar.ProgressBar
}

// lines is how many there are about where there is no bar.
const lines = 8

// NewProgress returns a display of work in total steps, of which some may have been
// made before.
func NewProgress(w io.Writer, name string, step, total int) *Progress {
	p := &Progress{w: w, name: name, total: total, width: func() int { return Width(w) }}
	if IsTerminal(w) && p.width() >= p.barWidth() {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(w),
			progressbar.OptionShowCount(),
			progressbar.OptionFullWidth(),
			progressbar.OptionSetElapsedTime(true),
			progressbar.OptionOnCompletion(func() { fmt.Fprintln(w) }))
		p.bar.Set(step) // its errors are the terminal's, and nothing depends on them
	}
	return p
}

// barWidth is the least number of columns of a bar without figures.
func (p *Progress) barWidth() int {
	const percentage, times, bar = 14, 14, 8
	return percentage + times + bar + len(fmt.Sprintf("(%d/%[1]d)", p.total))
}

// Step shows the figures of the latest step, the most important ones first: those for
// which a terminal has no room are left out.
func (p *Progress) Step(step int, figures ...string) {
	if p == nil {
		return
	}
	figures = append([]string{p.name}, figures...)
	if p.bar != nil {
		p.bar.Describe(fit(figures, p.width()-p.barWidth()))
		p.bar.Set(step)
		return
	}
	if every := max(p.total/lines, 1); step%every == 0 || step == p.total {
		fmt.Fprintf(p.w, "step %*d/%d  %s\n", len(fmt.Sprint(p.total)), step, p.total, strings.Join(figures, "  "))
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

// Close ends the display. What is written next begins a line, also if the work has
// not come to its end.
func (p *Progress) Close() {
	if p != nil && p.bar != nil && !p.bar.IsFinished() {
		fmt.Fprintln(p.w)
	}
}

// fit joins the first of texts that fit in a number of columns.
func fit(texts []string, columns int) string {
	line := ""
	for i, t := range texts {
		if i > 0 {
			t = "  " + t
		}
		if utf8.RuneCountInString(line+t) > columns {
			break
		}
		line += t
	}
	return line
}
