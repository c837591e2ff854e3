// Package golden reads the losses and gradients in testdata, which the
// reference implementations computed. Its README describes them.
package golden

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// A Case is one evaluation of a loss.
type Case struct {
	Name        string             `json:"name"`
	Peer        string             `json:"peer"` // whose code gave these values, or "formula"
	Params      map[string]float64 `json:"params"`
	Inputs      map[string]Tensor  `json:"inputs"`
	Labels      []int              `json:"labels"`
	Loss        float64            `json:"loss"`
	Grads       map[string]Tensor  `json:"grads"`
	ScalarGrads map[string]float64 `json:"scalar_grads"`

	// Of metrics.
	Alignment  *float64 `json:"alignment_alpha2"`
	Uniformity *float64 `json:"uniformity_t2"`
}

// A Tensor is a matrix of float32, row-major without gaps. It has no rows if
// the case has no such matrix.
type Tensor struct {
	Rows, Cols int
	Data       []float32
}

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Tensor) UnmarshalJSON(data []byte) error {
	var v struct {
		Shape [2]int
		F32   string
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(v.F32)
	if err != nil {
		return err
	}
	t.Rows, t.Cols = v.Shape[0], v.Shape[1]
	if len(raw) != 4*t.Rows*t.Cols {
		return fmt.Errorf("golden: %d bytes for %d×%d float32", len(raw), t.Rows, t.Cols)
	}
	t.Data = make([]float32, t.Rows*t.Cols)
	for i := range t.Data {
		t.Data[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return nil
}

// Float64 returns the rows of t, nil if there are none.
func (t Tensor) Float64() [][]float64 {
	var rows [][]float64
	for i := range t.Rows {
		row := make([]float64, t.Cols)
		for d := range row {
			row[d] = float64(t.Data[i*t.Cols+d])
		}
		rows = append(rows, row)
	}
	return rows
}

// Files are the names of the files of Cases, without the extension. All hold losses
// but "metrics".
var Files = []string{
	"barlow_twins", "clip", "dcl", "dclw", "hard_negative", "infonce", "infonce_negatives",
	"metrics", "negative_cosine", "ntxent", "siglip", "supcon", "supcon_one_view", "vicreg",
}

// GeneralFiles are the names of the files of General cases.
var GeneralFiles = []string{
	"angle", "clip_positives", "cosent", "cosine_mse", "distill_kl", "embedding_mse",
	"infonce_combined", "infonce_dot", "infonce_filter", "infonce_hard", "infonce_hardness",
	"infonce_labels", "infonce_logq", "infonce_margin", "infonce_positives", "infonce_symmetric",
	"infonce_weights", "margin_mse", "matryoshka", "siglip_positives", "sum", "triplet",
}

// A General is one evaluation of a loss on a batch that may hold anything.
type General struct {
	Name string `json:"name"`
	Peer string `json:"peer"`
	Loss

	Inputs          map[string]Tensor `json:"inputs"`
	HardCounts      []int             `json:"hard_counts"`
	Positives       [][]int           `json:"positives"`
	PositiveWeights [][]float64       `json:"positive_weights"`
	Labels          []int             `json:"labels"`
	KeyLabels       []int             `json:"key_labels"`
	NegativeLabels  []int             `json:"negative_labels"`
	QueueLabels     []int             `json:"queue_labels"`
	Exclude         [][]int           `json:"exclude"`
	Weights         []float64         `json:"weights"`
	KeyLogQ         []float64         `json:"key_logq"`
	NegativeLogQ    []float64         `json:"negative_logq"`

	Value       float64            `json:"loss"`
	Losses      []float64          `json:"losses"` // nil if the loss is no mean over queries
	Grads       map[string]Tensor  `json:"grads"`
	ScalarGrads map[string]float64 `json:"scalar_grads"`
}

// A Loss is a kind of loss with its parameters.
type Loss struct {
	Type   string `json:"type"`
	Params Params `json:"params"`
}

// Params are the parameters of all kinds of losses. All numbers are those of float32.
type Params struct {
	Temperature  float64 `json:"temperature"`
	Bias         float64 `json:"bias"`
	Margin       float64 `json:"margin"`
	Hardness     float64 `json:"hardness"`
	FilterMargin float64 `json:"filter_margin"`
	Scale        float64 `json:"scale"`
	Symmetric    bool    `json:"symmetric"`
	InBatch      bool    `json:"in_batch"`

	Form       string `json:"form"`       // "", separate, shared or any
	Filter     string `json:"filter"`     // "", none, absolute or relative
	Similarity string `json:"similarity"` // "", cosine or dot
	Distance   string `json:"distance"`   // "", euclidean or cosine

	// Of a matryoshka.
	Dims       []int     `json:"dims"`
	DimWeights []float64 `json:"dim_weights"`
	Inner      *Loss     `json:"inner"`

	// Of a sum.
	Parts       []Loss    `json:"parts"`
	LossWeights []float64 `json:"loss_weights"`
}

// Load returns the cases of one of Files.
func Load(tb testing.TB, file string) []Case {
	tb.Helper()
	return Read[Case](tb, file)
}

// LoadGeneral returns the cases of one of GeneralFiles.
func LoadGeneral(tb testing.TB, file string) []General {
	tb.Helper()
	return Read[General](tb, file)
}

// Read returns the cases of a file in testdata, all of whose fields T has.
func Read[T any](tb testing.TB, file string) []T {
	tb.Helper()
	// Tests run in the directory of their package, somewhere in the module.
	dir := "testdata"
	for range 4 {
		if _, err := os.Stat(filepath.Join(dir, file+".json")); err == nil {
			break
		}
		dir = filepath.Join("..", dir)
	}
	data, err := os.ReadFile(filepath.Join(dir, file+".json"))
	if err != nil {
		tb.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var cases []T
	if err := d.Decode(&cases); err != nil {
		tb.Fatalf("%s: %v", file, err)
	}
	if len(cases) == 0 {
		tb.Fatalf("%s: no cases", file)
	}
	return cases
}
