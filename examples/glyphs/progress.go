package main

import (
	"fmt"

	"github.com/contrastive-go/contrastive/examples/glyphs/report"
)

// figures are what the progress of a run shows of its latest step, the most important
// ones first. An accuracy is shown for methods that have one.
func figures(method string, p report.Point) []string {
	f := []string{fmt.Sprintf("loss %.3f", p.Loss)}
	if recipes[method].accuracy {
		f = append(f, fmt.Sprintf("accuracy %.3f", p.Accuracy))
	}
	f = append(f, fmt.Sprintf("rank %.1f", p.EffectiveRank))
	if p.Temperature > 0 {
		f = append(f, fmt.Sprintf("τ %.3f", p.Temperature))
	}
	return append(f, fmt.Sprintf("alignment %.2f", p.Alignment), fmt.Sprintf("uniformity %.2f", p.Uniformity))
}
