package contrastive

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"github.com/contrastive-go/contrastive/internal/engine"
)

// inputs says what a loss takes besides queries, and what it gives besides gradients.
type inputs uint32

const (
	takesKey inputs = 1 << iota
	takesOptionalKey
	takesNegatives
	takesQueue
	takesHard
	needsHard   // and takes it
	takesScores // and needs them
	takesWeights
	takesPositives
	takesPositiveWeights
	takesLabels
	takesKeyLabels
	takesNegativeLabels
	takesExclude
	takesLogQ
	takesGuide
	givesLosses
	constantKey // Key takes no gradient
)

// checkUnused returns an error if the loss is given, or asked for, what it does not
// take.
func checkUnused(takes inputs, b *Batch, g *Gradients) error {
	for _, in := range [...]struct {
		argument string
		given    bool
		takers   inputs
	}{
		{"Key", !b.Key.isZero(), takesKey | takesOptionalKey},
		{"Negatives", !b.Negatives.isZero(), takesNegatives},
		{"Queue", b.Queue != nil, takesQueue},
		{"Hard", !b.Hard.isZero(), takesHard | needsHard},
		{"HardCounts", b.HardCounts != nil, takesHard | needsHard},
		{"Scores", !b.Scores.isZero(), takesScores},
		{"Weights", b.Weights != nil, takesWeights},
		{"Positives", b.Positives != nil, takesPositives},
		{"PositiveWeights", b.PositiveWeights != nil, takesPositiveWeights},
		{"Labels", b.Labels != nil && len(b.Labels) == b.Query.Rows, takesLabels}, // else ErrShape
		{"KeyLabels", b.KeyLabels != nil, takesKeyLabels},
		{"NegativeLabels", b.NegativeLabels != nil, takesNegativeLabels},
		{"Exclude", b.Exclude != nil, takesExclude},
		{"KeyLogQ", b.KeyLogQ != nil, takesLogQ},
		{"NegativeLogQ", b.NegativeLogQ != nil, takesLogQ},
		{"GuideQuery", !b.GuideQuery.isZero(), takesGuide},
		{"GuideKey", !b.GuideKey.isZero(), takesGuide},
		{"GuideNegatives", !b.GuideNegatives.isZero(), takesGuide},
		{"Gradients.Losses", g.Losses != nil, givesLosses},
	} {
		if in.given && takes&in.takers == 0 {
			return fmt.Errorf("%s is given: %w", in.argument, ErrUnused)
		}
	}
	return nil
}

// checkBatch checks everything about a batch and the gradients that are wanted but the
// values of the embeddings.
func checkBatch(takes inputs, b *Batch, g *Gradients) error {
	if err := checkShard(takes, b, g); err != nil {
		return err
	}
	if err := checkKeyLists(b, listedRows{argument: "Key", total: b.Key.Rows, cols: b.Key.Cols}); err != nil {
		return err
	}
	for _, w := range b.Weights {
		if w > 0 {
			return nil
		}
	}
	if b.Weights != nil {
		return fmt.Errorf("Weights are all 0: %w", ErrParameter)
	}
	return nil
}

// checkShard is checkBatch for a batch that may be a part of a greater one: it leaves out
// what depends on the rows of Key that are elsewhere, and on the weights.
func checkShard(takes inputs, b *Batch, g *Gradients) error {
	if err := checkMatrix("Query", b.Query); err != nil {
		return err
	}
	if err := checkUnused(takes, b, g); err != nil {
		return err
	}
	if takes&takesKey != 0 || !b.Key.isZero() {
		check := checkLike
		if b.Positives != nil {
			check = checkWidth
		}
		if err := check("Key", b.Key, "Query", b.Query); err != nil {
			return err
		}
	}
	if !b.Negatives.isZero() {
		if err := checkWidth("Negatives", b.Negatives, "Query", b.Query); err != nil {
			return err
		}
	}
	if b.Queue != nil && b.Queue.Dim() != b.Query.Cols {
		return fmt.Errorf("Queue holds keys of %d dimensions, Query is %d×%d: %w", b.Queue.Dim(), b.Query.Rows, b.Query.Cols, ErrShape)
	}
	if err := checkHard(takes, b); err != nil {
		return err
	}
	if err := checkLabels(b); err != nil {
		return err
	}
	if b.Positives == nil && b.PositiveWeights != nil {
		return fmt.Errorf("PositiveWeights is given without Positives: %w", ErrParameter)
	}
	if err := checkLogQ(b); err != nil {
		return err
	}
	if err := checkGuide(b); err != nil {
		return err
	}
	if err := checkWeights(b); err != nil {
		return err
	}
	if takes&takesScores != 0 {
		if err := checkScores(b); err != nil {
			return err
		}
	}
	if g.Losses != nil {
		if err := checkLength("Gradients.Losses", len(g.Losses), b.Query); err != nil {
			return err
		}
	}
	if takes&constantKey != 0 && !g.Key.isZero() {
		return fmt.Errorf("Gradients.Key is wanted, but Key is constant: %w", ErrParameter)
	}
	return checkGradients(b, g)
}

// checkLength returns an error unless a slice has an element for each row of Query, and
// checkLengthOf unless it has one for each row of another argument.
func checkLength(argument string, n int, query Matrix) error {
	return checkLengthOf(argument, n, "Query", query)
}

func checkLengthOf(argument string, n int, likeArgument string, like Matrix) error {
	if n != like.Rows {
		return fmt.Errorf("%s has %d elements, %s is %d×%d: %w", argument, n, likeArgument, like.Rows, like.Cols, ErrShape)
	}
	return nil
}

func checkLabels(b *Batch) error {
	for _, l := range [...]struct {
		argument string
		labels   []int
		of       string
		m        Matrix
	}{{"Labels", b.Labels, "Query", b.Query}, {"KeyLabels", b.KeyLabels, "Key", b.Key}, {"NegativeLabels", b.NegativeLabels, "Negatives", b.Negatives}} {
		if l.labels == nil {
			continue
		}
		if err := checkLengthOf(l.argument, len(l.labels), l.of, l.m); err != nil {
			return err
		}
		if b.Labels == nil {
			return fmt.Errorf("%s is given without Labels: %w", l.argument, ErrParameter)
		}
	}
	return nil
}

// listedRows are the rows that lists may name: of a matrix, or of its parts on all ranks.
type listedRows struct {
	argument    string
	total, cols int
	first       int // the row that is the first of this part
	ranks       int // number of parts, 0 for a whole matrix
}

func (r listedRows) String() string {
	if r.ranks == 0 {
		return fmt.Sprintf("%s is %d×%d", r.argument, r.total, r.cols)
	}
	return fmt.Sprintf("%s of all %d ranks is %d×%d", r.argument, r.ranks, r.total, r.cols)
}

// checkKeyLists returns an error unless Positives and Exclude list rows of Key, and
// PositiveWeights goes with them.
func checkKeyLists(b *Batch, keys listedRows) error {
	if err := checkPositives(b, keys); err != nil {
		return err
	}
	return checkExclude(b, keys)
}

// checkPositives returns an error unless Positives lists rows of Key, once each, and
// PositiveWeights has weights for them that can be divided by their sums.
func checkPositives(b *Batch, keys listedRows) error {
	if b.Positives == nil {
		return nil
	}
	if err := checkRowLists("Positives", b.Positives, "Query", b.Query, keys); err != nil {
		return err
	}
	if b.PositiveWeights == nil {
		return nil
	}
	if err := checkLength("PositiveWeights", len(b.PositiveWeights), b.Query); err != nil {
		return err
	}
	for i, weights := range b.PositiveWeights {
		if len(weights) != len(b.Positives[i]) {
			return fmt.Errorf("PositiveWeights[%d] has %d elements, Positives[%d] has %d: %w", i, len(weights), i, len(b.Positives[i]), ErrShape)
		}
		sum := 0.0
		for j, w := range weights {
			if w-w != 0 {
				return &NotFiniteError{Argument: "PositiveWeights", Row: i, Col: j, Value: w}
			}
			if w < 0 {
				return fmt.Errorf("PositiveWeights[%d][%d] is %v and must not be negative: %w", i, j, w, ErrParameter)
			}
			sum += float64(w)
		}
		if sum == 0 && len(weights) > 0 {
			return fmt.Errorf("PositiveWeights[%d] are all 0: %w", i, ErrParameter)
		}
	}
	return nil
}

// checkExclude returns an error unless Exclude lists rows of Key, once each, that are no
// positives.
func checkExclude(b *Batch, keys listedRows) error {
	if b.Exclude == nil {
		return nil
	}
	if err := checkRowLists("Exclude", b.Exclude, "Query", b.Query, keys); err != nil {
		return err
	}
	for i, list := range b.Exclude {
		for k, j := range list {
			positive := j == keys.first+i
			if b.Positives != nil {
				positive = slices.Contains(b.Positives[i], j)
			}
			if positive {
				return fmt.Errorf("Exclude[%d][%d] is %d, which is a positive of query %d: %w", i, k, j, i, ErrParameter)
			}
		}
	}
	return nil
}

// checkRowLists returns an error unless there is a list for each row of a matrix of rows
// that there are, without repeats.
func checkRowLists(argument string, lists [][]int, ofName string, of Matrix, rows listedRows) error {
	if err := checkLengthOf(argument, len(lists), ofName, of); err != nil {
		return err
	}
	marks := marksPool.Get().(*[]int)
	defer marksPool.Put(marks)
	*marks = zeros(*marks, rows.total)
	for i, list := range lists {
		for k, j := range list {
			if j < 0 || j >= rows.total {
				return fmt.Errorf("%s[%d][%d] is %d, %v: %w", argument, i, k, j, rows, ErrParameter)
			}
			if (*marks)[j] == i+1 {
				return fmt.Errorf("%s[%d][%d] is %d for the second time: %w", argument, i, k, j, ErrParameter)
			}
			(*marks)[j] = i + 1
		}
	}
	return nil
}

// marksPool holds memory for a number for each key.
var marksPool = sync.Pool{New: func() any { return new([]int) }}

func checkLogQ(b *Batch) error {
	for _, l := range [...]struct {
		argument string
		values   []float32
		of       string
		m        Matrix
	}{{"KeyLogQ", b.KeyLogQ, "Key", b.Key}, {"NegativeLogQ", b.NegativeLogQ, "Negatives", b.Negatives}} {
		if l.values == nil {
			continue
		}
		if err := checkLengthOf(l.argument, len(l.values), l.of, l.m); err != nil {
			return err
		}
		for j, v := range l.values {
			if v-v != 0 {
				return &NotFiniteError{Argument: l.argument, Row: j, Value: v}
			}
		}
	}
	return nil
}

// checkGuide returns an error unless the matrices of the guide go with the batch.
func checkGuide(b *Batch) error {
	if b.GuideQuery.isZero() && b.GuideKey.isZero() && b.GuideNegatives.isZero() {
		return nil
	}
	if b.GuideQuery.isZero() || b.GuideKey.isZero() {
		return fmt.Errorf("a guide needs GuideQuery and GuideKey: %w", ErrShape)
	}
	for _, g := range [...]struct {
		argument string
		m        Matrix
		of       string
		like     Matrix
	}{{"GuideQuery", b.GuideQuery, "Query", b.Query}, {"GuideKey", b.GuideKey, "Key", b.Key}, {"GuideNegatives", b.GuideNegatives, "Negatives", b.Negatives}} {
		if g.m.isZero() {
			continue
		}
		if g.m.Rows != g.like.Rows {
			return fmt.Errorf("%s is %d×%d, %s is %d×%d: %w", g.argument, g.m.Rows, g.m.Cols, g.of, g.like.Rows, g.like.Cols, ErrShape)
		}
		if err := checkWidth(g.argument, g.m, "GuideQuery", b.GuideQuery); err != nil {
			return err
		}
	}
	return nil
}

// checkHard returns an error unless every row of Hard has its query.
func checkHard(takes inputs, b *Batch) error {
	hard, n := b.Hard, b.Query.Rows
	if takes&needsHard != 0 || !hard.isZero() {
		if err := checkWidth("Hard", hard, "Query", b.Query); err != nil {
			return err
		}
	}
	if b.HardCounts == nil {
		if hard.Rows%n != 0 {
			return fmt.Errorf("Hard is %d×%d, and without HardCounts must have a multiple of the %d rows of Query: %w", hard.Rows, hard.Cols, n, ErrShape)
		}
		return nil
	}
	if err := checkLength("HardCounts", len(b.HardCounts), b.Query); err != nil {
		return err
	}
	left := hard.Rows
	for i, count := range b.HardCounts {
		if count < 0 {
			return fmt.Errorf("HardCounts[%d] is %d and must not be negative: %w", i, count, ErrShape)
		}
		if count > left {
			return fmt.Errorf("HardCounts[%d] is %d with %d rows left, Hard is %d×%d: %w", i, count, left, hard.Rows, hard.Cols, ErrShape)
		}
		left -= count
	}
	if left > 0 {
		return fmt.Errorf("HardCounts add up to %d, Hard is %d×%d: %w", hard.Rows-left, hard.Rows, hard.Cols, ErrShape)
	}
	return nil
}

// hardCount returns how many rows of Hard query i of a checked batch has.
func (b *Batch) hardCount(i int) int {
	if b.HardCounts != nil {
		return b.HardCounts[i]
	}
	return b.Hard.Rows / b.Query.Rows
}

// checkWeights returns an error unless the weights of queries, if there are any, are
// finite and not negative.
func checkWeights(b *Batch) error {
	if b.Weights == nil {
		return nil
	}
	if err := checkLength("Weights", len(b.Weights), b.Query); err != nil {
		return err
	}
	for i, w := range b.Weights {
		if w-w != 0 {
			return &NotFiniteError{Argument: "Weights", Row: i, Value: w}
		}
		if w < 0 {
			return fmt.Errorf("Weights[%d] is %v and must not be negative: %w", i, w, ErrParameter)
		}
	}
	return nil
}

// weight returns the weight of query i, or of key i where keys are anchors, of a checked batch.
func (b *Batch) weight(i int) float64 {
	if b.Weights == nil {
		return 1
	}
	return float64(b.Weights[i])
}

// checkScores returns an error unless there is a finite score for the key of each
// query and for each of its rows of Hard, in equal numbers.
func checkScores(b *Batch) error {
	scores, n := b.Scores, b.Query.Rows
	if cols := 1 + b.hardCount(0); scores.Rows != n || scores.Cols != cols {
		return fmt.Errorf("Scores is %d×%d, and must be %d×%d: %w", scores.Rows, scores.Cols, n, cols, ErrShape)
	}
	if err := checkMatrix("Scores", scores); err != nil {
		return err
	}
	for i := range n {
		if count := b.hardCount(i); count != scores.Cols-1 {
			return fmt.Errorf("HardCounts[%d] is %d, HardCounts[0] is %d, and Scores needs them equal: %w", i, count, scores.Cols-1, ErrShape)
		}
		for j, v := range scores.Row(i) {
			if v-v != 0 {
				return &NotFiniteError{Argument: "Scores", Row: i, Col: j, Value: v}
			}
		}
	}
	return nil
}

func checkGradients(b *Batch, g *Gradients) error {
	row := func(v []float32) Matrix {
		if len(v) == 0 {
			return Matrix{}
		}
		return Matrix{Rows: 1, Cols: len(v), Stride: len(v), Data: v}
	}
	inputs := [...]Matrix{
		b.Query, b.Key, b.Negatives, b.Hard, {}, b.Scores, row(b.Weights), row(b.KeyLogQ), row(b.NegativeLogQ),
		b.GuideQuery, b.GuideKey, b.GuideNegatives,
	}
	if b.Queue != nil && b.Queue.Len() > 0 {
		inputs[4] = b.Queue.Keys()
	}
	outputs := [...]Matrix{g.Query, g.Key, g.Negatives, g.Hard}
	names := [...]string{
		"Query", "Key", "Negatives", "Hard", "Queue", "Scores", "Weights", "KeyLogQ", "NegativeLogQ",
		"GuideQuery", "GuideKey", "GuideNegatives",
	}
	arguments := [...]string{"Gradients.Query", "Gradients.Key", "Gradients.Negatives", "Gradients.Hard"}
	for i, out := range outputs {
		if out.isZero() {
			continue
		}
		if inputs[i].isZero() {
			return fmt.Errorf("%s is wanted, but the batch has no %s: %w", arguments[i], names[i], ErrShape)
		}
		if err := checkLike(arguments[i], out, names[i], inputs[i]); err != nil {
			return err
		}
		for j, in := range inputs {
			if !in.isZero() && overlaps(out, in) {
				return fmt.Errorf("%s overlaps %s: %w", arguments[i], names[j], ErrShape)
			}
		}
		for j, other := range outputs[:i] {
			if !other.isZero() && overlaps(out, other) {
				return fmt.Errorf("%s overlaps %s: %w", arguments[i], arguments[j], ErrShape)
			}
		}
	}
	return nil
}

// check returns an error unless the options mean something.
func (o Options) check() error {
	if o.Workers < 0 {
		return fmt.Errorf("Workers is %d and must not be negative: %w", o.Workers, ErrParameter)
	}
	if o.Precision > Medium {
		return fmt.Errorf("Precision is %d, which is none of Highest, High and Medium: %w", o.Precision, ErrParameter)
	}
	return nil
}

// workers returns the number of goroutines to use.
func (o Options) workers() int {
	if o.Workers == 0 {
		return min(runtime.GOMAXPROCS(0), maxWorkers)
	}
	return min(o.Workers, maxWorkers)
}

// keepBytes returns the memory for what sweeps share.
func (o Options) keepBytes() int {
	if o.KeepBytes == 0 {
		return defaultKeepBytes
	}
	return max(0, o.KeepBytes)
}

// maxWorkers bounds the goroutines of an evaluation, each of which has scratch
// memory of up to a MiB. A sweep over pairs has no more tasks at a time: 32 chunks of
// columns by 8 bands of rows.
const maxWorkers = 256

// pieces is the number of bfloat16 values that are to stand for a float32.
func (p Precision) pieces() int { return engine.MaxPieces - int(p) }

// rounding is more than the error of a similarity from the roundings to bfloat16, or,
// of the Highest precision, in float32 for a few thousand dimensions, which is rarely
// a tenth of what it can be.
func (p Precision) rounding() float64 { return [...]float64{0x1p-20, 0x1p-14, 0x1p-6}[p] }

// A parameter is a hyper-parameter of a loss, with its default.
type parameter struct {
	name  string
	value float32
	rule  func(v float32) (must string) // returns what v must be, or "" if it is
}

// check returns an error unless p obeys its rule.
func (p parameter) check() error {
	if p.rule == nil {
		return nil
	}
	if must := p.rule(p.value); must != "" {
		return fmt.Errorf("%s is %v and must be %s: %w", p.name, p.value, must, ErrParameter)
	}
	return nil
}

// minTemperature is the least temperature whose logits, times any exponent that
// a loss uses, are far from overflow.
const minTemperature = 0x1p-100

func isTemperature(v float32) string {
	if v > 0 && v < minTemperature {
		return "at least 2^-100"
	}
	return isPositive(v)
}

func isPositive(v float32) string {
	if !(v > 0) || math.IsInf(float64(v), 1) {
		return "positive and finite"
	}
	return ""
}

func isNonNegative(v float32) string {
	if !(v >= 0) || math.IsInf(float64(v), 1) {
		return "finite and not negative"
	}
	return ""
}

// orDefault returns v, or the default if v is 0.
func orDefault(v, ifZero float32) float32 {
	if v == 0 {
		return ifZero
	}
	return v
}

// checkMatrix returns an error unless m, which is an argument, is a matrix that its
// Data holds.
func checkMatrix(argument string, m Matrix) error {
	if m.Rows < 0 || m.Cols < 0 {
		return fmt.Errorf("%s is %d×%d: %w", argument, m.Rows, m.Cols, ErrShape)
	}
	if m.Rows == 0 || m.Cols == 0 {
		return fmt.Errorf("%s is %d×%d: %w", argument, m.Rows, m.Cols, ErrEmpty)
	}
	if m.Stride < m.Cols {
		return fmt.Errorf("%s is %d×%d with a stride of %d, which must be at least %d: %w", argument, m.Rows, m.Cols, m.Stride, m.Cols, ErrShape)
	}
	if m.Rows-1 > (math.MaxInt-m.Cols)/m.Stride {
		return fmt.Errorf("%s is %d×%d with a stride of %d, which no memory can hold: %w", argument, m.Rows, m.Cols, m.Stride, ErrShape)
	}
	if need := (m.Rows-1)*m.Stride + m.Cols; len(m.Data) < need {
		return fmt.Errorf("%s is %d×%d with a stride of %d and needs %d elements of Data, which has %d: %w", argument, m.Rows, m.Cols, m.Stride, need, len(m.Data), ErrShape)
	}
	return nil
}

// checkLike returns an error unless m is a matrix of the size of another argument,
// which has been checked.
func checkLike(argument string, m Matrix, likeArgument string, like Matrix) error {
	if m.Rows != like.Rows || m.Cols != like.Cols {
		return fmt.Errorf("%s is %d×%d, %s is %d×%d: %w", argument, m.Rows, m.Cols, likeArgument, like.Rows, like.Cols, ErrShape)
	}
	return checkMatrix(argument, m)
}

// checkWidth returns an error unless m is a matrix of the width of another argument,
// which has been checked.
func checkWidth(argument string, m Matrix, likeArgument string, like Matrix) error {
	if err := checkMatrix(argument, m); err != nil {
		return err
	}
	if m.Cols != like.Cols {
		return fmt.Errorf("%s is %d×%d, %s is %d×%d: %w", argument, m.Rows, m.Cols, likeArgument, like.Rows, like.Cols, ErrShape)
	}
	return nil
}

// overlaps reports whether two checked matrices share an element. It compares
// rows, not spans: two halves of the columns of one buffer do not overlap.
func overlaps(a, b Matrix) bool {
	const size = unsafe.Sizeof(float32(0))
	start := func(m Matrix, i int) uintptr {
		return uintptr(unsafe.Pointer(unsafe.SliceData(m.Data))) + uintptr(i*m.Stride)*size
	}
	if start(a, a.Rows-1)+uintptr(a.Cols)*size <= start(b, 0) || start(b, b.Rows-1)+uintptr(b.Cols)*size <= start(a, 0) {
		return false
	}
	for i, j := 0, 0; i < a.Rows && j < b.Rows; {
		x, y := start(a, i), start(b, j)
		switch {
		case x+uintptr(a.Cols)*size <= y:
			i++
		case y+uintptr(b.Cols)*size <= x:
			j++
		default:
			return true
		}
	}
	return false
}

// wrap names the package and the function, which is a loss or its like, before an
// error that leaves it.
func wrap(function string, err error) error {
	if err == nil {
		return nil
	}
	return &callError{function, err}
}

// A callError is an error that has left the package. If it leaves by another call, the
// package is named once.
type callError struct {
	function string // "" if err names it
	err      error
}

func (e *callError) Error() string { return "contrastive: " + e.text() }

func (e *callError) text() string {
	text := e.err.Error()
	if inner, ok := e.err.(*callError); ok {
		text = inner.text()
	}
	if e.function == "" {
		return text
	}
	return e.function + ": " + text
}

func (e *callError) Unwrap() error { return e.err }

func withFunction(function string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", function, err)
}
