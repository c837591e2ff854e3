package contrastive_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
)

var updateReadme = flag.Bool("update-readme", false, "write the table of losses in README.md")

// TestReadme checks that the program of README.md is one that is compiled and run.
func TestReadme(t *testing.T) {
	program, err := os.ReadFile("examples/quickstart/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(readReadme(t), "\n```go\n"+string(program)+"```\n") {
		t.Error("README.md does not have the program examples/quickstart/main.go")
	}
}

func readReadme(t *testing.T) string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(readme)
}

// readmeLosses are all losses, each with the values that its zero value means, and
// with what it must have besides Query and Key.
var readmeLosses = []struct {
	zero, explicit contrastive.Loss
	needs          string
}{
	{contrastive.InfoNCE{}, contrastive.InfoNCE{Temperature: 0.07}, ""},
	{contrastive.CLIP{}, contrastive.CLIP{Temperature: 0.07}, ""},
	{contrastive.SigLIP{}, contrastive.SigLIP{Temperature: 0.1}, ""},
	{contrastive.NTXent{}, contrastive.NTXent{Temperature: 0.5}, ""},
	{contrastive.DCL{}, contrastive.DCL{Temperature: 0.1}, ""},
	{contrastive.HardNegative{}, contrastive.HardNegative{Temperature: 0.5}, ""},
	{contrastive.SupCon{}, contrastive.SupCon{Temperature: 0.07, BaseTemperature: 0.07}, ""},
	{contrastive.NegativeCosine{}, contrastive.NegativeCosine{}, ""},
	{contrastive.BarlowTwins{}, contrastive.BarlowTwins{Lambda: 0.005}, ""},
	{contrastive.VICReg{}, contrastive.VICReg{Similarity: 25, Variance: 25, Covariance: 1}, ""},
	{contrastive.Triplet{}, contrastive.Triplet{Margin: 5}, "Hard"},
	{contrastive.CoSENT{}, contrastive.CoSENT{Scale: 20}, "Scores"},
	{contrastive.AnglE{}, contrastive.AnglE{Scale: 20}, "Scores"},
	{contrastive.CosineMSE{}, contrastive.CosineMSE{}, "Scores"},
	{contrastive.MarginMSE{}, contrastive.MarginMSE{Similarity: contrastive.Dot}, "Hard Scores"},
	{contrastive.DistillKL{}, contrastive.DistillKL{Temperature: 1, Similarity: contrastive.Dot}, "Hard Scores"},
	{contrastive.EmbeddingMSE{}, contrastive.EmbeddingMSE{}, ""},
}

// readmeBatch returns a batch with what a loss must have.
func readmeBatch(loss contrastive.Loss, needs string) contrastive.Batch {
	const n, d, hard = 4, 6, 2
	r := rand.New(rand.NewPCG(4, 6))
	matrix := func(rows, cols int) contrastive.Matrix {
		m := contrastive.NewMatrix(rows, cols)
		for i := range m.Data {
			m.Data[i] = float32(r.NormFloat64())
		}
		return m
	}
	b := contrastive.Batch{Query: matrix(n, d), Key: matrix(n, d)}
	negatives := matrix(n*hard, d)
	for _, need := range strings.Fields(needs) {
		switch need {
		case "Hard":
			b.Hard = negatives
		case "Scores":
			b.Scores = matrix(n, 1)
			if strings.Contains(needs, "Hard") {
				b.Scores = matrix(n, 1+hard)
			}
		}
	}
	return b
}

// readmeTable returns the table of README.md, found out by evaluating each loss.
func readmeTable(t *testing.T) string {
	t.Helper()
	names := []string{"Labels", "Negatives", "Hard", "Queue", "Positives", "Weights"}
	var table strings.Builder
	fmt.Fprintf(&table, "| loss | %s | the same both ways | `Sharded` | `GradientCache` | gradient of | defaults |\n|---%s|\n",
		strings.Join(names, " | "), strings.Repeat("|---", len(names)+5))
	for _, l := range readmeLosses {
		name := reflect.TypeOf(l.zero).Name()
		b := readmeBatch(l.zero, l.needs)
		eval := func(loss contrastive.Loss, b contrastive.Batch) contrastive.Result {
			t.Helper()
			r, err := loss.Eval(b, contrastive.Gradients{})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return r
		}
		result := eval(l.zero, b)
		if explicit := eval(l.explicit, b); explicit != result {
			t.Errorf("%+v gives %+v, and %+v gives %+v", l.zero, result, l.explicit, explicit)
		}
		// yes returns the mark for what works, and no error but that of being unused.
		yes := func(what string, err error) string {
			t.Helper()
			if err == nil {
				return "✓"
			}
			if !errors.Is(err, contrastive.ErrUnused) && !errors.Is(err, contrastive.ErrParameter) {
				t.Errorf("%s with %s: %v", name, what, err)
			}
			return ""
		}
		cells := []string{"`" + name + "`"}
		for _, field := range names {
			if strings.Contains(l.needs, field) {
				without := b
				reflect.ValueOf(&without).Elem().FieldByName(field).SetZero()
				if _, err := l.zero.Eval(without, contrastive.Gradients{}); err == nil {
					t.Errorf("%s needs no %s", name, field)
				}
				cells = append(cells, "needed")
				continue
			}
			_, err := l.zero.Eval(readmeWith(t, b, field), contrastive.Gradients{})
			cells = append(cells, yes(field, err))
		}
		both := ""
		swapped := b
		swapped.Query, swapped.Key = b.Key, b.Query
		if r := eval(l.zero, swapped); math.Abs(r.Loss-result.Loss) < 1e-5*math.Abs(result.Loss) { // that of exchanging sums
			both = "✓"
		} else if _, ok := reflect.TypeOf(l.zero).FieldByName("Symmetric"); ok {
			both = "`Symmetric`"
		}
		cells = append(cells, both)

		_, err := contrastive.Sharded{Loss: l.zero, Collective: contrastive.NewLocalGroup(1)[0]}.Eval(context.Background(), b, contrastive.Gradients{})
		cells = append(cells, yes("Sharded", err))
		cells = append(cells, yes("GradientCache", readmeCache(l.zero, b)))

		var learned []string
		if result.TemperatureGrad != 0 {
			learned = append(learned, "τ")
		}
		if result.BiasGrad != 0 {
			learned = append(learned, "bias")
		}
		cells = append(cells, strings.Join(learned, ", "), readmeFields(l.explicit))
		fmt.Fprintf(&table, "| %s |\n", strings.Join(cells, " | "))
	}
	return table.String()
}

// readmeWith returns b with one more field.
func readmeWith(t *testing.T, b contrastive.Batch, field string) contrastive.Batch {
	n := b.Query.Rows
	other := readmeBatch(nil, "Hard").Hard
	switch field {
	case "Labels":
		b.Labels = []int{0, 1, 2, 0}
	case "Negatives":
		b.Negatives = other
	case "Hard":
		b.Hard = other
	case "Queue":
		queue, err := contrastive.NewQueue(n, b.Query.Cols)
		if err != nil {
			t.Fatal(err)
		}
		if err := queue.Enqueue(other.Slice(0, n), 0, 1, 2, 3); err != nil {
			t.Fatal(err)
		}
		b.Queue = queue
		b.Labels = []int{0, 1, 2, 3} // SupCon's positives need them
	case "Positives":
		b.Positives = [][]int{{0, 1}, {1}, {2}, {3}}
	case "Weights":
		b.Weights = []float32{1, 2, 1, 1}
	default:
		t.Fatalf("no field %s", field)
	}
	return b
}

// readmeCache evaluates a loss through a GradientCache.
func readmeCache(l contrastive.Loss, b contrastive.Batch) error {
	tower := func(m contrastive.Matrix) contrastive.Tower {
		if m.Rows == 0 {
			return contrastive.Tower{}
		}
		return contrastive.Tower{
			Rows: m.Rows, Dim: m.Cols,
			Encode: func(lo, hi int, z contrastive.Matrix) error {
				copy(z.Data, m.Slice(lo, hi).Data)
				return nil
			},
			Backward: func(int, int, contrastive.Matrix) error { return nil },
		}
	}
	towers := contrastive.Towers{Query: tower(b.Query), Key: tower(b.Key), Hard: tower(b.Hard)}
	if _, constant := l.(contrastive.EmbeddingMSE); constant {
		towers.Key.Backward = nil
	}
	b.Query, b.Key, b.Hard = contrastive.Matrix{}, contrastive.Matrix{}, contrastive.Matrix{}
	_, err := contrastive.GradientCache{Loss: l, Chunk: 2}.Step(towers, b)
	return err
}

// readmeFields lists the fields of a loss that are not zero.
func readmeFields(l contrastive.Loss) string {
	var fields []string
	v := reflect.ValueOf(l)
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Name != "Options" && !v.Field(i).IsZero() {
			fields = append(fields, fmt.Sprintf("%s %v", f.Name, v.Field(i)))
		}
	}
	return strings.Join(fields, ", ")
}

// TestReadmeLosses checks the table of README.md against the losses.
func TestReadmeLosses(t *testing.T) {
	const begin, end = "<!-- losses -->\n", "<!-- /losses -->\n"
	readme := readReadme(t)
	before, rest, ok := strings.Cut(readme, begin)
	table, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("README.md has no table between %q and %q", begin, end)
	}
	want := readmeTable(t)
	if *updateReadme {
		if err := os.WriteFile("README.md", []byte(before+begin+want+end+after), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want {
		t.Errorf("the table of README.md is not what go test -run ReadmeLosses -update-readme . writes:\n%s", want)
	}
}
