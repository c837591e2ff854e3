// Package retrieval tells how well queries find the keys that are relevant to them, and
// mines hard negatives for training. Rows are compared by their cosines; those of all
// pairs are computed tile by tile and never held.
//
// On one instruction set, results are the same for any number of workers.
//
// Errors wrap those of package contrastive, name the argument, the row and the numbers,
// and begin with "retrieval: ".
package retrieval

import (
	"errors"
	"fmt"

	"github.com/contrastive-go/contrastive"
)

// Options are common to ranking and mining.
type Options struct {
	// Workers is the number of goroutines that share the work. Zero means GOMAXPROCS.
	Workers int
}

// nearest returns the depth nearest keys of each query but those that exclude lists, and
// their cosines, nearest first. There may be fewer.
func (o Options) nearest(queries, keys contrastive.Matrix, depth int, exclude [][]int) ([][]int, [][]float32, error) {
	s := contrastive.Search{Exclude: exclude, Options: contrastive.Options{Workers: o.Workers}}
	index, cosine, err := s.TopK(queries, keys, min(depth, keys.Rows))
	if err != nil {
		return nil, nil, errors.Unwrap(err) // without the name of the package and of TopK
	}
	return index, cosine, nil
}

func wrap(function string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("retrieval: %s: %w", function, err)
}

// checkSizes returns an error unless there are queries and keys. TopK checks the rest.
func checkSizes(queries, keys contrastive.Matrix) error {
	for _, m := range [...]struct {
		argument string
		contrastive.Matrix
	}{{"queries", queries}, {"keys", keys}} {
		if m.Rows < 0 || m.Cols < 0 {
			return fmt.Errorf("%s is %d×%d: %w", m.argument, m.Rows, m.Cols, contrastive.ErrShape)
		}
		if m.Rows == 0 || m.Cols == 0 {
			return fmt.Errorf("%s is %d×%d: %w", m.argument, m.Rows, m.Cols, contrastive.ErrEmpty)
		}
	}
	return nil
}

// checkLists returns an error unless there is a list for each query of rows of keys,
// without repeats.
func checkLists(argument string, lists [][]int, queries, keys contrastive.Matrix) error {
	if len(lists) != queries.Rows {
		return fmt.Errorf("%s has %d elements, queries is %d×%d: %w", argument, len(lists), queries.Rows, queries.Cols, contrastive.ErrShape)
	}
	listed := make([]int, keys.Rows) // 1 more than the last query whose list has the key
	for i, list := range lists {
		for n, j := range list {
			if j < 0 || j >= keys.Rows {
				return fmt.Errorf("%s[%d][%d] is %d, keys is %d×%d: %w", argument, i, n, j, keys.Rows, keys.Cols, contrastive.ErrParameter)
			}
			if listed[j] == i+1 {
				return fmt.Errorf("%s[%d][%d] is %d for the second time: %w", argument, i, n, j, contrastive.ErrParameter)
			}
			listed[j] = i + 1
		}
	}
	return nil
}
