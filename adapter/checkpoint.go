package adapter

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/atomicfile"
	"github.com/contrastive-go/contrastive/nn"
)

// A state is what a checkpoint holds besides tensors.
type state struct {
	Version     int       `json:"version"`
	Settings    []setting `json:"settings"`
	Step        int       `json:"step"`
	Epoch       int       `json:"epoch"`
	WithoutBest int       `json:"without_best"`
	Best        Training  `json:"best"`
	LatestNDCG  float64   `json:"latest_ndcg"`
}

// A setting is what must be the same when training goes on.
type setting struct{ Name, Value string }

func (t *trainer) settings() []setting {
	if t.fixed != nil {
		return t.fixed
	}
	c := t.config
	value := func(v any) string { return fmt.Sprint(v) }
	t.fixed = []setting{
		{"Config.Kind", c.Kind.String()}, {"Config.Sides", c.Sides.String()}, {"Config.Rank or Hidden", value(c.width())},
		{"Config.Loss", t.loss.description}, {"Config.FixedTemperature", value(c.FixedTemperature)},
		{"Config.Epochs", value(c.Epochs)}, {"Config.BatchSize", value(c.BatchSize)}, {"Config.HardNegatives", value(c.HardNegatives)},
		{"Config.LearningRate", value(c.LearningRate)}, {"Config.WarmupSteps", value(c.WarmupSteps)}, {"Config.WeightDecay", value(c.WeightDecay)},
		{"Config.ValidationShare", value(c.ValidationShare)}, {"Config.ValidationQueries", value(c.ValidationQueries)},
		{"Config.ValidationDocuments", value(c.ValidationDocuments)}, {"Config.Seed", strconv.FormatUint(c.Seed, 10)},
		{"Data.Queries", digestMatrix(t.data.Queries)}, {"Data.Documents", digestMatrix(t.data.Documents)},
		{"Data.Relevant", digestLists(t.data.Relevant.Keys, t.data.Relevant.Grades)}, {"Data.Hard", digestLists(t.data.Hard, nil)},
		{"Data.Weights", digestLists(nil, [][]float32{t.data.Weights})}, {"Data.Validation", digestLists([][]int{t.data.Validation}, nil)},
	}
	return t.fixed
}

// sampledRows is of how many rows of a matrix a checkpoint knows the elements.
const sampledRows = 4096

func digestMatrix(m contrastive.Matrix) string {
	h := sha256.New()
	for i := 0; i < m.Rows; i += (m.Rows-1)/sampledRows + 1 {
		hashFloats(h, m.Row(i))
	}
	return fmt.Sprintf("%d×%d %s", m.Rows, m.Cols, sum(h))
}

func digestLists(lists [][]int, grades [][]float32) string {
	h := sha256.New()
	var b []byte
	for _, list := range lists {
		b = binary.LittleEndian.AppendUint64(b[:0], uint64(len(list)))
		for _, j := range list {
			b = binary.LittleEndian.AppendUint64(b, uint64(j))
		}
		h.Write(b)
	}
	for _, list := range grades {
		hashFloats(h, list)
	}
	return sum(h)
}

func hashFloats(h hash.Hash, values []float32) {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(values)))
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	h.Write(b)
}

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)[:8]) }

// tensors returns what a checkpoint holds, sharing its storage.
func (t *trainer) tensors() []nn.Tensor {
	var tensors []nn.Tensor
	add := func(prefix string, more []nn.Tensor) {
		for _, m := range more {
			m.Name = prefix + "." + m.Name
			tensors = append(tensors, m)
		}
	}
	add("adapter", t.model.tensors())
	add("best", t.best.tensors())
	add("optimizer", t.optimizer.State())
	if t.temperature != nil {
		add("loss", nn.State(t.temperature))
	}
	if t.bias != nil {
		add("loss", nn.State(t.bias))
	}
	return tensors
}

// checkpoint writes the state to the file that the configuration names, if any.
func (t *trainer) checkpoint() error {
	if t.config.Checkpoint == "" {
		return nil
	}
	s := state{
		Version: fileVersion, Settings: t.settings(), Step: t.step, Epoch: t.epoch,
		WithoutBest: t.withoutBest, Best: t.best.Training,
	}
	if t.validation != nil {
		s.LatestNDCG = t.progress.NDCG
	}
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	err = atomicfile.Write(t.config.Checkpoint, func(w io.Writer) error {
		return write(w, map[string]string{checkpointEntry: string(text)}, t.tensors())
	})
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// resume restores the state in the file that the configuration names, if it exists.
func (t *trainer) resume() (bool, error) {
	b, err := os.ReadFile(t.config.Checkpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = t.restore(b)
	}
	if err != nil {
		return false, fmt.Errorf("checkpoint %s: %w", t.config.Checkpoint, err)
	}
	return true, nil
}

func (t *trainer) restore(b []byte) error {
	metadata, tensors, err := parse(b, checkpointEntry)
	if err != nil {
		return err
	}
	var s state
	if err := unmarshal(metadata[checkpointEntry], &s); err != nil {
		return fmt.Errorf("%s: %w: %w", checkpointEntry, err, ErrFormat)
	}
	if s.Version != fileVersion {
		return fmt.Errorf("version %d, this program reads %d: %w", s.Version, fileVersion, ErrFormat)
	}
	for i, now := range t.settings() {
		if i >= len(s.Settings) || s.Settings[i].Name != now.Name {
			return fmt.Errorf("no %s: %w", now.Name, ErrFormat)
		}
		if was := s.Settings[i].Value; was != now.Value {
			return fmt.Errorf("%s was %s, it is %s: %w", now.Name, was, now.Value, contrastive.ErrParameter)
		}
	}
	if s.Epoch < 0 || s.Epoch > t.config.Epochs || s.Step < s.Epoch*t.steps || s.Step > (s.Epoch+1)*t.steps || s.Step > t.progress.Steps {
		return fmt.Errorf("step %d of epoch %d: %w", s.Step, s.Epoch, ErrFormat)
	}
	t.best = t.model.clone()
	mine := t.tensors()
	if err := matchTensors(mine, tensors); err != nil {
		return err
	}
	fill(mine, tensors)
	t.step, t.epoch, t.withoutBest = s.Step, s.Epoch, s.WithoutBest
	t.best.Training = s.Best
	t.model.Training.NDCGBefore = s.Best.NDCGBefore
	if t.validation != nil {
		t.progress.NDCG, t.progress.Best = s.LatestNDCG, s.Best.NDCG
	}
	if t.temperature != nil {
		t.progress.Temperature = float64(t.temperature.Value())
	}
	return nil
}
