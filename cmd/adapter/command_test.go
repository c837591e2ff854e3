package main

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/adapter"
	"github.com/contrastive-go/contrastive/retrieval"
)

// command runs the program.
func command(t *testing.T, args ...string) (code int, out, errors string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, console{&o, &e})
	return code, o.String(), e.String()
}

// rotated writes queries, in JSON lines, that are documents, in a tensor, in other
// coordinates, and pairs of both.
func rotated(t *testing.T, n, dim int) (queries, documents, pairs string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	turn := make([]float64, dim*dim)
	for i := range turn {
		turn[i] = rng.NormFloat64()
	}
	var lines, relevant bytes.Buffer
	var values []float32
	for i := range n {
		row := make([]float32, dim)
		for j := range row {
			row[j] = float32(rng.NormFloat64())
		}
		values = append(values, row...)
		query := make([]float32, dim)
		for j := range query {
			sum := 0.0
			for k, v := range row {
				sum += float64(v) * turn[k*dim+j]
			}
			query[j] = float32(sum)
		}
		if err := (jsonlWriter{&lines}).write(fmt.Sprintf("q%d", i), query, nil); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&relevant, "q%d\t%d\n", i, i)
	}
	return write(t, "queries.jsonl", lines.Bytes()), write(t, "documents.safetensors", safetensorsFile(t, n, dim, values)), write(t, "pairs.tsv", relevant.Bytes())
}

// TestTrain trains, evaluates and applies by the command line.
func TestTrain(t *testing.T) {
	queries, documents, pairs := rotated(t, 300, 8)
	dir := t.TempDir()
	out, report := filepath.Join(dir, "a.safetensors"), filepath.Join(dir, "report")
	code, table, log := command(t, "train", "--queries", queries, "--documents", documents, "--relevant", pairs, "-o", out, "--report", report,
		"--rate", "0.02", "--batch", "64", "--epochs", "30", "--mine", "2", "--sides", "both", "--checkpoint", filepath.Join(dir, "state"))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, log)
	}
	for _, want := range []string{"read 300 queries and 300 documents of 8 dimensions", "mined ", "epoch 0/30  nDCG 0.0", "216 pairs"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in %s", want, log)
		}
	}
	if n := strings.Count(log, "\n"); n > maxLines+8 || strings.Contains(log, "\r") {
		t.Errorf("%d lines:\n%s", n, log)
	}
	rows := strings.Split(table, "\n")
	if !strings.HasPrefix(rows[1], "nDCG@10     0.0") || !strings.HasSuffix(rows[1], "*") || !strings.Contains(table, "60 queries, 300 documents") {
		t.Errorf("%s", table)
	}
	page, err := os.ReadFile(filepath.Join(report, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`<meta name="viewport"`, "nDCG@10 of the test queries was 0.0", "60 test queries", "linear, of both", "InfoNCE", "data:image/png;base64,", "<dt>temperature</dt>"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %q in the report", want)
		}
	}
	text := regexp.MustCompile(`data:image/png;base64,[^"]*`).ReplaceAllString(string(page), "")
	if strings.Contains(text, "ZgotmplZ") || strings.Contains(text, "NaN") {
		t.Error("the report has what it should not")
	}
	for _, name := range []string{"learning-curve.png", "similarities.png", "plane.png"} {
		f, err := os.Open(filepath.Join(report, name))
		if err != nil {
			t.Fatal(err)
		}
		image, err := png.Decode(f)
		f.Close()
		if err != nil || image.Bounds().Dx() < 600 {
			t.Errorf("%s: %v, %v", name, image.Bounds(), err)
		}
	}

	code, table, log = command(t, "eval", "--adapter", out, "--queries", queries, "--documents", documents, "--relevant", pairs)
	if code != 0 || !strings.Contains(table, "300 queries, 300 documents") || !strings.Contains(table, "*") {
		t.Errorf("exit code %d: %s%s", code, table, log)
	}

	a, err := adapter.Load(out)
	if err != nil {
		t.Fatal(err)
	}
	set, err := readVectors(queries, "")
	if err != nil {
		t.Fatal(err)
	}
	want := contrastive.NewMatrix(300, 8)
	if err := a.Query.ApplyMatrix(want, set.vectors); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"m.jsonl", "m.npy", "m.safetensors"} {
		mapped := filepath.Join(dir, name)
		if code, _, log := command(t, "apply", "--adapter", out, queries, "-o", mapped); code != 0 || !strings.Contains(log, "wrote 300 vectors") {
			t.Fatalf("exit code %d: %s", code, log)
		}
		got, err := readVectors(mapped, "")
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range got.vectors.Data {
			if v != want.Data[i] {
				t.Fatalf("%s: element %d is %v, want %v", name, i, v, want.Data[i])
			}
		}
		if name == "m.jsonl" && got.ids[299] != "q299" {
			t.Errorf("ids %v", got.ids)
		}
	}
	if code, lines, log := command(t, "apply", "--adapter", out, "--side", "document", documents, "-o", "-"); code != 0 || strings.Count(lines, "\n") != 300 || !strings.HasPrefix(lines, `{"id":"0","vector":[`) {
		t.Errorf("exit code %d: %.100s%s", code, lines, log)
	}
}

// TestApplyStream keeps the other fields of lines, and takes more than are in memory.
func TestApplyStream(t *testing.T) {
	a := filepath.Join("..", "..", "adapter", "testdata", "adapter.safetensors")
	var in, out bytes.Buffer
	const n = 2*mappedAtOnce + 3
	for i := range n {
		fmt.Fprintf(&in, "{\"id\": %d, \"text\": \"a <b>\", \"embedding\": [0, 3, 0, 4]}\n", i)
	}
	c := applyCommand{Adapter: a, Side: "query", Input: "-", Out: "-"}
	if err := c.run(t.Context(), console{&out, &out}, &in); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != n {
		t.Fatalf("%d lines", len(lines))
	}
	for i, line := range lines {
		id, vector, field, err := parseJSONLine([]byte(line), nil)
		if err != nil || id != fmt.Sprint(i) || field != "embedding" || len(vector) != 4 || math.Abs(float64(vector[0])-0.8) > 1e-6 {
			t.Fatalf("%s: %v", line, err)
		}
	}
	if !strings.Contains(lines[0], `"text":"a \u003cb\u003e"`) && !strings.Contains(lines[0], `"text":"a <b>"`) {
		t.Errorf("%s", lines[0])
	}
	c.Out = filepath.Join(t.TempDir(), "x.npy")
	if err := c.run(t.Context(), console{&out, &out}, &in); err == nil || !strings.Contains(err.Error(), "which standard input does not tell") {
		t.Errorf("an array from a stream: %v", err)
	}
}

// TestInterrupt ends the context in the middle of training.
func TestInterrupt(t *testing.T) {
	queries, documents, pairs := rotated(t, 200, 8)
	out := filepath.Join(t.TempDir(), "a.safetensors")
	ctx, cancel := context.WithCancel(t.Context())
	var o bytes.Buffer
	e := &cancelling{cancel: cancel, after: "epoch 3/"}
	code := run(ctx, []string{"train", "--queries", queries, "--documents", documents, "--relevant", pairs, "-o", out, "--report", "none", "--rate", "0.02", "--batch", "32", "--epochs", "20"}, console{&o, e})
	if code != exitInterrupted || !strings.Contains(e.String(), "saved "+out) || !strings.HasSuffix(e.String(), "adapter: interrupted\n") || !strings.Contains(o.String(), "nDCG@10") {
		t.Errorf("exit code %d: %s%s", code, e.String(), o.String())
	}
	a, err := adapter.Load(out)
	if err != nil || a.Training.Epochs != 3 || a.Training.BestEpoch == 0 {
		t.Errorf("%+v, %v", a, err)
	}
}

type cancelling struct {
	bytes.Buffer
	cancel func()
	after  string
}

func (c *cancelling) Write(b []byte) (int, error) {
	if strings.Contains(string(b), c.after) {
		c.cancel()
	}
	return c.Buffer.Write(b)
}

func TestUsage(t *testing.T) {
	queries, documents, pairs := rotated(t, 20, 4)
	dir := t.TempDir()
	train := []string{"train", "--queries", queries, "--documents", documents, "--relevant", pairs, "-o", filepath.Join(dir, "a"), "--report", "none"}
	a := filepath.Join("..", "..", "adapter", "testdata", "adapter.safetensors")
	with := func(args ...string) []string { return append(append([]string{}, train...), args...) }
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 2, "expected one of"},
		{[]string{"fly"}, 2, "unexpected argument fly"},
		{[]string{"train"}, 2, "missing flags"},
		{with("--kind", "cubic"), 2, "--kind must be one of"},
		{with("--epochs", "x"), 2, "--epochs"},
		{with("--epochs", "0"), 2, "--epochs must be positive"},
		{with("--rank=-1"), 2, "--rank"},
		{with("--kind", "low-rank", "--rank", "5"), 2, "--rank=5: must be at most the 4"},
		{with("--batch", "1"), 2, "--batch at least 2"},
		{with("--rate=-1"), 2, "--rate=-1"},
		{with("--rate", "nan"), 2, "--rate=NaN"},
		{with("--test", "1"), 2, "--test=1"},
		{with("--validation", "0"), 2, "--validation=0"},
		{with("--temperature", "0"), 2, "--temperature=0"},
		{with("--mine=-1"), 2, "--mine=-1"},
		{with("--resume"), 2, "--resume: needs a --checkpoint"},
		{with("--matryoshka", "2,9"), 2, "--matryoshka=9: must be from 1 to the 4"},
		{with("--matryoshka", "2,3,2"), 2, "--matryoshka=2: is there twice"},
		{with("--mine", "1", "--loss", "siglip"), 2, "--loss=siglip: takes no hard negatives"},
		{with("-o", filepath.Join(dir, "none", "a")), 2, "--out: "},
		{with("-o", dir), 2, "is a folder"},
		{with("--report", filepath.Join(queries, "x")), 2, "--report: "},
		{with("--report="), 2, "--report: empty: takes a folder, or none"},
		{with("--checkpoint", filepath.Join(dir, "none", "x")), 2, "--checkpoint: "},
		{with("--format", "trec"), 1, "pairs.tsv:1: 2 columns, want 4"},
		{with("--queries", filepath.Join(dir, "none.npy")), 1, "none.npy"},
		{with("--queries", write(t, "x.csv", nil)), 2, "vectors are in"},
		{with("--queries", write(t, "x.jsonl", []byte(`{"id":"q0","vector":[1]}`))), 1, "vectors of 1 elements"},
		{[]string{"train", "--queries", queries, "--documents", write(t, "d.safetensors", safetensorsFile(t, 3, 4, make([]float32, 12))), "-o", filepath.Join(dir, "a"), "--report", "none"}, 2, "without --relevant"},
		{[]string{"train", "--queries", queries, "--documents", documents, "--relevant", write(t, "one.tsv", []byte("q1\t1\n")), "-o", filepath.Join(dir, "a"), "--report", "none"}, 1, "too few to train on"},
		{[]string{"eval", "--adapter", queries, "--queries", queries, "--documents", documents, "--relevant", pairs}, 1, "not an adapter, or damaged"},
		{[]string{"eval", "--adapter", a, "--queries", queries, "--documents", documents, "--relevant", pairs, "--workers=-1"}, 2, "--workers=-1"},
		{[]string{"apply", "--adapter", a, queries, "-o", "x.csv"}, 2, "--out=x.csv"},
		{[]string{"apply", "--adapter", a, write(t, "y.jsonl", []byte(`{"id":1,"vector":[1]}`)), "-o", filepath.Join(dir, "x.npy")}, 1, "vectors of 1 elements, the adapter is for 4"},
		{[]string{"demo", "--dim", "1"}, 2, "--dim=1"},
		{[]string{"demo", "--pool", "1"}, 2, "--pool=1"},
		{[]string{"demo", "--goroot", dir, "--report", "none"}, 1, "src"},
	} {
		code, _, log := command(t, c.args...)
		if code != c.code || !strings.Contains(log, c.want) || !strings.HasPrefix(lastLines(log), "adapter: ") {
			t.Errorf("%v: exit code %d, %s\nwant %d, %s", c.args, code, log, c.code, c.want)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
	code, out, log := command(t, "--help")
	if code != 0 || !strings.Contains(out, "demo") || log != "" {
		t.Errorf("exit code %d: %s%s", code, out, log)
	}
}

// lastLines returns the errors, after what was read.
func lastLines(log string) string {
	if i := strings.Index(log, "adapter: "); i >= 0 {
		return log[i:]
	}
	return log
}

// TestMeasure compares with package retrieval, ranked in blocks of documents and whole.
func TestMeasure(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	random := func(rows, cols int) contrastive.Matrix {
		m := contrastive.NewMatrix(rows, cols)
		for i := range m.Data {
			m.Data[i] = float32(rng.NormFloat64())
		}
		return m
	}
	for _, rows := range []int{50, 300, rankedDocuments + 100} {
		queries, documents := random(40, 3), random(rows, 3)
		copy(documents.Row(rows-1), documents.Row(1)) // a tie
		keys, grades := make([][]int, 40), make([][]float32, 40)
		for i := range keys {
			keys[i] = rng.Perm(rows)[:1+i%12]
			for range keys[i] {
				grades[i] = append(grades[i], float32(rng.IntN(3)))
			}
			grades[i][0] = 1
			near, _, err := contrastive.TopK(queries.Slice(i, i+1), documents, 5)
			if err != nil {
				t.Fatal(err)
			}
			keys[i][0] = near[0][i%5]
			for n := 1; n < len(keys[i]); n++ {
				if keys[i][n] == keys[i][0] {
					keys[i], grades[i] = keys[i][:n], grades[i][:n]
				}
			}
		}
		order, err := nearest(queries, documents, 2)
		if err != nil {
			t.Fatal(err)
		}
		got := meanOf(measure(order, keys, grades))
		r, err := retrieval.Rank(queries, documents, retrieval.Relevance{Keys: keys, Grades: grades}, retrieval.Options{}, 1, 10, 100)
		if err != nil {
			t.Fatal(err)
		}
		want := queryMetrics{r.NDCG[1], r.Recall[0], r.Recall[1], r.Recall[2], r.MRR[2]}
		for m, name := range metricNames {
			if math.Abs(got[m]-want[m]) > 1e-12 || want[m] == 0 {
				t.Errorf("%d documents: %s is %v, want %v", rows, name, got[m], want[m])
			}
		}
	}
}

// TestCompare has intervals that are known.
func TestCompare(t *testing.T) {
	const n = 400
	before, after := make([]queryMetrics, n), make([]queryMetrics, n)
	for i := range n {
		before[i][metricMRR] = float64(i % 2)
		after[i][metricMRR] = before[i][metricMRR] + 0.25 // the same for each query
		after[i][metricRecall1] = 0.5
	}
	c := compare(before, after, 1)
	if d := c.difference[metricMRR]; math.Abs(d.mean-0.25) > 1e-12 || math.Abs(d.low-0.25) > 1e-12 || math.Abs(d.high-0.25) > 1e-12 || star(d) == "" {
		t.Errorf("%+v", d)
	}
	// The mean of n coins has a standard deviation of 1/(2√n) = 0.025; 95 % of it are within
	// 1.96 of these, and the bounds of 1,000 samples within a third of that.
	b := c.before[metricMRR]
	if math.Abs(b.mean-0.5) > 1e-12 || math.Abs(b.low-0.451) > 0.009 || math.Abs(b.high-0.549) > 0.009 {
		t.Errorf("%+v", b)
	}
	if d := c.difference[metricNDCG10]; d != (interval{}) || star(d) != "" {
		t.Errorf("%+v", d)
	}
	if c.queries != n || compare(before, after, 1) != c {
		t.Error("another result with the same seed")
	}
}

func TestDescribeProgress(t *testing.T) {
	p := adapter.Progress{Step: 3, NDCG: 0.5, Loss: 1.25, Temperature: 0.07, Accuracy: 0.5}
	for width, want := range map[int]string{200: "nDCG 0.500  loss 1.250  τ 0.070  acc 0.50", 41: "nDCG 0.500  loss 1.250  τ 0.070  acc 0.50", 40: "nDCG 0.500  loss 1.250  τ 0.070", 21: "nDCG 0.500", 5: ""} {
		if got := describeProgress(p, width); got != want {
			t.Errorf("in %d characters %q, want %q", width, got, want)
		}
	}
	p.Accuracy, p.Temperature, p.NDCG = 0, 0, math.NaN()
	if got := describeProgress(p, 200); got != "loss 1.250" {
		t.Errorf("%q", got)
	}
}
