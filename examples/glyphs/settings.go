package main

import (
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Settings are what one run depends on: two runs with equal settings end with
// equal parameters, bit for bit, on one instruction set. A method's defaults are
// in its file.
type Settings struct {
	Method string
	Data   string // a directory with MNIST or CIFAR-10 files, "" for glyphs
	Glyphs int    // how many of the 94 characters
	Seed   uint64

	Steps, Warmup int
	Batch         int // pairs of views a step
	Rate, Decay   float64

	Layers    int    // hidden layers of the encoder
	Hidden    int    // dimension of each
	Features  int    // of the representation h, which is evaluated
	Head      int    // of the projector's hidden layer; 0 for a linear projector
	Predictor int    // of the predictor's hidden layer
	Embedding int    // of the embedding z, which the loss sees
	Norm      string // of the encoder: "batch" or "none"
	Chunk     int    // views that are encoded at a time by a gradient cache, 0 for no cache

	PredictorRate    float64 // learning rate of the predictor, as a multiple of Rate
	Temperature      float64
	LearnTemperature bool
	Beta, TauPlus    float64 // of hard and debiased negatives
	Lambda           float64 // weight of Barlow Twins' off-diagonal
	Covariance       float64 // weight of VICReg's covariance
	Queue            int     // keys in MoCo's dictionary
	Shards           int     // parts of a batch that MoCo normalises separately
	Momentum         float64 // of the momentum encoder
	NoStopGradient   bool    // SimSiam without its stop-gradient
	Validation       bool    // hold out two of the training fonts instead of the test fonts
}

// common are the defaults that the recipes of the methods start from.
var common = Settings{
	Glyphs: 94, Seed: 1,
	Steps: 300, Warmup: 20,
	Batch: 256,
	Rate:  3e-3, Decay: 1e-4,
	Layers: 2, Hidden: 512, Features: 128, Head: 0, Embedding: 128,
	Norm:   "batch",
	Shards: 1,
}

// setFlags defines the flags whose values replace those of a recipe.
func (s *Settings) setFlags(f *flag.FlagSet) {
	f.StringVar(&s.Data, "data", s.Data, "directory of MNIST IDX or CIFAR-10 binary files to use instead of glyphs")
	f.IntVar(&s.Glyphs, "glyphs", s.Glyphs, "how many of the 94 characters to use")
	f.Uint64Var(&s.Seed, "seed", s.Seed, "of parameters, batches and augmentation")
	f.IntVar(&s.Steps, "steps", s.Steps, "training steps")
	f.IntVar(&s.Warmup, "warmup", s.Warmup, "steps in which the learning rate rises")
	f.IntVar(&s.Batch, "batch", s.Batch, "pairs of views a step; simclr takes more than 2048 through a gradient cache")
	f.Float64Var(&s.Rate, "rate", s.Rate, "greatest learning rate")
	f.Float64Var(&s.Decay, "decay", s.Decay, "weight decay")
	f.IntVar(&s.Layers, "layers", s.Layers, "hidden layers of the encoder")
	f.IntVar(&s.Hidden, "hidden", s.Hidden, "dimension of the encoder's hidden layers")
	f.IntVar(&s.Features, "features", s.Features, "dimension of the representation")
	f.IntVar(&s.Head, "head", s.Head, "dimension of the projector's hidden layer; 0 for a linear projector")
	f.IntVar(&s.Predictor, "predictor", s.Predictor, "dimension of the predictor's hidden layer (byol, simsiam)")
	f.Float64Var(&s.PredictorRate, "predictor-rate", s.PredictorRate, "learning rate of the predictor as a multiple of -rate (byol, simsiam)")
	f.IntVar(&s.Embedding, "embedding", s.Embedding, "dimension of the embedding that the loss sees")
	f.StringVar(&s.Norm, "norm", s.Norm, "normalisation in encoder and projector: batch or none")
	f.IntVar(&s.Chunk, "chunk", s.Chunk, "views encoded at a time by a gradient cache; 0 for none")
	f.Float64Var(&s.Temperature, "temperature", s.Temperature, "τ, or where it starts")
	f.BoolVar(&s.LearnTemperature, "learn-temperature", s.LearnTemperature, "train log(1/τ), clamped as in CLIP")
	f.Float64Var(&s.Beta, "beta", s.Beta, "concentration on hard negatives (hard)")
	f.Float64Var(&s.TauPlus, "tau-plus", s.TauPlus, "probability of false negatives (hard, debiased)")
	f.Float64Var(&s.Lambda, "lambda", s.Lambda, "weight of the correlations (barlow)")
	f.Float64Var(&s.Covariance, "covariance", s.Covariance, "weight of the covariances (vicreg)")
	f.IntVar(&s.Queue, "queue", s.Queue, "keys in the dictionary (moco)")
	f.IntVar(&s.Shards, "shards", s.Shards, "parts of a batch that are normalised separately (moco)")
	f.Float64Var(&s.Momentum, "momentum", s.Momentum, "of the momentum encoder (moco; byol starts from it)")
	f.BoolVar(&s.NoStopGradient, "no-stop-gradient", s.NoStopGradient, "let gradients flow into the targets, to see the collapse (simsiam)")
	f.BoolVar(&s.Validation, "validation", s.Validation, "hold out two training fonts instead of the test fonts, to choose settings by")
}

// users are the methods that use a setting. All methods use those that are not here.
var users = map[string][]string{
	"temperature":       {"simclr", "dcl", "hard", "debiased", "moco", "clip", "supcon"},
	"learn-temperature": {"simclr", "dcl", "hard", "debiased", "moco", "clip", "supcon"},
	"beta":              {"hard", "debiased"},
	"tau-plus":          {"hard", "debiased"},
	"lambda":            {"barlow"},
	"covariance":        {"vicreg"},
	"queue":             {"moco"},
	"shards":            {"moco"},
	"momentum":          {"moco", "byol"},
	"predictor":         {"byol", "simsiam"},
	"predictor-rate":    {"byol", "simsiam"},
	"no-stop-gradient":  {"simsiam"},
	"head":              {"simclr", "dcl", "hard", "debiased", "moco", "byol", "simsiam", "barlow", "vicreg", "supcon"},
	"embedding":         {"simclr", "dcl", "hard", "debiased", "moco", "byol", "simsiam", "barlow", "vicreg", "supcon", "clip"},
}

// shrink makes a run of s one that takes a fraction of a second.
func (s *Settings) shrink() {
	s.Steps, s.Warmup, s.Batch = min(s.Steps, 24), 2, 32
	s.Hidden, s.Features, s.Embedding = 32, 32, 16
	s.Head, s.Predictor = min(s.Head, 32), min(s.Predictor, 16)
	s.Queue = min(s.Queue, 256)
	s.Glyphs = 20
	s.Shards = min(s.Shards, 4)
}

// check returns an error that says what is wrong with s.
func (s *Settings) check() error {
	if _, ok := recipes[s.Method]; !ok {
		return fmt.Errorf("there is no -method %q; the methods are %s", s.Method, strings.Join(methodNames(), ", "))
	}
	for _, c := range []struct {
		ok    bool
		flag  string
		value any
		want  string
	}{
		{s.Glyphs >= 2 && s.Glyphs <= 94, "glyphs", s.Glyphs, "from 2 to 94"},
		{s.Steps >= 0, "steps", s.Steps, "at least 0"},
		{s.Warmup >= 0, "warmup", s.Warmup, "at least 0"},
		{s.Batch >= 2, "batch", s.Batch, "at least 2"},
		{s.Rate > 0, "rate", s.Rate, "positive"},
		{s.Decay >= 0, "decay", s.Decay, "at least 0"},
		{s.Layers > 0, "layers", s.Layers, "positive"},
		{s.Hidden > 0, "hidden", s.Hidden, "positive"},
		{s.Features > 0, "features", s.Features, "positive"},
		{s.Head >= 0, "head", s.Head, "at least 0"},
		{s.Predictor > 0 || s.Method != "byol" && s.Method != "simsiam", "predictor", s.Predictor, "positive"},
		{s.PredictorRate > 0 || s.Method != "byol" && s.Method != "simsiam", "predictor-rate", s.PredictorRate, "positive"},
		{s.Embedding > 0, "embedding", s.Embedding, "positive"},
		{s.Norm == "batch" || s.Norm == "none", "norm", s.Norm, "batch or none"},
		{s.Chunk >= 0, "chunk", s.Chunk, "at least 0"},
		{s.Temperature > 0 && s.Temperature <= math.MaxFloat32 || !slices.Contains(users["temperature"], s.Method), "temperature", s.Temperature, "positive and finite"},
		{s.Beta >= 0, "beta", s.Beta, "at least 0"},
		{s.TauPlus >= 0 && s.TauPlus < 1, "tau-plus", s.TauPlus, "at least 0 and less than 1"},
		{s.Lambda >= 0, "lambda", s.Lambda, "at least 0"},
		{s.Covariance >= 0, "covariance", s.Covariance, "at least 0"},
		{s.Queue >= 0, "queue", s.Queue, "at least 0"},
		{s.Shards >= 1 && s.Batch%s.Shards == 0 && s.Batch/s.Shards >= 2, "shards", s.Shards, fmt.Sprintf("a divisor of the batch, %d, that leaves two or more pairs", s.Batch)},
		{s.Momentum >= 0 && s.Momentum <= 1, "momentum", s.Momentum, "from 0 to 1"},
		{!s.NoStopGradient || s.Method == "simsiam", "no-stop-gradient", s.NoStopGradient, "used with -method simsiam"},
		{s.Data == "" || s.Method != "clip", "data", s.Data, "empty with -method clip, whose modalities are families of fonts"},
		{s.Data == "" || !s.Validation, "validation", s.Validation, "used with glyphs"},
		{s.Chunk == 0 || recipes[s.Method].cached, "chunk", s.Chunk, "used with " + strings.Join(cachedNames(), ", ")},
		{s.Chunk == 0 || s.Norm == "none", "norm", s.Norm, "none with a gradient cache: batch statistics would depend on the chunk"},
	} {
		if !c.ok {
			return fmt.Errorf("-%s is %v and must be %s", c.flag, c.value, c.want)
		}
	}
	return nil
}

// largeBatch turns on the gradient cache for batches whose activations would
// take gigabytes.
func (s *Settings) largeBatch() {
	if s.Batch > 2048 && s.Chunk == 0 && recipes[s.Method].cached {
		s.Chunk, s.Norm = 1024, "none"
	}
}

// list returns the settings that matter for the method, for reports.
func (s *Settings) list() [][2]string {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	defaults := *s
	defaults.setFlags(fs)
	settings := [][2]string{{"method", s.Method}}
	fs.VisitAll(func(f *flag.Flag) {
		if v := f.Value.String(); v != "" && v != "0" && v != "false" {
			settings = append(settings, [2]string{f.Name, v})
		}
	})
	return settings
}

func cachedNames() []string {
	return slices.DeleteFunc(methodNames(), func(m string) bool { return !recipes[m].cached })
}
