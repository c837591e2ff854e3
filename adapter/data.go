package adapter

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/retrieval"
)

// Data is what an adapter is trained on. It is read only, and not copied.
type Data struct {
	Queries   contrastive.Matrix // N×D embeddings
	Documents contrastive.Matrix // M×D embeddings of the index

	// Relevant says which documents answer each query, by row. Grades serve validation;
	// a document of grade 0 makes no pair. Without Keys there are as many documents as
	// queries, and document i answers query i.
	Relevant retrieval.Relevance

	// Hard optionally lists, for each query, documents that do not answer it though they
	// seem to: [retrieval.Miner] finds such. A list may be empty.
	Hard [][]int

	// Weights optionally holds N weights of queries, finite and not negative, for losses
	// that take them. A query of weight 0 makes no pair.
	Weights []float32

	// Validation optionally lists the queries that are held out, by row. Nil leaves the
	// choice to Config.ValidationShare.
	Validation []int
}

// A pair is a query and a document that answers it.
type pair struct{ query, document int }

// withKeys returns d with lists in place of those that are implied.
func (d Data) withKeys() Data {
	if d.Relevant.Keys == nil && d.Relevant.Grades == nil && d.Queries.Rows == d.Documents.Rows {
		rows := upTo(d.Queries.Rows)
		for i := range rows {
			d.Relevant.Keys = append(d.Relevant.Keys, rows[i:i+1:i+1])
		}
	}
	return d
}

// upTo returns 0…n-1.
func upTo(n int) []int {
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	return rows
}

// check returns an error unless d, which has its keys, can be trained on.
func (d *Data) check() error {
	for _, m := range [...]struct {
		argument string
		contrastive.Matrix
	}{{"Data.Queries", d.Queries}, {"Data.Documents", d.Documents}} {
		if err := checkMatrix(m.argument, m.Matrix); err != nil {
			return err
		}
		if m.Rows == 0 || m.Cols == 0 {
			return fmt.Errorf("%s is %d×%d: %w", m.argument, m.Rows, m.Cols, contrastive.ErrEmpty)
		}
	}
	if d.Queries.Cols != d.Documents.Cols {
		return fmt.Errorf("Data.Queries is %d×%d, Data.Documents is %d×%d: %w",
			d.Queries.Rows, d.Queries.Cols, d.Documents.Rows, d.Documents.Cols, contrastive.ErrShape)
	}
	if d.Relevant.Keys == nil {
		return fmt.Errorf("Data.Relevant.Keys is nil, Data.Queries is %d×%d, Data.Documents is %d×%d, and must be as many: %w",
			d.Queries.Rows, d.Queries.Cols, d.Documents.Rows, d.Documents.Cols, contrastive.ErrShape)
	}
	if err := d.checkLists("Data.Relevant.Keys", d.Relevant.Keys); err != nil {
		return err
	}
	if err := d.checkGrades(); err != nil {
		return err
	}
	if d.Hard != nil {
		if err := d.checkHard(); err != nil {
			return err
		}
	}
	if d.Weights != nil {
		if err := d.checkLength("Data.Weights", len(d.Weights)); err != nil {
			return err
		}
		for i, w := range d.Weights {
			if w-w != 0 {
				return fmt.Errorf("Data.Weights[%d] is %v: %w", i, w, contrastive.ErrNotFinite)
			}
			if w < 0 {
				return fmt.Errorf("Data.Weights[%d] is %v and must not be negative: %w", i, w, contrastive.ErrParameter)
			}
		}
	}
	listed := make([]bool, d.Queries.Rows)
	for n, i := range d.Validation {
		if i < 0 || i >= d.Queries.Rows {
			return fmt.Errorf("Data.Validation[%d] is %d, Data.Queries is %d×%d: %w", n, i, d.Queries.Rows, d.Queries.Cols, contrastive.ErrParameter)
		}
		if listed[i] {
			return fmt.Errorf("Data.Validation[%d] is %d for the second time: %w", n, i, contrastive.ErrParameter)
		}
		listed[i] = true
	}
	if err := checkFinite("Data.Queries", d.Queries); err != nil {
		return err
	}
	return checkFinite("Data.Documents", d.Documents)
}

func (d *Data) checkLength(argument string, n int) error {
	if n != d.Queries.Rows {
		return fmt.Errorf("%s has %d elements, Data.Queries is %d×%d: %w", argument, n, d.Queries.Rows, d.Queries.Cols, contrastive.ErrShape)
	}
	return nil
}

// checkLists returns an error unless there is a list of documents for each query, without
// repeats.
func (d *Data) checkLists(argument string, lists [][]int) error {
	if err := d.checkLength(argument, len(lists)); err != nil {
		return err
	}
	last := make([]int, d.Documents.Rows) // 1 more than the last query whose list has the document
	for i, list := range lists {
		for n, j := range list {
			if j < 0 || j >= d.Documents.Rows {
				return fmt.Errorf("%s[%d][%d] is %d, Data.Documents is %d×%d: %w", argument, i, n, j, d.Documents.Rows, d.Documents.Cols, contrastive.ErrParameter)
			}
			if last[j] == i+1 {
				return fmt.Errorf("%s[%d][%d] is %d for the second time: %w", argument, i, n, j, contrastive.ErrParameter)
			}
			last[j] = i + 1
		}
	}
	return nil
}

func (d *Data) checkGrades() error {
	if d.Relevant.Grades == nil {
		return nil
	}
	if err := d.checkLength("Data.Relevant.Grades", len(d.Relevant.Grades)); err != nil {
		return err
	}
	for i, grades := range d.Relevant.Grades {
		if len(grades) != len(d.Relevant.Keys[i]) {
			return fmt.Errorf("Data.Relevant.Grades[%d] has %d elements, Data.Relevant.Keys[%d] has %d: %w", i, len(grades), i, len(d.Relevant.Keys[i]), contrastive.ErrShape)
		}
		for n, g := range grades {
			if g-g != 0 {
				return fmt.Errorf("Data.Relevant.Grades[%d][%d] is %v: %w", i, n, g, contrastive.ErrNotFinite)
			}
			if g < 0 {
				return fmt.Errorf("Data.Relevant.Grades[%d][%d] is %v and must not be negative: %w", i, n, g, contrastive.ErrParameter)
			}
		}
	}
	return nil
}

func (d *Data) checkHard() error {
	if err := d.checkLists("Data.Hard", d.Hard); err != nil {
		return err
	}
	for i, hard := range d.Hard {
		for n, j := range hard {
			if k := slices.Index(d.Relevant.Keys[i], j); k >= 0 && d.grade(i, k) > 0 {
				return fmt.Errorf("Data.Hard[%d][%d] is %d, which is relevant to the query: %w", i, n, j, contrastive.ErrParameter)
			}
		}
	}
	return nil
}

func (d *Data) grade(query, n int) float32 {
	if d.Relevant.Grades == nil {
		return 1
	}
	return d.Relevant.Grades[query][n]
}

// answers returns the documents that answer each query: those of Relevant.Keys less
// those of grade 0.
func (d *Data) answers() [][]int {
	if d.Relevant.Grades == nil {
		return d.Relevant.Keys
	}
	answers := make([][]int, d.Queries.Rows)
	for i, keys := range d.Relevant.Keys {
		for n, j := range keys {
			if d.grade(i, n) > 0 {
				answers[i] = append(answers[i], j)
			}
		}
	}
	return answers
}

// split returns the pairs to train on and the queries that are held out, in order.
func (d *Data) split(answers [][]int, c Config) (train []pair, held []int, err error) {
	var answered []int
	for i, list := range answers {
		if len(list) > 0 {
			answered = append(answered, i)
		}
	}
	isHeld := make([]bool, d.Queries.Rows)
	switch {
	case d.Validation != nil:
		for _, i := range d.Validation {
			isHeld[i] = true
		}
	case c.ValidationShare > 0:
		shuffled := slices.Clone(answered)
		rng := rand.New(rand.NewPCG(c.Seed, seed2(streamValidation, 0)))
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		n := int(math.Round(c.ValidationShare * float64(len(shuffled))))
		for _, i := range shuffled[:min(max(n, 1), len(shuffled))] {
			isHeld[i] = true
		}
	}
	documents, weightless := map[int]bool{}, 0
	for _, i := range answered {
		switch {
		case isHeld[i]:
			held = append(held, i)
		case d.Weights == nil || d.Weights[i] > 0:
			for _, j := range answers[i] {
				train = append(train, pair{i, j})
				documents[j] = true
			}
		default:
			weightless++
		}
	}
	if len(held) == 0 && len(d.Validation) > 0 {
		return nil, nil, fmt.Errorf("Data.Validation lists %d queries, none of which has a relevant document: %w", len(d.Validation), contrastive.ErrEmpty)
	}
	if len(documents) < 2 {
		return nil, nil, fmt.Errorf("%d of %d queries have relevant documents, of which %d are held out and %d have a weight of 0; the others have %d documents, and need 2: %w",
			len(answered), d.Queries.Rows, len(held), weightless, len(documents), contrastive.ErrEmpty)
	}
	return train, held, nil
}

// The streams of random numbers, beside Config.Seed.
const (
	streamInitial = iota
	streamValidation
	streamValidationQueries
	streamValidationDocuments
	streamBatches // of an epoch
	streamHard    // of a step
)

// seed2 is the second seed of a stream, for an epoch or a step where it has such.
func seed2(stream, n int) uint64 { return uint64(n)<<8 | uint64(stream) }

// choose returns n elements of rows at random, all if there are fewer, in their order.
func choose(rows []int, n int, rng *rand.Rand) []int {
	if len(rows) <= n {
		return rows
	}
	chosen := slices.Clone(rows)
	for i := range n {
		j := i + rng.IntN(len(chosen)-i)
		chosen[i], chosen[j] = chosen[j], chosen[i]
	}
	slices.Sort(chosen[:n])
	return chosen[:n]
}
