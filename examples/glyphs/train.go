package main

import (
	"context"
	"fmt"
	"time"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/examples/glyphs/data"
	"github.com/contrastive-go/contrastive/examples/glyphs/report"
	"github.com/contrastive-go/contrastive/examples/internal/cli"
)

// A Trainer is one run.
type Trainer struct {
	Settings Settings
	Train    *data.Set
	Test     *data.Set

	// CheckpointPath is where the run is saved every CheckpointEvery steps, at its
	// end and when it is interrupted; "" means nowhere.
	CheckpointPath  string
	CheckpointEvery int

	History []report.Point
	Monitor Monitor
	Seconds float64 // spent in training

	method Method
	loader *Loader
	step   int
}

// NewTrainer returns a run on the data, which begins at step 0.
func NewTrainer(s Settings, train, test *data.Set) (*Trainer, error) {
	m, err := newMethod(&s, len(train.Pixels[0]), len(train.Classes))
	if err != nil {
		return nil, err
	}
	return &Trainer{Settings: s, Train: train, Test: test, method: m, loader: NewLoader(train, &s)}, nil
}

// Run trains to the last step, or until ctx ends, when it saves the run and
// returns the error of ctx.
func (t *Trainer) Run(ctx context.Context, progress *cli.Progress) error {
	defer progress.Close()
	start := time.Now()
	defer func() { t.Seconds += time.Since(start).Seconds() }()
	for t.step < t.Settings.Steps {
		if ctx.Err() != nil {
			if err := t.save(); err != nil {
				return err
			}
			return cli.Interrupted(ctx.Err(), "stopped before step %d of %d", t.step, t.Settings.Steps)
		}
		if err := t.Step(progress); err != nil {
			return fmt.Errorf("step %d: %w", t.step, err)
		}
		if t.CheckpointEvery > 0 && t.step%t.CheckpointEvery == 0 && t.step < t.Settings.Steps {
			if err := t.save(); err != nil {
				return err
			}
		}
	}
	return t.save()
}

// Step makes one step of training.
func (t *Trainer) Step(progress *cli.Progress) error {
	s := &t.Settings
	b := t.loader.Batch(t.step)
	b.Rate = contrastive.WarmupCosine(s.Rate, t.step, s.Warmup, s.Steps)
	stats, err := t.method.Step(b)
	if err != nil {
		return err
	}
	p := report.Point{Step: t.step, Loss: stats.Loss, Accuracy: stats.Accuracy, Temperature: stats.Temperature}
	collapse, err := t.Monitor.measure(&p, stats.Z1, stats.Z2)
	if err != nil {
		return err
	}
	if collapse != "" {
		progress.Message(collapse)
	}
	t.History = append(t.History, p)
	t.step++
	progress.Step(t.step, figures(s.Method, p)...)
	return nil
}

func (t *Trainer) save() error {
	if t.CheckpointPath == "" {
		return nil
	}
	c, err := t.checkpoint()
	if err != nil {
		return err
	}
	return c.save(t.CheckpointPath)
}
