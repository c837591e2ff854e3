package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The formats of files that say which documents answer which queries.
const (
	formatAuto     = "auto"
	formatPairs    = "pairs"    // query, document
	formatTriplets = "triplets" // query, positive document, negative document
	formatQrels    = "qrels"    // query, document, grade, with a header or without (BEIR)
	formatTREC     = "trec"     // query, iteration, document, grade
	formatJSONL    = "jsonl"
)

// A judgement is one line of such a file.
type judgement struct {
	query     string
	positives []string
	negatives []string
	grade     float32
	weight    float32 // of the query, NaN-free; negative if none is given
	line      int
}

// A relevance is what is known of the queries, by row.
type relevance struct {
	keys    [][]int
	grades  [][]float32
	hard    [][]int
	weights []float32 // nil if none is given
}

// identityRelevance has document i for the answer of query i.
func identityRelevance(queries, documents *vectorSet) (*relevance, error) {
	n := len(queries.ids)
	if n != len(documents.ids) {
		return nil, usageError{fmt.Errorf("%s has %d vectors, %s has %d: without --relevant there must be as many, one answering the other",
			queries.path, n, documents.path, len(documents.ids))}
	}
	r := newRelevance(n)
	for i := range n {
		r.keys[i], r.grades[i] = []int{i}, []float32{1}
	}
	return r, nil
}

func newRelevance(n int) *relevance {
	return &relevance{keys: make([][]int, n), grades: make([][]float32, n), hard: make([][]int, n)}
}

// readRelevance reads a file of pairs, triplets or relevance judgements.
func readRelevance(path, format string, queries, documents *vectorSet) (*relevance, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := newRelevance(len(queries.ids))
	n := 0
	err = eachJudgement(f, path, format, func(j judgement) error {
		n++
		if err := r.add(j, queries, documents); err != nil {
			return fmt.Errorf("%s:%d: %w", path, j.line, err)
		}
		return nil
	})
	if err == nil && n == 0 {
		err = fmt.Errorf("%s: has no pairs", path)
	}
	if err != nil {
		return nil, err
	}
	// What one line says is relevant is no hard negative because another says so.
	for i, hard := range r.hard {
		r.hard[i] = slices.DeleteFunc(hard, func(j int) bool { return slices.Contains(r.keys[i], j) })
	}
	return r, nil
}

func (r *relevance) add(j judgement, queries, documents *vectorSet) error {
	q, ok := queries.row[j.query]
	if !ok {
		return fmt.Errorf("query %q is not in %s", j.query, queries.path)
	}
	for _, id := range j.positives {
		d, ok := documents.row[id]
		if !ok {
			return fmt.Errorf("document %q is not in %s", id, documents.path)
		}
		if at := slices.Index(r.keys[q], d); at >= 0 {
			r.grades[q][at] = max(r.grades[q][at], j.grade)
			continue
		}
		r.keys[q], r.grades[q] = append(r.keys[q], d), append(r.grades[q], j.grade)
	}
	for _, id := range j.negatives {
		d, ok := documents.row[id]
		if !ok {
			return fmt.Errorf("document %q is not in %s", id, documents.path)
		}
		if !slices.Contains(r.hard[q], d) {
			r.hard[q] = append(r.hard[q], d)
		}
	}
	if j.weight >= 0 {
		if r.weights == nil {
			r.weights = make([]float32, len(r.keys))
			for i := range r.weights {
				r.weights[i] = 1
			}
		}
		r.weights[q] = j.weight
	}
	return nil
}

// eachJudgement calls f for the lines of a file.
func eachJudgement(in io.Reader, path, format string, f func(judgement) error) error {
	if format == formatAuto && isJSONL(path) {
		format = formatJSONL
	}
	if format == formatJSONL {
		return eachLine(in, path, func(number int, line []byte) error {
			j, err := parseJSONJudgement(line)
			if err != nil {
				return fmt.Errorf("%s:%d: %w", path, number, err)
			}
			j.line = number
			return f(j)
		})
	}
	t := table{format: format}
	return eachLine(in, path, func(number int, line []byte) error {
		j, header, err := t.parse(string(line))
		if err != nil {
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
		if header {
			return nil
		}
		j.line = number
		return f(j)
	})
}

func isJSONL(path string) bool {
	extension := strings.ToLower(filepath.Ext(path))
	return extension == ".jsonl" || extension == ".ndjson"
}

// parseJSONJudgement reads {"query": "q1", "positive": "d1", "negative": ["d2", "d3"]}.
// Positives and negatives are ids or arrays of ids; "score" and "weight" are numbers.
func parseJSONJudgement(line []byte) (judgement, error) {
	fields, err := decodeObject(line)
	if err != nil {
		return judgement{}, err
	}
	j := judgement{grade: 1, weight: -1}
	find := func(names ...string) (string, json.RawMessage) {
		for _, n := range names {
			if fields[n] != nil {
				return n, fields[n]
			}
		}
		return "", nil
	}
	name, text := find("query", "query_id", "anchor")
	if text == nil {
		return judgement{}, errors.New(`no field "query"`)
	}
	if j.query, err = parseID(text); err != nil {
		return judgement{}, fmt.Errorf("field %q: %w", name, err)
	}
	if name, text = find("positive", "positives", "document", "doc_id", "corpus_id"); text != nil {
		if j.positives, err = parseIDs(text); err != nil {
			return judgement{}, fmt.Errorf("field %q: %w", name, err)
		}
	}
	if name, text = find("negative", "negatives"); text != nil {
		if j.negatives, err = parseIDs(text); err != nil {
			return judgement{}, fmt.Errorf("field %q: %w", name, err)
		}
	}
	if j.positives == nil && j.negatives == nil {
		return judgement{}, errors.New(`no field "positive"`)
	}
	for field, value := range map[string]*float32{"score": &j.grade, "weight": &j.weight} {
		if fields[field] == nil {
			continue
		}
		if *value, err = parseGrade(string(fields[field])); err != nil {
			return judgement{}, fmt.Errorf("field %q: %w", field, err)
		}
	}
	return j, nil
}

func parseIDs(text json.RawMessage) ([]string, error) {
	if text[0] != '[' {
		id, err := parseID(text)
		return []string{id}, err
	}
	var items []json.RawMessage
	if err := json.Unmarshal(text, &items); err != nil {
		return nil, err
	}
	ids := []string{}
	for i, item := range items {
		id, err := parseID(item)
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// parseGrade returns a finite number that is not negative. TREC marks spam by grades
// below 0: such a document is not relevant.
func parseGrade(text string) (float32, error) {
	v, err := strconv.ParseFloat(text, 32)
	if err != nil || v-v != 0 {
		return 0, fmt.Errorf("%.40s is no number", text)
	}
	return float32(max(v, 0)), nil
}

// A table reads lines of columns.
type table struct {
	format  string
	columns []string // what they are; nil before the first line
}

const (
	columnQuery    = "query"
	columnPositive = "positive"
	columnNegative = "negative"
	columnGrade    = "grade"
	columnIgnored  = ""
)

// headers has the meanings of the names of columns that begin files.
var headers = map[string]string{
	"query": columnQuery, "query-id": columnQuery, "query_id": columnQuery, "qid": columnQuery, "anchor": columnQuery,
	"positive": columnPositive, "document": columnPositive, "doc": columnPositive, "corpus-id": columnPositive, "corpus_id": columnPositive,
	"doc-id": columnPositive, "doc_id": columnPositive, "document_id": columnPositive, "docid": columnPositive, "pid": columnPositive,
	"negative": columnNegative, "score": columnGrade, "grade": columnGrade, "relevance": columnGrade, "rel": columnGrade,
	"iteration": columnIgnored, "iter": columnIgnored,
}

var formatColumns = map[string][]string{
	formatPairs:    {columnQuery, columnPositive},
	formatTriplets: {columnQuery, columnPositive, columnNegative},
	formatQrels:    {columnQuery, columnPositive, columnGrade},
	formatTREC:     {columnQuery, columnIgnored, columnPositive, columnGrade},
}

// parse reads a line, of which the first may be a header.
func (t *table) parse(line string) (j judgement, header bool, err error) {
	fields := strings.Split(strings.TrimRight(line, "\r"), "\t")
	if t.format == formatTREC || len(fields) == 1 {
		fields = strings.Fields(line)
	}
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	if t.columns == nil {
		if header = t.parseHeader(fields); header {
			return judgement{}, true, nil
		}
		if err := t.guess(fields); err != nil {
			return judgement{}, false, err
		}
	}
	if len(fields) != len(t.columns) {
		return judgement{}, false, fmt.Errorf("%d columns, want %d: %s", len(fields), len(t.columns), strings.Join(t.describe(), ", "))
	}
	j = judgement{grade: 1, weight: -1}
	for i, column := range t.columns {
		value := fields[i]
		if value == "" && column != columnIgnored {
			return judgement{}, false, fmt.Errorf("column %d (%s) is empty", i+1, column)
		}
		switch column {
		case columnQuery:
			j.query = value
		case columnPositive:
			j.positives = []string{value}
		case columnNegative:
			j.negatives = []string{value}
		case columnGrade:
			if j.grade, err = parseGrade(value); err != nil {
				return judgement{}, false, fmt.Errorf("column %d (grade): %w", i+1, err)
			}
		}
	}
	return j, false, nil
}

func (t *table) describe() (names []string) {
	for _, c := range t.columns {
		if c == columnIgnored {
			c = "iteration"
		}
		names = append(names, c)
	}
	return names
}

// parseHeader takes the meanings of columns from their names, if all are known.
func (t *table) parseHeader(fields []string) bool {
	var columns []string
	for _, f := range fields {
		column, ok := headers[strings.ToLower(f)]
		if !ok {
			return false
		}
		columns = append(columns, column)
	}
	if len(fields) < 2 || !slices.Contains(columns, columnQuery) || !slices.Contains(columns, columnPositive) {
		return false
	}
	t.columns = columns
	return true
}

// guess takes the meanings of columns from the format, or from their number.
func (t *table) guess(fields []string) error {
	if t.format != formatAuto {
		t.columns = formatColumns[t.format]
		return nil
	}
	switch len(fields) {
	case 2:
		t.columns = formatColumns[formatPairs]
	case 4:
		t.columns = formatColumns[formatTREC]
	case 3:
		return errors.New("3 columns without a header: is the third a negative or a grade? Say --format triplets or qrels")
	default:
		return fmt.Errorf("%d columns: want 2 (query, document), 3 (and a negative or a grade) or 4 (TREC)", len(fields))
	}
	return nil
}
