package main

import (
	"fmt"
	"math"

	"github.com/contrastive-go/contrastive/examples/glyphs/report"
)

// sweepMethods compares all methods, between pixels and supervised training.
func sweepMethods(st *studio) (*report.Table, error) {
	table := &report.Table{Columns: append(append([]string{}, scoreNames...), figureSeconds)}
	for _, method := range methodNames() {
		o, err := st.runs(method, method, nil)
		if err != nil {
			return nil, err
		}
		if len(table.Rows) == 0 { // the first run has made the evaluator
			for _, e := range st.evaluators {
				pixels, err := e.Pixels(common.Seed)
				if err != nil {
					return nil, err
				}
				for len(pixels) < len(table.Columns) {
					pixels = append(pixels, missing)
				}
				table.Rows = append(table.Rows, report.Row{Name: "pixels", Cells: pixels})
			}
		}
		table.Rows = append(table.Rows, o.row(recipes[method].title, table.Columns))
		st.noteCollapse(o)
	}
	return table, nil
}

func (st *studio) noteCollapse(o *outcome) { st.notes = append(st.notes, o.collapse...) }

// sweepCollapse shows what the stop-gradient is for.
func sweepCollapse(st *studio) (*report.Table, error) {
	table := &report.Table{Columns: []string{scoreNearest, scoreLinear, figureLoss, figureAlignment, figureUniformity, figureRank}}
	var steps []float64
	ranks := map[string][]report.Score{}
	for _, c := range []struct {
		name   string
		change func(*Settings)
	}{
		{"with stop-gradient", nil},
		{"without stop-gradient", func(s *Settings) { s.NoStopGradient = true }},
		{"with stop-gradient, without batch normalisation", func(s *Settings) { s.Norm = "none" }},
		{"without both", func(s *Settings) { s.NoStopGradient, s.Norm = true, "none" }},
	} {
		o, err := st.runs("simsiam "+c.name, "simsiam", c.change)
		if err != nil {
			return nil, err
		}
		table.Rows = append(table.Rows, o.row(c.name, table.Columns))
		st.noteCollapse(o)
		steps = steps[:0]
		for step := 0; step < len(o.histories[0]); step += max(1, len(o.histories[0])/collapsePoints) {
			steps = append(steps, float64(step))
			var rank []float64
			for _, history := range o.histories {
				rank = append(rank, history[step].EffectiveRank)
			}
			ranks[c.name] = append(ranks[c.name], scoreOf(figureRank, rank))
		}
	}
	return table, st.linearPlot("collapse", "Effective rank of the embeddings", "step", steps, ranks)
}

// collapsePoints is about as many points as a curve of the collapse has.
const collapsePoints = 30

// sweepTemperature shows accuracy and uniformity against τ.
func sweepTemperature(st *studio) (*report.Table, error) {
	table := &report.Table{Columns: []string{figureTau, scoreNearest, scoreKNN, scoreLinear, figureAlignment, figureUniformity, figureRank}}
	taus := []float64{0.02, 0.05, 0.1, 0.2, 0.5, 1}
	accuracy, uniformity := map[string][]report.Score{}, map[string][]report.Score{}
	for _, tau := range taus {
		name := fmt.Sprintf("τ = %g", tau)
		o, err := st.runs("simclr "+name, "simclr", func(s *Settings) { s.Temperature = tau })
		if err != nil {
			return nil, err
		}
		table.Rows = append(table.Rows, o.row(name, table.Columns))
		for _, c := range []string{scoreNearest, scoreLinear} {
			accuracy[c] = append(accuracy[c], o.score(c))
		}
		uniformity[figureUniformity] = append(uniformity[figureUniformity], o.score(figureUniformity))
		uniformity[figureAlignment] = append(uniformity[figureAlignment], o.score(figureAlignment))
	}
	for _, start := range []float64{0.07, 0.5} {
		name := fmt.Sprintf("learned from %g", start)
		o, err := st.runs("simclr τ "+name, "simclr", func(s *Settings) { s.Temperature, s.LearnTemperature = start, true })
		if err != nil {
			return nil, err
		}
		table.Rows = append(table.Rows, o.row(name, table.Columns))
	}
	if err := st.plot("temperature-accuracy", "Accuracy against temperature", "τ", taus, accuracy); err != nil {
		return nil, err
	}
	return table, st.plot("temperature-uniformity", "Alignment and uniformity against temperature", "τ", taus, uniformity)
}

// sweepBatch compares batch sizes at a fixed number of images.
func sweepBatch(st *studio) (*report.Table, error) {
	table := &report.Table{Columns: []string{scoreNearest, scoreKNN, scoreLinear, figureSeconds}}
	sizes := []int{32, 64, 128, 256, 512}
	if st.options.smoke {
		sizes = []int{16, 32}
	}
	var x []float64
	series := map[string][]report.Score{}
	for _, size := range sizes {
		x = append(x, float64(size))
		for _, method := range []string{"simclr", "dcl"} {
			title := recipes[method].title
			name := fmt.Sprintf("%s, batch %d", title, size)
			o, err := st.runs(name, method, func(s *Settings) {
				factor := float64(s.Batch) / float64(size)
				s.Steps = int(float64(s.Steps) * factor)
				s.Warmup = int(float64(s.Warmup) * factor)
				s.Rate /= math.Sqrt(factor)
				s.Batch = size
			})
			if err != nil {
				return nil, err
			}
			table.Rows = append(table.Rows, o.row(name, table.Columns))
			series[title] = append(series[title], o.score(scoreNearest))
		}
	}
	return table, st.plot("batch", "1-NN accuracy against batch size, same number of images", "pairs in a batch", x, series)
}

// sweepQueue compares sizes of MoCo's dictionary.
func sweepQueue(st *studio) (*report.Table, error) {
	table := &report.Table{Columns: []string{scoreNearest, scoreKNN, scoreLinear, figureUniformity, figureSeconds}}
	sizes := []int{64, 256, 1024, 4096, 16384}
	if st.options.smoke {
		sizes = []int{16, 64}
	}
	var x []float64
	series := map[string][]report.Score{}
	for _, size := range sizes {
		name := fmt.Sprintf("%d keys", size)
		o, err := st.runs("moco "+name, "moco", func(s *Settings) { s.Queue = size })
		if err != nil {
			return nil, err
		}
		x = append(x, float64(size))
		table.Rows = append(table.Rows, o.row(name, table.Columns))
		for _, c := range []string{scoreNearest, scoreLinear} {
			series[c] = append(series[c], o.score(c))
		}
	}
	return table, st.plot("queue", "MoCo: accuracy against queue size", "keys in the queue", x, series)
}

// sweepNegatives compares weights of negatives.
func sweepNegatives(st *studio) (*report.Table, error) {
	table := &report.Table{Columns: []string{scoreNearest, scoreKNN, scoreLinear, figureUniformity}}
	betas := []float64{0, 0.25, 0.5, 1}
	series := map[string][]report.Score{}
	for _, tauPlus := range []float64{0, 0.01, 0.05} {
		for _, beta := range betas {
			name := fmt.Sprintf("β = %g, τ⁺ = %g", beta, tauPlus)
			o, err := st.runs("hard "+name, "hard", func(s *Settings) { s.Beta, s.TauPlus = beta, tauPlus })
			if err != nil {
				return nil, err
			}
			table.Rows = append(table.Rows, o.row(name, table.Columns))
			curve := fmt.Sprintf("τ⁺ = %g", tauPlus)
			series[curve] = append(series[curve], o.score(scoreNearest))
		}
	}
	return table, st.linearPlot("negatives", "1-NN accuracy against the weight of hard negatives", "β", betas, series)
}
