// Package golden reads the losses and gradients in testdata, which the
// reference implementations computed. Its README describes them.
package golden

import (
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

// Files are the names of the files, without the extension. All hold losses but
// "metrics".
var Files = []string{
	"barlow_twins", "clip", "dcl", "dclw", "hard_negative", "infonce", "infonce_negatives",
	"metrics", "negative_cosine", "ntxent", "siglip", "supcon", "supcon_one_view", "vicreg",
}

// Load returns the cases of one of Files.
func Load(tb testing.TB, file string) []Case {
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
	var cases []Case
	if err := json.Unmarshal(data, &cases); err != nil {
		tb.Fatalf("%s: %v", file, err)
	}
	if len(cases) == 0 {
		tb.Fatalf("%s: no cases", file)
	}
	return cases
}
